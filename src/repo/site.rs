//! The run's own files on a host: where they lie, how they come, that they go.
//!
//! `/run/sunshine-installer/RUN` has the .repo file and the keys, `/var/cache/sunshine-installer/RUN` what is large:
//! the package manager's cache, and uploaded packages (`/run` is memory). Both belong to root, mode 0700.

use crate::host::{Command, FileMeta, Host};

use super::error::RepoError;
use super::repofile::ID;

/// Makes the run's folders after taking away those of runs that ended without doing so. One that a package manager
/// still works in (started by a run that was killed) is left to it, and named on standard output.
const PREPARE: &str = r#"
# folders of this run: $1
umask 077
for base in /run/sunshine-installer /var/cache/sunshine-installer; do
    for old in "$base"/*; do
        [ -d "$old" ] || continue
        [ "${old##*/}" != "$1" ] || continue
        busy=
        for process in /proc/[0-9]*; do
            line=$(tr '\0' ' ' <"$process/cmdline" 2>/dev/null) || continue
            case $line in *"/${old##*/}/"*) busy=${process##*/} ;; esac
        done
        if [ -n "$busy" ]; then echo "busy $busy"; else rm -rf -- "$old" && echo "cleared"; fi
    done
    mkdir -p -m 0700 "$base/$1" || exit 1
done
mkdir -m 0700 -p "/run/sunshine-installer/$1/repos.d"
"#;

/// Takes the run's folders away, and what yum 3 keeps about a repository elsewhere.
const CLEAR: &str = r#"
# folders of this run: $1
rm -rf -- "/run/sunshine-installer/$1" "/var/cache/sunshine-installer/$1" || exit 1
rm -rf -- /var/lib/yum/repos/*/*/"$2" /var/lib/yum/repos/*/*/"$2"-local
rmdir /run/sunshine-installer /var/cache/sunshine-installer 2>/dev/null
exit 0
"#;

/// The folders of one run on one host.
#[derive(Debug, Clone)]
pub(super) struct Site {
    run: String,
}

impl Site {
    /// Makes them, after clearing what a killed run left.
    pub(super) fn prepare(host: &Host, run: &str, note: &mut dyn FnMut(String)) -> Result<Site, RepoError> {
        let command = Command::script(PREPARE).arg(run).label("prepare the repository's folders");
        let said = host.run_ok(&command)?.text();
        if said.lines().any(|line| line == "cleared") {
            note("removed what an earlier run had left behind".into());
        }
        for process in said.lines().filter_map(|line| line.strip_prefix("busy ")) {
            note(format!("an earlier run's package manager (process {process}) is still at work"));
        }
        Ok(Site { run: run.to_owned() })
    }

    pub(super) fn clear(&self, host: &Host) -> Result<(), RepoError> {
        let command = Command::script(CLEAR).args([self.run.as_str(), ID]).label("remove the repository's folders");
        host.run_ok(&command)?;
        Ok(())
    }

    fn config(&self) -> String {
        format!("/run/sunshine-installer/{}", self.run)
    }

    pub(super) fn repos_dir(&self) -> String {
        format!("{}/repos.d", self.config())
    }

    pub(super) fn cache_dir(&self) -> String {
        format!("/var/cache/sunshine-installer/{}/cache", self.run)
    }

    /// Where packages and metadata are uploaded to.
    pub(super) fn files_dir(&self) -> String {
        format!("/var/cache/sunshine-installer/{}/files", self.run)
    }

    /// The path of a key.
    pub(super) fn key(&self, file_name: &str) -> String {
        format!("{}/{file_name}", self.config())
    }

    /// Puts the .repo file there.
    pub(super) fn put_repo(&self, host: &Host, text: &str) -> Result<(), RepoError> {
        let path = format!("{}/{ID}.repo", self.repos_dir());
        Ok(host.write_file(&path, text.as_bytes(), &FileMeta::mode(0o600))?)
    }

    /// Puts a public key there.
    pub(super) fn put_key(&self, host: &Host, file_name: &str, text: &[u8]) -> Result<(), RepoError> {
        Ok(host.write_file(&self.key(file_name), text, &FileMeta::mode(0o644))?)
    }
}
