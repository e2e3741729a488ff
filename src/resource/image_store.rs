//! Where container runtimes keep images: what is there, how an image comes in, how it is removed. Scripts only; which images,
//! and by which route, is [`super::image`]'s business.

use crate::plan::Owned;

use super::kind::Kind;

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

/// Where a container runtime keeps its images.
#[derive(Debug)]
pub struct Store {
    pub(super) kind: &'static Kind,
    /// `FOLDER IMAGE…`: prints a line `name NAME` for each image that is not there, and with any `blob DIGEST` for each
    /// blob that is, and `free BYTES` for its folder.
    pub(super) look: &'static str,
    /// The first line of standard input is an address; `REFERENCE DIGEST ID NAME…`: records the image's names, fetches and
    /// names it.
    pub(super) fetch: &'static str,
    /// Standard input is an archive; the same arguments.
    pub(super) feed: &'static str,
    /// Docker wants an archive of its own.
    pub(super) is_docker: bool,
    folder: &'static str,
    pub(super) look_label: &'static str,
    pub(super) fetch_label: &'static str,
    pub(super) feed_label: &'static str,
}

/// They are recorded before they are loaded: a run that is killed in between must not leave one that nobody knows of.
macro_rules! recorded {
    ($kind:literal) => {
        concat!("set -eu\nref=$1 digest=$2 id=$3; shift 3\nfor i in \"$@\"; do note ", $kind, " \"$i\" -; done\n")
    };
}

/// Has Docker load an archive, known by its configuration (`$digest`; none for an archive with names of its own), and
/// names what came. `fetch` writes what `$url` names to standard output.
macro_rules! docker {
    ($load:literal) => {
        concat!(
            r#"fetch() {
  if command -v curl >/dev/null 2>&1; then
    printf 'url = "%s"\n' "$url" | curl -q -K - -sS -f --noproxy '*'
    return
  fi
  for python in /usr/libexec/platform-python python3 python2 python; do
    command -v "$python" >/dev/null 2>&1 || continue
    printf '%s\n' "$url" | "$python" -c '
import shutil, sys
try:
    from urllib.request import build_opener, ProxyHandler
except ImportError:
    from urllib2 import build_opener, ProxyHandler
url = sys.stdin.readline().strip()
shutil.copyfileobj(build_opener(ProxyHandler({})).open(url), getattr(sys.stdout, "buffer", sys.stdout))'
    return
  done
  echo "neither curl nor python to fetch it with" >&2
  return 1
}
"#,
            $load,
            r#"
[ -n "$digest" ] || exit 0
docker image inspect "$digest" >/dev/null 2>&1 || { echo "what arrived is not the image of the bundle" >&2; exit 66; }
for i in "$@"; do docker tag "$digest" "$i"; done"#
        )
    };
}

/// The CRI plugin keeps every image under its id too, the digest of its configuration.
macro_rules! id {
    () => {
        "[ -z \"$id\" ] || ctr -n k8s.io images ls -q | grep -qxF -- \"$id\" || note ctr-image \"$id\" -\n"
    };
}

/// The free space of a folder that may not be there yet.
macro_rules! free {
    () => {
        "while [ ! -d \"$folder/\" ]; do folder=${folder%/*}; done\n\
         df -P -k -- \"$folder/\" | while read -r _ _ _ k _; do case $k in *[!0-9]*) ;; *) echo \"free $((k * 1024))\";; esac; done\n"
    };
}

