//! A bundle made from a bundle: some members dropped, some added, at the site itself and without the bundler.

use camino::{Utf8Path, Utf8PathBuf};

use crate::assemble::{Assembled, Inputs, assemble};
use crate::bundle::Bundle;
use crate::error::BundleError;
use crate::image::{Image, ImageInput, Reference};
use crate::member::{Member, MemberKind, Stored};
use crate::platform::Platform;
use crate::write::Source;
use crate::yum::Packing;

/// What is to become different.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Packages to add.
    pub rpms: Vec<Utf8PathBuf>,
    /// The platform that they are for; without one they are for all hosts.
    pub platform: Option<Platform>,
    /// Container images to add.
    pub images: Vec<Utf8PathBuf>,
    /// Networks' manifests to add or replace: name and file.
    pub networks: Vec<(String, Utf8PathBuf)>,
    /// Addons' manifests to add or replace: name and file.
    pub addons: Vec<(String, Utf8PathBuf)>,
    /// Members to leave out: by member name, file name, or package name.
    pub drop: Vec<String>,
    /// A new `conf.ini`.
    pub conf: Option<Utf8PathBuf>,
    /// A new `install.ini`.
    pub install_conf: Option<Utf8PathBuf>,
    /// Another product version.
    pub product_version: Option<String>,
    /// Another pinned key; `Some(None)` takes the pin out.
    pub pinned_key: Option<Option<String>>,
}

/// The recipe of the changed bundle. Write it to `output` with [`crate::write()`].
pub fn repack(
    bundle: &Bundle,
    changes: &Changes,
    output: &Utf8Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Assembled, Vec<BundleError>> {
    let manifest = bundle.manifest();
    let version = changes.product_version.as_ref().unwrap_or(&manifest.product_version);
    let mut inputs = Inputs::new(version, Source::Deployer(bundle.clone()), output);
    inputs.pinned_key = changes.pinned_key.clone().unwrap_or_else(|| manifest.pinned_key.clone());
    inputs.packing = packing_of(bundle);
    let images = bundle.images().map_err(|e| vec![e])?;
    let dropped = dropped(bundle, &images, &changes.drop).map_err(|e| vec![e])?;
    for member in manifest.members.iter().filter(|member| !dropped.contains(&member.name)) {
        let source = match member.kind {
            // In an extracted folder these are the site's own to change.
            MemberKind::Ini if bundle.is_folder() => Source::File(bundle.path().join(&member.name)),
            _ => Source::Member(bundle.clone(), Box::new(member.clone())),
        };
        match member.kind {
            // Made anew from the packages and the images.
            MemberKind::Repodata | MemberKind::Blob | MemberKind::Layout => {}
            // A bundle of format 1 has images as archives.
            MemberKind::Image => {
                inputs.images.push(ImageInput::Archive { source: archive(bundle, member), name: None })
            }
            MemberKind::Rpm => inputs.rpm(member.platform().and_then(|name| name.parse().ok()), source),
            kind => inputs.others.push((member.name.clone(), kind, source)),
        }
    }
    changes.rpms.iter().for_each(|path| inputs.rpm(changes.platform.clone(), Source::File(path.clone())));
    for mut image in images {
        image.names.retain(|name| !dropped.contains(&name.to_string()));
        if !image.names.is_empty() {
            inputs.images.push(ImageInput::Held { bundle: bundle.clone(), image });
        }
    }
    changes.images.iter().for_each(|path| inputs.image(path, None));
    for (name, path) in &changes.networks {
        inputs.others.retain(|(other, ..)| *other != format!("networks/{name}.yaml"));
        inputs.network(name, path);
    }
    for (name, path) in &changes.addons {
        inputs.others.retain(|(other, ..)| *other != format!("addons/{name}.yaml"));
        inputs.addon(name, path);
    }
    changes.conf.iter().for_each(|path| inputs.conf(path));
    changes.install_conf.iter().for_each(|path| inputs.install_conf(path));
    assemble(inputs, progress)
}

fn packing_of(bundle: &Bundle) -> Packing {
    let zstd = |m: &Member| m.kind == MemberKind::Repodata && m.name.ends_with(".zst");
    if bundle.manifest().members.iter().any(zstd) { Packing::Zstd } else { Packing::Gzip }
}

/// Where an image's archive lies.
fn archive(bundle: &Bundle, member: &Member) -> Source {
    if bundle.is_folder() {
        return Source::File(bundle.path().join(&member.name));
    }
    match member.stored {
        Stored::Plain => Source::Range { path: bundle.path().to_owned(), at: member.offset, size: member.size },
        Stored::Gzip { .. } => Source::Member(bundle.clone(), Box::new(member.clone())),
    }
}

/// The members and names of images that these words mean; a word that means none is an error.
fn dropped(bundle: &Bundle, images: &[Image], words: &[String]) -> Result<Vec<String>, BundleError> {
    let mut dropped = Vec::new();
    for word in words {
        let before = dropped.len();
        dropped.extend(bundle.matching(word).map(|member| member.name.clone()));
        let names = images.iter().flat_map(|image| &image.names).map(ToString::to_string);
        let full = word.parse::<Reference>().map(|name| name.to_string());
        dropped.extend(names.filter(|name| full.as_ref().is_ok_and(|full| full == name)));
        if dropped.len() == before {
            return Err(bundle.no_member(word));
        }
    }
    Ok(dropped)
}

impl Bundle {
    /// Members that a user may mean by this word: a member name, a file name, a package's name or full identity.
    pub fn matching<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a Member> {
        self.manifest().members.iter().filter(move |member| {
            let package = member.rpm.as_ref().is_some_and(|id| id.name == word || id.to_string() == word);
            member.name == word || member.file_name() == word || package
        })
    }

    /// The error for a word that means no member.
    #[must_use]
    pub fn no_member(&self, name: &str) -> BundleError {
        BundleError::NoMember { path: Utf8Path::to_owned(self.path()), name: name.to_owned() }
    }
}
