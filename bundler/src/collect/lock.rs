//! The lock: which packages and images a bundle was made of, so that the same bundle can be made again.

use std::io::Write;

use camino::Utf8Path;
use payload::{Reference, Sha256};
use serde::{Deserialize, Serialize};

use super::args::CollectArgs;
use super::problem::Problem;

/// The only format so far.
const FORMAT: u32 = 1;

/// What was collected, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lock {
    pub(super) format: u32,
    pub(super) kubernetes: String,
    pub(super) architecture: String,
    /// Those that `--package` named.
    pub(super) named_packages: Vec<String>,
    pub(super) distributions: Vec<LockedDistro>,
    pub(super) images: Vec<LockedImage>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LockedDistro {
    pub(super) name: String,
    pub(super) packages: Vec<LockedPackage>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LockedPackage {
    /// Name, epoch, version, release and architecture.
    pub(super) nevra: String,
    pub(super) file: String,
    pub(super) size: u64,
    pub(super) sha256: Sha256,
    /// Where it is, without mirrors and logins.
    pub(super) url: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LockedImage {
    pub(super) name: String,
    /// Of its manifest for the architecture.
    pub(super) digest: String,
}

impl Lock {
    /// A lock of nothing yet.
    pub(super) fn new(args: &CollectArgs, architecture: &str) -> Self {
        Self {
            format: FORMAT,
            kubernetes: args.kubernetes.to_string(),
            architecture: architecture.to_owned(),
            named_packages: sorted(args.packages.clone()),
            distributions: Vec::new(),
            images: Vec::new(),
        }
    }

    /// Reads one; none when there is no such file.
    pub(super) fn read(path: &Utf8Path) -> Result<Option<Self>, Problem> {
        let text = match fs_err::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Problem::machine(e.to_string(), ANEW)),
        };
        let unreadable = |why: String| Problem::input(format!("the lock {path} cannot be read: {why}"), ANEW);
        let format = serde_json::from_str::<serde_json::Value>(&text).map_err(|e| unreadable(e.to_string()))?;
        match format.get("format").and_then(serde_json::Value::as_u64) {
            Some(1) => {}
            other => return Err(unreadable(format!("its format is {other:?}, this program knows {FORMAT}"))),
        }
        let lock: Self = serde_json::from_str(&text).map_err(|e| unreadable(e.to_string()))?;
        lock.check().map_err(unreadable)?;
        Ok(Some(lock))
    }

    /// What would become a path or a request must look like one.
    fn check(&self) -> Result<(), String> {
        let is_file = |file: &str| file.ends_with(".rpm") && !file.starts_with('.') && !file.contains(['/', '\0']);
        let is_url = |url: &str| ["https://", "http://", "file:///"].iter().any(|scheme| url.starts_with(scheme));
        for package in self.distributions.iter().flat_map(|distro| &distro.packages) {
            if !is_file(&package.file) || !is_url(&package.url) {
                return Err(format!("{} has no usable file name and URL", package.nevra));
            }
        }
        for image in &self.images {
            image.name.parse::<Reference>().map_err(|e| e.to_string())?;
            let hex = image.digest.strip_prefix("sha256:").unwrap_or_default();
            hex.parse::<Sha256>().map_err(|_| format!("the digest of {} is no sha256", image.name))?;
        }
        Ok(())
    }

    /// A lock of another request is refused.
    pub(super) fn must_be_for(&self, args: &CollectArgs, architecture: &str, path: &Utf8Path) -> Result<(), Problem> {
        let asked = Self::new(args, architecture);
        let distros: Vec<&str> = self.distributions.iter().map(|distro| distro.name.as_str()).collect();
        let named: Vec<String> = args.distros.iter().map(ToString::to_string).collect();
        let packages = |lock: &Self| format!("--package {}", lock.named_packages.join(" "));
        let pairs = [
            (format!("Kubernetes {}", self.kubernetes), format!("Kubernetes {}", asked.kubernetes)),
            (self.architecture.clone(), asked.architecture.clone()),
            (distros.join(" "), named.join(" ")),
            (packages(self), packages(&asked)),
        ];
        let differ = pairs.into_iter().filter(|(locked, asked)| locked != asked);
        let differ: Vec<String> =
            differ.map(|(locked, asked)| format!("it is for {locked}, not for {asked}")).collect();
        if differ.is_empty() {
            return Ok(());
        }
        Err(Problem::input(format!("the lock {path} does not fit: {}", differ.join("; ")), ANEW))
    }

    /// Writes it, whole or not at all.
    pub(super) fn write(&self, path: &Utf8Path) -> Result<(), Problem> {
        let broken =
            |e: std::io::Error| Problem::machine(format!("cannot write the lock {path}: {e}"), "see to the folder");
        let folder = path.parent().filter(|folder| !folder.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
        let mut text = serde_json::to_string_pretty(self).map_err(|e| broken(e.into()))?;
        text.push('\n');
        let mut file = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)
            .map_err(broken)?;
        file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(broken)?;
        file.persist(path).map_err(|e| broken(e.error))?;
        Ok(())
    }
}

/// The way out of a lock that does not fit.
pub(super) const ANEW: &str = "remove the lock, or name another, to collect anew";

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        let package = LockedPackage {
            nevra: "a-0:1-1.x86_64".into(),
            file: "a.rpm".into(),
            size: 1,
            sha256: Sha256::of(b"a"),
            url: "https://x/a.rpm".into(),
        };
        let image = LockedImage { name: "x.io/a:1".into(), digest: format!("sha256:{}", Sha256::of(b"b")) };
        Lock {
            format: FORMAT,
            kubernetes: "1.36.3".into(),
            architecture: "x86_64".into(),
            named_packages: Vec::new(),
            distributions: vec![LockedDistro { name: "el9".into(), packages: vec![package] }],
            images: vec![image],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("x.lock");
        assert_eq!(Lock::read(&path).unwrap(), None);
        lock().write(&path).unwrap();
        assert_eq!(Lock::read(&path).unwrap(), Some(lock()));
    }

    #[test]
    fn a_lock_that_names_no_file_or_digest_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("x.lock");
        lock().write(&path).unwrap();
        let text = fs_err::read_to_string(&path).unwrap();
        for (from, to) in [
            ("\"a.rpm\"", "\"../a.rpm\""),
            ("\"a.rpm\"", "\"a\""),
            ("https://x", "gopher://x"),
            ("sha256:", "md5:"),
            ("x.io/a:1", "not a name"),
            ("\"format\": 1", "\"format\": 2"),
            ("\"size\"", "\"weight\""),
            ("{", "["),
        ] {
            fs_err::write(&path, text.replace(from, to)).unwrap();
            let refused = Lock::read(&path).unwrap_err();
            assert!(!refused.is_machine() && refused.to_string().contains("cannot be read"), "{from}: {refused}");
        }
    }
}