/// Docker's. What it loads has no name: it gets its names when its configuration is the one that the bundle has.
pub const DOCKER: Store = Store {
    kind: &DOCKER_IMAGE,
    look: concat!(
        "folder=$1; shift\n",
        r#"for i in "$@"; do docker image inspect "$i" >/dev/null 2>&1 || { printf 'name %s\n' "$i"; missing=1; }; done
[ -n "${missing-}" ] || exit 0
"#,
        free!()
    ),
    fetch: concat!(recorded!("image"), "read -r url\n", docker!(r#"fetch | docker load -q >/dev/null"#)),
    feed: concat!(recorded!("image"), docker!("docker load -q >/dev/null")),
    is_docker: true,
    folder: "/var/lib/docker",
    look_label: "docker image inspect",
    fetch_label: "docker load",
    feed_label: "docker load",
};

/// containerd's, in the namespace of Kubernetes. It pulls by digest and names afterwards: a name over plain HTTP proves
/// nothing. The label keeps the kubelet's clean-up away.
pub const CONTAINERD: Store = Store {
    kind: &CONTAINERD_IMAGE,
    look: concat!(
        r#"folder=$1; shift
there=$(ctr -n k8s.io images ls -q 2>/dev/null)
for i in "$@"; do printf '%s\n' "$there" | grep -qxF -- "$i" || { printf 'name %s\n' "$i"; missing=1; }; done
[ -n "${missing-}" ] || exit 0
ctr -n k8s.io content ls -q 2>/dev/null | sed 's/^/blob /'
"#,
        free!()
    ),
    fetch: concat!(
        recorded!("ctr-image"),
        id!(),
        r#"read -r url
note ctr-image "$ref@$digest" -
umask 077
mkdir -p /run/sunshine-installer
hosts=$(mktemp -d /run/sunshine-installer/images.XXXXXX)
trap 'rm -rf "$hosts"; rmdir /run/sunshine-installer 2>/dev/null || :' EXIT
trap 'exit 143' HUP INT TERM
mkdir "$hosts/_default"
printf 'server = "%s"\n[host."%s"]\n  capabilities = ["pull", "resolve"]\n  override_path = true\n' \
  "$url" "$url" >"$hosts/_default/hosts.toml"
ctr -n k8s.io images pull --hosts-dir "$hosts" --label io.cri-containerd.pinned=pinned "$ref@$digest" >/dev/null
ctr -n k8s.io images tag --force "$ref@$digest" "$@" >/dev/null
for i in "$@"; do ctr -n k8s.io images label "$i" io.cri-containerd.pinned=pinned >/dev/null; done"#
    ),
    feed: concat!(
        recorded!("ctr-image"),
        id!(),
        r#"ctr -n k8s.io images import - >/dev/null
for i in "$@"; do ctr -n k8s.io images label "$i" io.cri-containerd.pinned=pinned >/dev/null; done"#
    ),
    is_docker: false,
    folder: "/var/lib/containerd",
    look_label: "ctr images ls",
    fetch_label: "ctr images pull",
    feed_label: "ctr images import",
};

impl Store {
    /// Where it keeps them unless it is told otherwise.
    pub fn folder(&self) -> &'static str {
        self.folder
    }

    /// Every image that was loaded into it.
    pub fn loaded(&self) -> Owned {
        self.kind.every()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::trial::Trial;

    const NAMES: [&str; 2] = ["docker.io/library/a:1", "docker.io/library/a:12"];
    const REFERENCE: &str = "docker.io/library/a";
    const DIGEST: &str = "sha256:0123";
    const ID: &str = "sha256:4567";
    /// A runtime that has the images in `images`, unless it is `down`.
    const CTR: &str = r#"[ ! -e "${at}down" ] || exit 1
case "$3 $4" in
  'images ls') cat "${at}images";;
  'content ls') echo sha256:held;;
  'images import') cat >/dev/null; printf '%s\n' docker.io/library/a:1 docker.io/library/a:12 >>"${at}images";;
  'images pull') cat "$6/_default/hosts.toml" >"${at}hosts.toml"; printf '%s\n' "$9" >>"${at}images";;
  'images tag') shift 6; printf '%s\n' "$@" >>"${at}images";;
  'images rm') [ ! -e "${at}used" ] && sed -i "\\,^$5\$,d" "${at}images";;
esac"#;
    const DOCKER_PROGRAM: &str = r#"[ ! -e "${at}down" ] || exit 1
case "$1 $2" in
  'load -q') [ "$(cat)" != other ] || exit 0; printf '%s\n' sha256:0123 >>"${at}images";;
  'image inspect') grep -qxF "$3" "${at}images";;
  'tag sha256:0123') printf '%s\n' "$3" >>"${at}images";;
  'image rm') [ ! -e "${at}used" ] && sed -i "\\,^$3\$,d" "${at}images";;
