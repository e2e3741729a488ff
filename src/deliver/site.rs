//! The run's own files on a host: where they lie, how they come, that they go.
//!
//! `/run/sunshine-installer/RUN` has the .repo file and the keys, `/var/cache/sunshine-installer/RUN` what is large:
//! the package manager's cache, and uploaded packages (`/run` is memory). Both belong to root, mode 0700.

use crate::host::{Command, FileMeta, Host, NewFile};

use super::error::DeliverError;
use super::repository::ID;

/// `$1` run, `$2` environment: makes the run's folders after taking away those of runs that ended without doing so.
const PREPARE: &str = concat!(
    include_str!("sweep.sh"),
    r#"
umask 077
environment=$2
sweep_dead "$1"
protect "$1"
for base in $bases; do mkdir -p -m 0700 "$base/$1" || exit 1; done
sign "$1"
mkdir -m 0700 -p "/run/sunshine-installer/$1/repos.d""#
);

/// `$1` the repository's name, `$2` environment, `$3` run, or nothing: takes the run's folders away, those of earlier runs that
/// could not be before, and what yum 3 keeps about a repository elsewhere.
const CLEAR: &str = concat!(
    include_str!("sweep.sh"),
    r#"
environment=$2
if [ -n "$3" ]; then
    for base in $bases; do [ ! -d "$base/$3" ] || sweep "$base/$3"; done
fi
sweep_dead "$3"
rm -rf -- /var/lib/yum/repos/*/*/"$1" /var/lib/yum/repos/*/*/"$1"-*
rmdir /run/sunshine-installer /var/cache/sunshine-installer 2>/dev/null
exit 0"#
);

/// Stands for no environment: a dry run's folders are its own, and it takes no other away.
pub(crate) const LOOKING: &str = "-";

/// The folders of one run on one host.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    run: String,
    /// Whose run it is, or [`LOOKING`].
    environment: String,
}

impl Site {
    /// Makes them, after clearing what a killed run left.
    pub(crate) fn prepare(
        host: &Host,
        run: &str,
        environment: &str,
        note: &mut dyn FnMut(String),
    ) -> Result<Site, DeliverError> {
        let command = Command::script(PREPARE).args([run, environment]).label("prepare the repository's folders");
        let said = host.run_ok(&command)?.text();
        if said.lines().any(|line| line == "cleared") {
            note("removed what an earlier run had left behind".into());
        }
        for process in said.lines().filter_map(|line| line.strip_prefix("busy ")) {
            note(format!("an earlier run's package manager (process {process}) is still at work"));
        }
        Ok(Site { run: run.to_owned(), environment: environment.to_owned() })
    }

    /// Takes everything of this run away.
    pub(crate) fn clear(&self, host: &Host) -> Result<(), DeliverError> {
        Self::clear_run(host, &self.environment, &self.run)
    }

    /// Takes away what dead runs left, on a run of this environment that has no folders itself.
    pub(crate) fn sweep(host: &Host, environment: &str) -> Result<(), DeliverError> {
        Self::clear_run(host, environment, "")
    }

    fn clear_run(host: &Host, environment: &str, run: &str) -> Result<(), DeliverError> {
        let command = Command::script(CLEAR).args([ID, environment, run]).label("remove the repository's folders");
        host.run_ok(&command)?;
        Ok(())
    }

    fn config(&self) -> String {
        format!("/run/sunshine-installer/{}", self.run)
    }

    pub(crate) fn repos_dir(&self) -> String {
        format!("{}/repos.d", self.config())
    }

    pub(crate) fn cache_dir(&self) -> String {
        format!("/var/cache/sunshine-installer/{}/cache", self.run)
    }

    /// Where a transaction that is held has its questions and answers.
    pub(crate) fn held_dir(&self) -> String {
        format!("{}/held", self.config())
    }

    /// Where the beginnings of packages lie while rpm tests a transaction with them.
    pub(crate) fn heads_dir(&self) -> String {
        format!("{}/heads", self.config())
    }

    /// Where packages and metadata are uploaded to.
    pub(crate) fn files_dir(&self) -> String {
        format!("/var/cache/sunshine-installer/{}/files", self.run)
    }

    /// The path of a key.
    pub(crate) fn key(&self, file_name: &str) -> String {
        format!("{}/{file_name}", self.config())
    }

    /// Puts the .repo file and the public keys that it names there.
    pub(crate) fn put_repo(&self, host: &Host, text: &str, keys: &[(String, Vec<u8>)]) -> Result<(), DeliverError> {
        let (private, public) = (FileMeta::mode(0o600), FileMeta::mode(0o644));
        let repo = format!("{}/{ID}.repo", self.repos_dir());
        let keys: Vec<_> = keys.iter().map(|(name, key)| (self.key(name), key)).collect();
        let mut files = vec![NewFile { path: &repo, content: text.as_bytes(), meta: &private }];
        files.extend(keys.iter().map(|(path, content)| NewFile { path, content, meta: &public }));
        Ok(host.write_files(&files)?)
    }
}

#[cfg(test)]
mod tests;
