//! Container images of a bundle in the store of a container runtime.

use std::time::Duration;

use payload::{Bundle, Member};

use crate::host::{Command, FileMeta};
use crate::plan::{Check, Cx, Owned, StepError, Work};

use super::kind::Kind;
use super::record::{RECORD_DIR, recording};

/// An image of Docker's, by name: `-` Docker did not know it. A Docker of ours takes its images along.
pub(super) const DOCKER_IMAGE: Kind = Kind {
    name: "image",
    plural: "Docker image(s)",
    undo: r#"undo_image() {
  if is_ours docker || ! command -v docker >/dev/null 2>&1; then return 0; fi
  docker version >/dev/null 2>&1 || { failed "image $1 cannot be removed while docker does not run"; return 1; }
  docker image inspect "$1" >/dev/null 2>&1 || return 0
  docker image rm "$1" >/dev/null 2>&1 || { failed "image $1 cannot be removed: a container uses it"; return 1; }
}
"#,
    alone: Some(remove),
};

/// An image of containerd's, by its full name: `-` containerd did not know it. A containerd of ours takes its images along.
pub(super) const CONTAINERD_IMAGE: Kind = Kind {
    name: "ctr-image",
    plural: "containerd image(s)",
    undo: r#"undo_ctr_image() {
  if is_ours containerd || ! command -v ctr >/dev/null 2>&1; then return 0; fi
  ctr version >/dev/null 2>&1 || { failed "image $1 cannot be removed while containerd does not run"; return 1; }
  ctr -n k8s.io images ls -q 2>/dev/null | grep -qxF -- "$1" || return 0
  ctr -n k8s.io images rm "$1" >/dev/null 2>&1 || { failed "image $1 cannot be removed: a container uses it"; return 1; }
}
"#,
    alone: Some(remove),
};

fn remove(name: &str) -> String {
    format!("remove image {name}")
}

/// An image of the bundle.
#[derive(Debug, Clone)]
pub struct Image {
    pub member: Member,
    /// Its names, such as `k8s.gcr.io/pause:3.2`.
    pub tags: Vec<String>,
}

/// Where a container runtime keeps its images.
#[derive(Debug)]
pub struct Store {
    kind: &'static Kind,
    /// `IMAGE…`: prints those that are not there.
    missing: &'static str,
    /// `FILE IMAGE…`: records the images and loads the archive.
    load: &'static str,
    /// The name that it keeps an image under.
    name: fn(&str) -> String,
    look_label: &'static str,
    load_label: &'static str,
}

/// `$1` the archive, then the names that the host did not have. They are recorded before they are loaded: a run that is
/// killed in between must not leave one that nobody knows of.
macro_rules! recorded {
    ($kind:literal, $load:literal) => {
        concat!(
            "set -eu\nfile=$1; shift\nfor i in \"$@\"; do note ",
            $kind,
            " \"$i\" -; done\n",
            $load,
            "\nrm -f -- \"$file\""
        )
    };
}

/// Docker's.
pub const DOCKER: Store = Store {
    kind: &DOCKER_IMAGE,
    missing: r#"for i in "$@"; do docker image inspect "$i" >/dev/null 2>&1 || printf '%s\n' "$i"; done"#,
    load: recorded!("image", r#"docker load -q -i "$file""#),
    name: str::to_owned,
    look_label: "docker image inspect",
    load_label: "docker load",
};

/// containerd's, in the namespace of Kubernetes.
pub const CONTAINERD: Store = Store {
    kind: &CONTAINERD_IMAGE,
    missing: r#"there=$(ctr -n k8s.io images ls -q 2>/dev/null)
for i in "$@"; do printf '%s\n' "$there" | grep -qxF -- "$i" || printf '%s\n' "$i"; done"#,
    load: recorded!("ctr-image", r#"ctr -n k8s.io images import "$file" >/dev/null"#),
    name: in_full,
    look_label: "ctr images ls",
    load_label: "ctr images import",
};

impl Store {
    /// Every image that was loaded into it.
    pub fn loaded(&self) -> Owned {
        self.kind.every()
    }
}

/// The name that containerd keeps an image under: Docker's short names in full.
fn in_full(tag: &str) -> String {
    match tag.split_once('/') {
        None => format!("docker.io/library/{tag}"),
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => tag.to_owned(),
        Some(_) => format!("docker.io/{tag}"),
    }
}

/// These images are in a store; only what is missing is loaded.
#[derive(Debug)]
pub struct Images {
    pub bundle: Bundle,
    pub images: Vec<Image>,
    pub store: &'static Store,
}

impl Images {
    fn names(&self, image: &Image) -> Vec<String> {
        image.tags.iter().map(|tag| (self.store.name)(tag)).collect()
    }

    fn missing(&self, cx: &Cx<'_>) -> Result<Vec<String>, StepError> {
        let names = self.images.iter().flat_map(|i| self.names(i));
        let look = Command::script(self.store.missing).label(self.store.look_label);
        let output = cx.host()?.run(&look.args(names))?;
        Ok(output.text().lines().map(str::to_owned).collect())
    }
}

impl Work for Images {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        Ok(Check::from_changes(self.missing(cx)?.into_iter().map(|tag| format!("load image {tag}")).collect()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let missing = self.missing(cx)?;
        for image in self.images.iter().filter(|i| self.names(i).iter().any(|t| missing.contains(t))) {
            let bytes = self.bundle.bytes(&image.member).map_err(|e| StepError::failed(e.to_string()))?;
            let sha256 = image.member.sha256.to_string();
            // The same name on every run, so that a killed upload is not sent again when it was whole.
            let path = format!("{RECORD_DIR}/{sha256}.image");
            cx.note(format!("uploading {}", image.tags.join(", ")));
            let size = bytes.len() as u64;
            let host = cx.host()?;
            host.upload(&mut bytes.as_ref(), size, &sha256, &path, &FileMeta::mode(0o600), &mut |_| {})?;
            let new = self.names(image).into_iter().filter(|tag| missing.contains(tag));
            let load = recording(cx.owner()?, self.store.load).arg(&path).label(self.store.load_label);
            host.run_ok(&load.args(new).timeout(Duration::from_secs(600)))?;
        }
        Ok(())
    }

    /// All that is in its store because of a bundle: a run with another bundle may have loaded others.
    fn owns(&self) -> Vec<Owned> {
        vec![self.store.loaded()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::trial::Trial;

    const NAMES: [&str; 2] = ["docker.io/library/a:1", "docker.io/library/a:12"];
    /// A runtime that has the images in `images`, unless it is `down`.
    const CTR: &str = r#"[ ! -e "${at}down" ] || exit 1
case "$3 $4" in
  'images ls') cat "${at}images";;
  'images import') printf '%s\n' docker.io/library/a:1 docker.io/library/a:12 >>"${at}images";;
  'images rm') [ ! -e "${at}used" ] && sed -i "\,^$5$,d" "${at}images";;
esac"#;
    const DOCKER_PROGRAM: &str = r#"[ ! -e "${at}down" ] || exit 1
case "$1 $2" in
  'load -q') printf '%s\n' docker.io/library/a:1 docker.io/library/a:12 >>"${at}images";;
  'image inspect') grep -qxF "$3" "${at}images";;
  'image rm') [ ! -e "${at}used" ] && sed -i "\,^$3$,d" "${at}images";;
