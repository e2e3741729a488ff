//! The images of the bundle: named by manifests, by the kubeadm among the packages, and by the command line.

use std::collections::BTreeMap;

use payload::{Inputs, Reference};

use super::args::CollectArgs;
use super::lock::{ANEW, LockedImage};
use super::mirror::Mirrors;
use super::problem::Problem;
use super::work::Work;
use crate::build::{self, Failure};
use crate::cli::BuildArgs;
use crate::find;
use crate::pull::{self, Access, Wanted};
use crate::required::{KUBEADM, required};

/// Images of flannel, whose manifest is built into the deployer: those that upstream's manifest of that version names
/// (`Documentation/kube-flannel.yml`).
const FLANNEL: [&str; 2] =
    ["ghcr.io/flannel-io/flannel:v0.28.10", "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel3"];
const WITHOUT_MANIFEST: &str = "flannel, the network without --manifest";

/// Names of images, each with who names it.
pub(super) type Named = BTreeMap<Reference, String>;

/// What must be pulled: all that is named and that no `--image` holds.
pub(super) fn named(build: &BuildArgs, inputs: &Inputs) -> Result<Named, Failure> {
    let required = required(build, &find::rpms(&build.rpms)?.rpms)?;
    let listed = build.image_list.as_deref().map(build::listed).transpose()?.unwrap_or_default();
    let asked = build.pull.iter().map(|name| (name, "--pull")).chain(listed.iter().map(|name| (name, "--image-list")));
    let mut named: Named = asked.map(|(name, by)| (name.clone(), by.to_owned())).collect();
    if named.is_empty() && !required.named().any(|(_, by)| by == KUBEADM) {
        let text = format!("the images that kubeadm needs are not known: {}", required.notes.join("; "));
        return Err(Problem::machine(text, "name them with --image-list FILE").into());
    }
    // The package of etcd is made from it.
    let etcd = required.etcd.as_deref().map(|name| (name, KUBEADM));
    for (name, by) in required.named().chain(etcd) {
        named
            .entry(name.parse().map_err(|e: payload::NameProblem| Problem::input(e.to_string(), "correct the name"))?)
            .or_insert_with(|| by.to_owned());
    }
    let there = inputs.image_names().map_err(Failure::Problems)?;
    if build.manifests.is_empty() {
        let all: Vec<Reference> = named.keys().chain(&there).cloned().collect();
        named.extend(flannel(&all).map(|name| (name, WITHOUT_MANIFEST.to_owned())));
    }
    named.retain(|name, _| !there.contains(name));
    Ok(named)
}

/// The images of flannel's manifest, of which none is chosen yet: neither of another version nor of another registry.
fn flannel(chosen: &[Reference]) -> impl Iterator<Item = Reference> {
    let last = |name: &Reference| name.repository().rsplit('/').next().map(str::to_owned);
    let usual = FLANNEL.iter().filter_map(|name| name.parse::<Reference>().ok());
    usual.filter(move |name| !chosen.iter().any(|other| last(other) == last(name)))
}

/// The lock must have these images and no others.
pub(super) fn must_be_locked(named: &Named, locked: &[LockedImage]) -> Result<(), Vec<Problem>> {
    let is_locked = |name: &Reference| locked.iter().any(|image| image.name == name.to_string());
    let absent = named.iter().filter(|(name, _)| !is_locked(name));
    let absent =
        absent.map(|(name, by)| Problem::input(format!("the image {name}, named by {by}, is not in the lock"), ANEW));
    let is_named = |image: &&LockedImage| image.name.parse().is_ok_and(|name| named.contains_key(&name));
    let surplus = locked.iter().filter(|image| !is_named(image));
    let surplus =
        surplus.map(|image| Problem::input(format!("the image {} of the lock is named by nothing", image.name), ANEW));
    let problems: Vec<Problem> = absent.chain(surplus).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Pulls them into the work folder; of a lock, exactly its digests.
pub(super) fn pull(
    args: &CollectArgs,
    named: &Named,
    locked: Option<&[LockedImage]>,
    architecture: &str,
    work: &Work,
) -> Result<Vec<LockedImage>, Failure> {
    let mirrors = Mirrors::new(&args.mirrors);
    let mut access = Access { plain: Vec::new(), proxy: args.proxy.clone() };
    let mut wanted = Vec::new();
    for name in named.keys() {
        let place = mirrors
            .image(name)
            .map_err(|why| Problem::input(format!("the mirror of {name}: {why}"), "correct --mirror"))?;
        if place.plain {
            access.plain.push(place.name.registry().to_owned());
        }
        let text = name.to_string();
        let locked = locked.and_then(|images| images.iter().find(|image| image.name == text));
        wanted.push(Wanted { name: name.clone(), from: place.name, digest: locked.map(|image| image.digest.clone()) });
    }
    let mut tell = |name: &str| build::tell(args.build.quiet, &format!("pulling {name}"));
    let pulled = pull::pull(&wanted, &access, architecture, &work.images(), &mut tell).map_err(Failure::NotPulled)?;
    Ok(pulled.iter().map(|image| LockedImage { name: image.name.to_string(), digest: image.digest.clone() }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flannel_s_images_are_added_where_none_is_chosen() {
        let usual = |chosen: &[&str]| -> Vec<String> {
            let chosen: Vec<Reference> = chosen.iter().map(|name| name.parse().unwrap()).collect();
            flannel(&chosen).map(|name| name.to_string()).collect()
        };
        assert_eq!(usual(&["registry.k8s.io/pause:3.10"]), FLANNEL);
        assert_eq!(usual(&["site.example/k8s/flannel:1"]), FLANNEL[1..]);
        assert!(usual(&["site.example/flannel:1", "x.io/flannel-cni-plugin:2"]).is_empty());
    }

    #[test]
    fn a_lock_has_all_images_that_are_named_and_no_others() {
        let named: Named = [("x.io/a:1".parse().unwrap(), "flannel".to_owned())].into();
        let image = |name: &str| LockedImage { name: name.into(), digest: String::new() };
        assert!(must_be_locked(&named, &[image("x.io/a:1")]).is_ok());
        let problems = must_be_locked(&named, &[image("x.io/a:2")]).unwrap_err();
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "the image x.io/a:1, named by flannel, is not in the lock",
                "the image x.io/a:2 of the lock is named by nothing"
            ]
        );
    }
}
