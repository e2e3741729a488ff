//! Where container runtimes keep their images: how to look for one there, and to load it.

/// `$1` kind in the change record, `$2` the archive, then the names that the host did not have. They are recorded before they
/// are loaded: a run that is killed in between must not leave one that nobody knows of.
macro_rules! recorded {
    ($load:literal) => {
        concat!(
            r#"set -eu
kind=$1 file=$2; shift 2
for i in "$@"; do note "$kind" "$i" -; done
"#,
            $load,
            r#"
rm -f -- "$file""#
        )
    };
}

/// Where a container runtime keeps its images.
#[derive(Debug)]
pub(super) struct Store {
    /// Its kind in the change record.
    pub kind: &'static str,
    /// `IMAGE…`: prints those that are not there.
    pub missing: &'static str,
    /// `KIND FILE IMAGE…`: records the images and loads the archive.
    pub load: &'static str,
    /// The name that it keeps an image under.
    pub name: fn(&str) -> String,
    pub look_label: &'static str,
    pub load_label: &'static str,
}

/// Docker's.
pub(super) const DOCKER: Store = Store {
    kind: "image",
    missing: r#"for i in "$@"; do docker image inspect "$i" >/dev/null 2>&1 || printf '%s\n' "$i"; done"#,
    load: recorded!(r#"docker load -q -i "$file""#),
    name: str::to_owned,
    look_label: "docker image inspect",
    load_label: "docker load",
};

/// containerd's, in the namespace of Kubernetes.
pub(super) const CONTAINERD: Store = Store {
    kind: "ctr-image",
    missing: r#"there=$(ctr -n k8s.io images ls -q 2>/dev/null)
for i in "$@"; do printf '%s\n' "$there" | grep -qxF -- "$i" || printf '%s\n' "$i"; done"#,
    load: recorded!(r#"ctr -n k8s.io images import "$file" >/dev/null"#),
    name: in_full,
    look_label: "ctr images ls",
    load_label: "ctr images import",
};

/// The name that containerd keeps an image under: Docker's short names in full.
fn in_full(tag: &str) -> String {
    match tag.split_once('/') {
        None => format!("docker.io/library/{tag}"),
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => tag.to_owned(),
        Some(_) => format!("docker.io/{tag}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script with `ctr`, `docker` and the state folder of this test; the record it leaves.
    fn record_after(script: &str, kind: &str, names: &[&str], loads: bool) -> String {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        for program in ["ctr", "docker"] {
            std::fs::write(at(program), format!("#!/bin/sh\nexit {}\n", u8::from(!loads))).unwrap();
            std::fs::set_permissions(at(program), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::write(at("file"), "archive").unwrap();
        let script = format!("{}{script}", crate::plan::RECORD_HEAD).replace(crate::plan::RECORD_DIR, &at(""));
        let path = format!("{}:{}", at(""), std::env::var("PATH").unwrap());
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script, "sh", "e\t0", kind, &at("file")]).args(names).env("PATH", path);
        assert_eq!(command.status().unwrap().success(), loads);
        let record = std::fs::read_to_string(at("record")).unwrap();
        let objects = record.lines().filter(|l| !l.starts_with("format\t"));
        objects.map(|l| l.split('\t').take(3).collect::<Vec<_>>().join("\t") + "\n").collect()
    }

    #[test]
    fn images_are_recorded_before_they_are_loaded_into_docker_and_containerd() {
        let names = ["docker.io/library/a:1", "docker.io/library/a:12"];
        for loads in [true, false] {
            let record = record_after(CONTAINERD.load, CONTAINERD.kind, &names, loads);
            assert_eq!(record, "ctr-image\tdocker.io/library/a:1\t-\nctr-image\tdocker.io/library/a:12\t-\n");
            assert_eq!(record_after(DOCKER.load, DOCKER.kind, &["a:1", "a:1"], loads), "image\ta:1\t-\n");
        }
    }

    #[test]
    fn short_names_are_written_in_full() {
        assert_eq!(in_full("busybox:latest"), "docker.io/library/busybox:latest");
        assert_eq!(in_full("calico/node:v3"), "docker.io/calico/node:v3");
        assert_eq!(in_full("k8s.gcr.io/pause:3.2"), "k8s.gcr.io/pause:3.2");
        assert_eq!(in_full("localhost/x:1"), "localhost/x:1");
    }
}
