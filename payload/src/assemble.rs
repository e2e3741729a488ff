//! From the files that someone names to a recipe: packages are read and checked, metadata is made, names are given.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::elf;
use crate::error::BundleError;
use crate::image::{self, ImageInput, Reference};
use crate::member::MemberKind;
use crate::output::Spool;
use crate::write::{NewMember, Recipe, Source};
use crate::yum::{self, Check, Packing, RpmFile, Scan};

/// The files that a bundle is to be made of.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Goes into the manifest.
    pub product_version: String,
    /// The executable.
    pub deployer: Source,
    /// A minisign public key (base64) to pin.
    pub pinned_key: Option<String>,
    /// How the yum metadata is packed.
    pub packing: Packing,
    /// Packages.
    pub rpms: Vec<Source>,
    /// Container images.
    pub(crate) images: Vec<ImageInput>,
    /// What has to be made on the way.
    spool: Arc<Spool>,
    /// Everything else, with its name and kind.
    pub others: Vec<(String, MemberKind, Source)>,
}

impl Inputs {
    /// Nothing but a deployer, for a bundle that is to be written to `output`: what has to be made on the way lies beside it
    /// meanwhile.
    #[must_use]
    pub fn new(product_version: impl Into<String>, deployer: Source, output: &Utf8Path) -> Self {
        Self {
            product_version: product_version.into(),
            deployer,
            pinned_key: None,
            packing: Packing::Gzip,
            rpms: Vec::new(),
            images: Vec::new(),
            spool: Arc::new(Spool::beside(output)),
            others: Vec::new(),
        }
    }

    /// Adds container images: an archive of `docker save` or an OCI image layout, as a tar (plain, gzip, zstd) or a
    /// folder. With a name, that is the name of the only image in it.
    pub fn image(&mut self, path: &Utf8Path, name: Option<Reference>) {
        self.images.push(ImageInput::Archive { source: Source::File(path.to_owned()), name });
    }

    /// Adds a network's manifest.
    pub fn network(&mut self, name: &str, path: &Utf8Path) {
        self.add(format!("networks/{name}.yaml"), MemberKind::NetworkManifest, path);
    }

    /// Adds an addon's manifest.
    pub fn addon(&mut self, name: &str, path: &Utf8Path) {
        self.add(format!("addons/{name}.yaml"), MemberKind::Addon, path);
    }

    /// Adds a public key of a packager.
    pub fn key(&mut self, path: &Utf8Path) {
        self.add(format!("keys/{}", path.file_name().unwrap_or_default()), MemberKind::Key, path);
    }

    /// Sets `conf.ini`.
    pub fn conf(&mut self, path: &Utf8Path) {
        self.add("conf/conf.ini".into(), MemberKind::Ini, path);
    }

    /// Sets `install.ini`.
    pub fn install_conf(&mut self, path: &Utf8Path) {
        self.add("install_rpm/install.ini".into(), MemberKind::Ini, path);
    }

    /// Adds any other file under a name of the caller's choice.
    pub fn file(&mut self, name: &str, path: &Utf8Path) {
        self.add(name.to_owned(), MemberKind::File, path);
    }

    /// A folder beside the bundle for whoever gets inputs from elsewhere; it lasts as long as these inputs.
    pub fn scratch(&self) -> Result<Utf8PathBuf, BundleError> {
        self.spool.folder()
    }

    /// The deployer's architecture, in the words of images.
    pub fn architecture(&self) -> Result<&'static str, BundleError> {
        deployer_arch(&self.deployer).map(image::oci_architecture)
    }

    /// The names of the images that were added so far.
    pub fn image_names(&self) -> Result<Vec<Reference>, Vec<BundleError>> {
        let architecture = self.architecture().map_err(|e| vec![e])?;
        image::names(&self.images, architecture, &self.spool)
    }

    fn add(&mut self, name: String, kind: MemberKind, path: &Utf8Path) {
        self.others.retain(|(other, ..)| *other != name || kind != MemberKind::Ini);
        self.others.push((name, kind, Source::File(path.to_owned())));
    }
}

/// A recipe, and what was found on the way to it.
#[derive(Debug)]
pub struct Assembled {
    /// What to write.
    pub recipe: Recipe,
    /// The packages.
    pub rpms: Vec<RpmFile>,
    /// Files left out because they are copies of another.
    pub same: Vec<Utf8PathBuf>,
    /// The names of the container images.
    pub images: Vec<String>,
    /// The recipe reads files of it: it must stay until the bundle is written.
    _spool: Arc<Spool>,
}

/// Reads and checks all inputs. Every file that cannot be packed is in the error's list.
pub fn assemble(inputs: Inputs, progress: &mut dyn FnMut(u64)) -> Result<Assembled, Vec<BundleError>> {
    let arch = deployer_arch(&inputs.deployer).map_err(|e| vec![e])?;
    let scan = yum::scan_sources(&inputs.rpms, "rpms/", inputs.packing, Check::All, progress).map_err(|e| vec![e])?;
    let Scan { rpms, repodata, same, mut refused } = scan;
    refused.extend(rpms.iter().filter(|rpm| !fits(&rpm.id.arch, arch)).map(|rpm| BundleError::Unfit {
        path: rpm.path.clone(),
        what: format!("{} is for {}, the deployer for {arch}", rpm.id, rpm.id.arch),
    }));
    if !refused.is_empty() {
        return Err(refused);
    }
    let newest = rpms.iter().map(|rpm| rpm.build_time).max().unwrap_or_default();
    let sources: HashMap<Utf8PathBuf, Source> = inputs.rpms.into_iter().map(|s| (s.path(), s)).collect();
    let mut members: Vec<NewMember> = Vec::new();
    for rpm in &rpms {
        members.push(NewMember {
            name: format!("rpms/{}", rpm.path.file_name().unwrap_or_default()),
            kind: MemberKind::Rpm,
            source: sources.get(&rpm.path).cloned().unwrap_or_else(|| Source::File(rpm.path.clone())),
            rpm: Some(rpm.id.clone()),
            mtime: rpm.build_time,
            sha256: Some(rpm.sha256),
        });
    }
    let spool = inputs.spool;
    let images = image::pack(&inputs.images, image::oci_architecture(arch), newest, &spool, progress)?;
    members.extend(images.members);
    let plain = |name, kind, source| NewMember { name, kind, source, rpm: None, mtime: newest, sha256: None };
    members.extend(repodata.into_iter().map(|f| plain(f.name, MemberKind::Repodata, Source::Bytes(f.bytes))));
    members.extend(inputs.others.into_iter().map(|(name, kind, source)| plain(name, kind, source)));
    let recipe = Recipe {
        product_version: inputs.product_version,
        deployer: inputs.deployer,
        pinned_key: inputs.pinned_key,
        newest_input: newest,
        members,
    };
    Ok(Assembled { recipe, rpms, same, images: images.names, _spool: spool })
}

fn deployer_arch(deployer: &Source) -> Result<&'static str, BundleError> {
    let mut head = Vec::new();
    deployer.open()?.take(64).read_to_end(&mut head).map_err(BundleError::io("read", deployer.path()))?;
    elf::arch(&head).ok_or_else(|| BundleError::Unfit {
        path: deployer.path(),
        what: "the deployer is not a Linux executable (ELF) of a known architecture".into(),
    })
}

/// Can a host of this deployer's architecture install such a package?
fn fits(package: &str, deployer: &str) -> bool {
    package == "noarch"
        || package == deployer
        || (deployer == "x86_64" && matches!(package, "i386" | "i486" | "i586" | "i686" | "x86_64_v2" | "x86_64_v3"))
}
