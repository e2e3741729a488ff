//! From the files that someone names to a recipe: packages are read and checked, metadata is made, names are given.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::elf;
use crate::error::BundleError;
use crate::image::{self, ImageInput, Reference};
use crate::member::MemberKind;
use crate::output::Spool;
use crate::platform::{self, Platform};
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
    /// Packages: under `None` those for all hosts, else those for hosts of one platform. Each is a repository of its own.
    pub rpms: BTreeMap<Option<Platform>, Vec<Source>>,
    /// Container images.
    pub(crate) images: Vec<ImageInput>,
    /// Images of those archives that do not go into the bundle.
    left_out: Vec<Reference>,
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
            rpms: BTreeMap::new(),
            images: Vec::new(),
            left_out: Vec::new(),
            spool: Arc::new(Spool::beside(output)),
            others: Vec::new(),
        }
    }

    /// Adds a package, for the hosts of one platform or for all.
    pub fn rpm(&mut self, platform: Option<Platform>, source: Source) {
        self.rpms.entry(platform).or_default().push(source);
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

    /// Takes files out of an image that was added, by their paths in it (`usr/local/bin/etcd`): those that it has. The image itself
    /// does not go into the bundle then.
    ///
    /// # Errors
    /// Every image that cannot be read, and a layer that is not what its image says.
    pub fn take_files(
        &mut self,
        image: &Reference,
        paths: &[&str],
    ) -> Result<BTreeMap<String, Vec<u8>>, Vec<BundleError>> {
        let architecture = self.architecture().map_err(|e| vec![e])?;
        let files = image::files(&self.images, image, paths, architecture, &self.spool)?;
        self.left_out.push(image.clone());
        Ok(files)
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
    /// The packages, under `None` those for all hosts.
    pub rpms: BTreeMap<Option<Platform>, Vec<RpmFile>>,
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
    let scans = scan_all(&inputs, arch, progress)?;
    let newest = scans.values().flat_map(|scan| &scan.rpms).map(|rpm| rpm.build_time).max().unwrap_or_default();
    let sources: HashMap<Utf8PathBuf, Source> =
        inputs.rpms.into_values().flatten().map(|source| (source.path(), source)).collect();
    let plain = |name, kind, source| NewMember { name, kind, source, rpm: None, mtime: newest, sha256: None };
    let mut members: Vec<NewMember> = Vec::new();
    let (mut rpms, mut same) = (BTreeMap::new(), Vec::new());
    for (platform, scan) in scans {
        let prefix = platform::prefix(platform.as_ref());
        members.extend(scan.rpms.iter().map(|rpm| package(rpm, &prefix, &sources)));
        let repodata = scan.repodata.into_iter();
        let repodata =
            repodata.map(|f| plain(format!("{prefix}{}", f.name), MemberKind::Repodata, Source::Bytes(f.bytes)));
        members.extend(repodata);
        rpms.insert(platform, scan.rpms);
        same.extend(scan.same);
    }
    let spool = inputs.spool;
    let images =
        image::pack(&inputs.images, &inputs.left_out, image::oci_architecture(arch), newest, &spool, progress)?;
    members.extend(images.members);
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

/// Reads the packages of every repository. That of the packages for all hosts is always there, so that what a bundle
/// serves, and the folder that it is extracted to, begins with a repository even when all packages are for platforms.
fn scan_all(
    inputs: &Inputs,
    arch: &str,
    progress: &mut dyn FnMut(u64),
) -> Result<BTreeMap<Option<Platform>, Scan>, Vec<BundleError>> {
    let mut sources: BTreeMap<Option<Platform>, &[Source]> = BTreeMap::from([(None, &[][..])]);
    sources.extend(inputs.rpms.iter().map(|(platform, sources)| (platform.clone(), sources.as_slice())));
    let mut scans = BTreeMap::new();
    let mut refused = Vec::new();
    for (platform, sources) in sources {
        let scan = yum::scan_sources(sources, "rpms/", inputs.packing, Check::All, progress);
        let mut scan = scan.map_err(|e| vec![e])?;
        refused.append(&mut scan.refused);
        refused.extend(scan.rpms.iter().filter(|rpm| !fits(&rpm.id.arch, arch)).map(|rpm| BundleError::Unfit {
            path: rpm.path.clone(),
            what: format!("{} is for {}, the deployer for {arch}", rpm.id, rpm.id.arch),
        }));
        scans.insert(platform, scan);
    }
    if refused.is_empty() { Ok(scans) } else { Err(refused) }
}

/// A package as a member of the repository with this prefix.
fn package(rpm: &RpmFile, prefix: &str, sources: &HashMap<Utf8PathBuf, Source>) -> NewMember {
    NewMember {
        name: format!("{prefix}rpms/{}", rpm.path.file_name().unwrap_or_default()),
        kind: MemberKind::Rpm,
        source: sources.get(&rpm.path).cloned().unwrap_or_else(|| Source::File(rpm.path.clone())),
        rpm: Some(rpm.id.clone()),
        mtime: rpm.build_time,
        sha256: Some(rpm.sha256),
    }
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