esac"#;

    /// The test with each store, its kind in the record and its package.
    fn each(test: impl Fn(&Trial, &Store, &str, &str)) {
        Trial::each(|trial| {
            trial.program("ctr", CTR);
            trial.program("docker", DOCKER_PROGRAM);
            trial.program("curl", "sed 's/^url = //'");
            for (store, package) in [(&DOCKER, "docker.x86_64"), (&CONTAINERD, "containerd.io.x86_64")] {
                trial.write("images", "theirs:1\n");
                test(trial, store, store.kind.name, package);
                let _ = std::fs::remove_file(trial.at("down"));
                let _ = std::fs::remove_file(trial.at("used"));
                assert!(trial.undo(&["all"]).ok && !trial.there("state"));
                std::fs::create_dir(trial.at("state")).unwrap();
            }
        });
    }

    fn feed(trial: &Trial, store: &Store, archive: &str) -> bool {
        trial.change_with(store.feed, &[&[REFERENCE, DIGEST, ID], &NAMES[..]].concat(), archive).ok
    }

    fn names(trial: &Trial, store: &Store) -> Vec<String> {
        let looked = trial.look(store.look, &[&["/none"], &NAMES[..]].concat()).out;
        looked.lines().filter_map(|line| line.strip_prefix("name ")).map(str::to_owned).collect()
    }

    #[test]
    fn images_are_recorded_before_they_are_loaded_and_leave_a_runtime_that_was_there_before() {
        each(|trial, store, kind, _| {
            assert_eq!(names(trial, store), NAMES);
            trial.write("down", "");
            assert!(!feed(trial, store, "archive"));
            let mut recorded = NAMES.map(|name| format!("{kind} {name} -")).to_vec();
            recorded.extend((!store.is_docker).then(|| format!("{kind} {ID} -")));
            assert_eq!(trial.recorded(), recorded, "also when the load fails");
            std::fs::remove_file(trial.at("down")).unwrap();
            assert!(feed(trial, store, "archive") && trial.recorded() == recorded);
            assert!(names(trial, store).is_empty());
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
    fn what_is_fetched_is_known_by_its_digest_and_named_afterwards() {
        each(|trial, store, kind, _| {
            let arguments = [&[REFERENCE, DIGEST, ID], &NAMES[..]].concat();
            let ran = trial.change_with(store.fetch, &arguments, "http://10.8.14.1:1/token/v2\n");
            assert!(ran.ok, "{ran:?}");
            assert!(names(trial, store).is_empty());
            assert!(trial.recorded().contains(&format!("{kind} {} -", NAMES[0])));
            assert!(!trial.calls().contains("token"), "the address is in no argument");
            if !store.is_docker {
                assert!(trial.read("hosts.toml").contains("[host.\"http://10.8.14.1:1/token/v2\"]"));
                assert!(trial.recorded().contains(&format!("{kind} {REFERENCE}@{DIGEST} -")));
            }
        });
    }

    #[test]
    fn an_archive_of_another_image_gets_no_name() {
        each(|trial, store, _, _| {
            if store.is_docker {
                assert!(!feed(trial, store, "other"));
                assert_eq!(names(trial, store), NAMES);
            }
        });
    }

    #[test]
    fn images_go_with_a_runtime_of_ours() {
        each(|trial, store, _, package| {
            assert!(feed(trial, store, "archive"));
            trial.program("rpm", "[ \"$1\" != -q ]");
            trial.change("note package \"$1\" -", &[package]);
            trial.calls();
            assert!(trial.undo(&["all"]).ok && !trial.there("state"));
            assert!(!trial.calls().contains("rm docker.io"));
        });
    }

    #[test]
    fn an_image_that_cannot_be_removed_is_named_and_stays_in_the_record() {
        each(|trial, store, _, package| {
            assert!(feed(trial, store, "archive"));
            for (why, said) in [("used", "a container uses it"), ("down", "does not run")] {
                trial.write(why, "");
                let ran = trial.undo(&["all"]);
                assert!(!ran.ok && ran.said.contains("image docker.io/library/a:1 cannot be removed"), "{ran:?}");
                assert!(ran.said.contains(said), "{ran:?}");
                assert_eq!(trial.recorded().iter().filter(|line| line.contains("/a:1")).count(), 2, "{package}");
            }
        });
    }
}