esac"#;

    /// The test with each store, its kind in the record and its package.
    fn each(test: impl Fn(&Trial, &Store, &str, &str)) {
        Trial::each(|trial| {
            trial.program("ctr", CTR);
            trial.program("docker", DOCKER_PROGRAM);
            for (store, package) in [(&DOCKER, "docker.x86_64"), (&CONTAINERD, "containerd.io.x86_64")] {
                trial.write("images", "theirs:1\n");
                trial.write("state/a.image", "archive");
                test(trial, store, store.kind.name, package);
                let _ = std::fs::remove_file(trial.at("down"));
                let _ = std::fs::remove_file(trial.at("used"));
                assert!(trial.undo(&["all"]).ok && !trial.there("state"));
                std::fs::create_dir(trial.at("state")).unwrap();
            }
        });
    }

    fn load(trial: &Trial, store: &Store) -> bool {
        trial.change(store.load, &[&[trial.at("state/a.image").as_str()], &NAMES[..]].concat()).ok
    }

    #[test]
    fn images_are_recorded_before_they_are_loaded_and_leave_a_runtime_that_was_there_before() {
        each(|trial, store, kind, _| {
            assert_eq!(trial.look(store.missing, &NAMES).out, format!("{}\n{}\n", NAMES[0], NAMES[1]));
            trial.write("down", "");
            assert!(!load(trial, store));
            let recorded = NAMES.map(|name| format!("{kind} {name} -"));
            assert_eq!(trial.recorded(), recorded, "also when the load fails");
            std::fs::remove_file(trial.at("down")).unwrap();
            assert!(load(trial, store) && trial.recorded() == recorded && !trial.there("state/a.image"));
            assert_eq!(trial.look(store.missing, &NAMES).out, "");
            trial.change("note unit runtime.service enabled/active", &[]);
            trial.calls();
            // One of them is gone already.
            trial.write("images", "theirs:1\ndocker.io/library/a:12\n");
            let ran = trial.undo(&["some", kind, "*", "unit", "runtime.service"]);
            assert!(ran.ok && ran.said.is_empty() && trial.recorded().is_empty(), "{ran:?}");
            assert_eq!(trial.read("images"), "theirs:1\n");
            let calls = trial.calls();
            assert!(!calls.contains("rm docker.io/library/a:1\n"), "{calls}");
            assert!(
                calls.find("rm docker.io/library/a:12").unwrap() < calls.find("systemctl stop").unwrap(),
                "{calls}"
            );
        });
    }

    #[test]
    fn images_go_with_a_runtime_of_ours() {
        each(|trial, store, _, package| {
            assert!(load(trial, store));
            trial.program("rpm", "[ \"$1\" != -q ]");
            trial.change("note package \"$1\" -", &[package]);
            trial.calls();
            assert!(trial.undo(&["all"]).ok && !trial.there("state"));
            assert!(!trial.calls().contains("rm docker.io"));
        });
    }

    #[test]
    fn an_image_that_cannot_be_removed_is_named_and_stays_in_the_record() {
        each(|trial, store, kind, package| {
            assert!(load(trial, store));
            for (why, said) in [("used", "a container uses it"), ("down", "does not run")] {
                trial.write(why, "");
                let ran = trial.undo(&["all"]);
                assert!(!ran.ok && ran.said.contains("image docker.io/library/a:1 cannot be removed"), "{ran:?}");
                assert!(ran.said.contains(said), "{ran:?}");
                assert_eq!(trial.recorded().iter().filter(|line| line.starts_with(kind)).count(), 2, "{package}");
            }
        });
    }

    #[test]
    fn short_names_are_written_in_full() {
        assert_eq!(in_full("busybox:latest"), "docker.io/library/busybox:latest");
        assert_eq!(in_full("calico/node:v3"), "docker.io/calico/node:v3");
        assert_eq!(in_full("k8s.gcr.io/pause:3.2"), "k8s.gcr.io/pause:3.2");
        assert_eq!(in_full("localhost/x:1"), "localhost/x:1");
    }
}
