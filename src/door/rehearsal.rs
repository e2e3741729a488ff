//! A dry run's own copy of what the control host keeps: the run plans with it as it would with the real one, makes what is
//! missing (an authority, a host's key) in it, and it is gone afterwards. Nothing of it ever reaches a host.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use crate::flow::FlowError;
use crate::flow::request::RunOptions;

use super::workdir::WorkDir;

const KNOWN_HOSTS: &str = "known_hosts";

/// A private copy of the state; dropping it removes it.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    real: Utf8PathBuf,
    copy: WorkDir,
}

impl Rehearsal {
    /// Copies what the run reads of `real`, the folder of all state, into a folder below `work_dir`.
    pub(crate) fn of(real: &Utf8Path, options: &RunOptions, work_dir: Option<&Utf8Path>) -> Result<Self, FlowError> {
        let copy = WorkDir::create(work_dir)
            .map_err(|e| FlowError::Failed { error: e.to_string(), help: Some(e.help().to_owned()) })?;
        let environment = Utf8Path::new("environments").join(&options.environment);
        let failed = |source| FlowError::State { path: real.join(&environment), source };
        for part in read_parts(&real.join(&environment)).map_err(failed)? {
            let part = environment.join(part);
            copy_private(&real.join(&part), &copy.path().join(&part)).map_err(failed)?;
        }
        copy_private(&real.join(KNOWN_HOSTS), &copy.path().join(KNOWN_HOSTS)).map_err(failed)?;
        Ok(Self { real: real.to_owned(), copy })
    }

    /// The folder to use in the place of the real one.
    pub(crate) fn state_root(&self) -> &Utf8Path {
        self.copy.path()
    }

    /// Names the real file where an error names its copy.
    pub(crate) fn name_the_original(&self, error: FlowError) -> FlowError {
        let original = |path: &Utf8Path| path.strip_prefix(self.copy.path()).ok().map(|rest| self.real.join(rest));
        match error {
            FlowError::State { path, source } => FlowError::State { path: original(&path).unwrap_or(path), source },
            other => other,
        }
    }
}

/// What a run reads of an environment: certificates and what its flows keep; not the lock and the journals.
fn read_parts(environment: &Utf8Path) -> io::Result<Vec<String>> {
    if present(environment)?.is_none() {
        return Ok(Vec::new());
    }
    let mut parts = Vec::new();
    for entry in environment.read_dir_utf8()? {
        let name = entry?.file_name().to_owned();
        if name == "pki" || name.ends_with(".json") {
            parts.push(name);
        }
    }
    Ok(parts)
}

/// Copies a file or a folder of files, as it is, when it is there; folders on the way are private.
fn copy_private(from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
    let Some(kind) = present(from)? else { return Ok(()) };
    if let Some(parent) = to.parent() {
        fs_err::create_dir_all(parent)?;
    }
    if kind.is_dir() {
        fs_err::create_dir_all(to)?;
        for entry in from.read_dir_utf8()? {
            let entry = entry?;
            copy_private(entry.path(), &to.join(entry.file_name()))?;
        }
    } else if kind.is_file() {
        fs_err::copy(from, to)?;
    }
    Ok(())
}

fn present(path: &Utf8Path) -> io::Result<Option<std::fs::FileType>> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found.file_type())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dry_run_makes_is_not_in_the_real_state_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let (real, work) = (dir.join("state"), dir.join("work"));
        let environment = real.join("environments/e");
        fs_err::create_dir_all(environment.join("pki/etcd")).unwrap();
        fs_err::create_dir_all(&work).unwrap();
        fs_err::write(environment.join("pki/etcd/ca.crt"), "CA").unwrap();
        fs_err::write(environment.join("etcd.json"), "{}").unwrap();
        fs_err::write(environment.join("lock"), "somebody").unwrap();
        let options = RunOptions { environment: "e".into(), ..RunOptions::default() };
        let rehearsal = Rehearsal::of(&real, &options, Some(&work)).unwrap();
        let copy = rehearsal.state_root().join("environments/e");
        assert_eq!(fs_err::read_to_string(copy.join("pki/etcd/ca.crt")).unwrap(), "CA");
        assert!(copy.join("etcd.json").exists() && !copy.join("lock").exists());
        let error = FlowError::State { path: copy.join("etcd.json"), source: io::Error::other("bad") };
        let error = rehearsal.name_the_original(error).to_string();
        assert!(error.starts_with(environment.join("etcd.json").as_str()), "{error}");
        fs_err::write(copy.join("new.json"), "x").unwrap();
        drop(rehearsal);
        assert!(!environment.join("new.json").exists());
        assert_eq!(fs_err::read_dir(&work).unwrap().count(), 0);
    }
}
