//! The run's own files on a host: where they lie, how they come, that they go.
//!
//! `/run/sunshine-installer/RUN` has the .repo file and the keys, `/var/cache/sunshine-installer/RUN` what is large:
//! the package manager's cache, and uploaded packages (`/run` is memory). Both belong to root, mode 0700.

use crate::host::{Command, FileMeta, Host, NewFile};

use super::error::DeliverError;
use super::repository::ID;

/// Shell functions that take folders of runs away: `sweep FOLDER` for one run's folder.
///
/// A package manager may still be at work there, started by a run that was killed. One that is past the point where
/// it can be stopped (it holds the lock of the rpm database) is left alone, folder and all, and named on standard
/// output; the next run finds it ended. Any other is ended, and so are gpg's helpers, which outlive who called them.
macro_rules! sweep {
    () => {
        r#"
holds_lock() {
    for file in /var/lib/dnf/rpmdb_lock.pid /var/run/yum.pid; do
        read -r holder 2>/dev/null <"$file" && [ "$holder" = "$1" ] && return 0
    done
    while read -r _ _ _ kind holder place _; do
        [ "$kind" = WRITE ] && [ "$holder" = "$1" ] || continue
        for file in /var/lib/rpm/.rpm.lock /usr/lib/sysimage/rpm/.rpm.lock; do
            [ "${place##*:}" = "$(stat -c %i "$file" 2>/dev/null)" ] && return 0
        done
    done </proc/locks
    return 1
}
end_process() {
    kill "$1" 2>/dev/null
    for pause in 0.01 0.02 0.05 0.1 0.2 0.2 0.2 0.2 0.5 0.5; do
        kill -0 "$1" 2>/dev/null || return 0
        sleep $pause 2>/dev/null || sleep 1
    done
    kill -9 "$1" 2>/dev/null
}
sweep() {
    for process in /proc/[0-9]*; do
        [ "${process##*/}" != "$$" ] || continue
        line=
        read -r line 2>/dev/null <"$process/cmdline"
        case $line in *"/${1##*/}/"*) ;; *) continue ;; esac
        if holds_lock "${process##*/}"; then echo "busy ${process##*/}"; return 1; fi
        end_process "${process##*/}"
    done
    # Who was ended a moment ago may still have written something.
    rm -rf -- "$1" 2>/dev/null || { sleep 0.1; rm -rf -- "$1"; }
}
"#
    };
}

/// Makes the run's folders after taking away those of runs that ended without doing so.
const PREPARE: &str = concat!(
    sweep!(),
    r#"
umask 077
for base in /run/sunshine-installer /var/cache/sunshine-installer; do
    for old in "$base"/*; do
        [ -d "$old" ] && [ "${old##*/}" != "$1" ] || continue
        sweep "$old" && echo cleared
    done
    mkdir -p -m 0700 "$base/$1" || exit 1
done
mkdir -m 0700 -p "/run/sunshine-installer/$1/repos.d"
"#
);

/// Takes the run's folders away, those of earlier runs that could not be before, and what yum 3 keeps about a
/// repository elsewhere.
const CLEAR: &str = concat!(
    sweep!(),
    r#"
for folder in /run/sunshine-installer/* /var/cache/sunshine-installer/*; do
    [ -d "$folder" ] && sweep "$folder"
done
rm -rf -- /var/lib/yum/repos/*/*/"$1" /var/lib/yum/repos/*/*/"$1"-*
rmdir /run/sunshine-installer /var/cache/sunshine-installer 2>/dev/null
exit 0
"#
);

/// The folders of one run on one host.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    run: String,
}

impl Site {
    /// Makes them, after clearing what a killed run left.
    pub(crate) fn prepare(host: &Host, run: &str, note: &mut dyn FnMut(String)) -> Result<Site, DeliverError> {
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

    /// Takes everything away.
    pub(crate) fn clear(host: &Host) -> Result<(), DeliverError> {
        let command = Command::script(CLEAR).arg(ID).label("remove the repository's folders");
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
