//! What a host has installed of what is wanted, and who holds its package manager's lock.

use payload::RpmId;

use crate::host::{Command, Host};

use super::error::PackageError;
use super::evr;
use super::wanted::Wanted;

/// For each pair KIND NAME: a line `=`, then the packages of that name, or (kind `any`) that provide it.
const QUERY: &str = r#"
# installed packages
format='%{NAME}\t%{EPOCH}:%{VERSION}-%{RELEASE}\t%{ARCH}\n'
while [ $# -gt 1 ]; do
    echo =
    rpm -q --qf "$format" -- "$2" 2>/dev/null ||
        { [ "$1" = any ] && rpm -q --qf "$format" --whatprovides -- "$2" 2>/dev/null; }
    shift 2
done
exit 0
"#;

/// For each package wanted, in order, those installed of its name, or that provide it.
pub(crate) fn query(host: &Host, wanted: &[Wanted]) -> Result<Vec<Vec<RpmId>>, PackageError> {
    let mut command = Command::script(QUERY).label("rpm -q");
    for wanted in wanted {
        command = match wanted {
            Wanted::Name(name) => command.args(["any", name.as_str()]),
            Wanted::Version { .. } | Wanted::Rpm { .. } => command.args(["name", wanted.name()]),
        };
    }
    let mut answer = read(&host.run_ok(&command)?.text());
    answer.resize(wanted.len(), Vec::new());
    Ok(answer)
}

pub(super) fn read(text: &str) -> Vec<Vec<RpmId>> {
    let mut all: Vec<Vec<RpmId>> = Vec::new();
    for line in text.lines() {
        if line == "=" {
            all.push(Vec::new());
            continue;
        }
        // "package etcd is not installed" comes on standard output too: it has no tabs.
        let mut fields = line.split('\t');
        if let (Some(name), Some(version), Some(arch)) = (fields.next(), fields.next(), fields.next())
            && let (Some(id), Some(last)) = (evr::parse(name, version, arch), all.last_mut())
        {
            last.push(id);
        }
    }
    all
}

/// Ends with status 75 where a package manager's lock is held, and says by whom on standard output. The pid files of yum and
/// dnf, and rpm's own lock as the kernel lists it (`proc_locks(5)`).
macro_rules! look_for_lock {
    () => {
        r#"
held() { printf 'locked by %s (process %s)\n' "$(cat "/proc/$1/comm" 2>/dev/null)" "$1"; exit 75; }
for file in /var/run/yum.pid /var/lib/dnf/rpmdb_lock.pid /run/dnf/rpmtransaction.lock; do
    [ -r "$file" ] && process=$(tr -dc 0-9 <"$file") && [ -n "$process" ] && [ -d "/proc/$process" ] && held "$process"
done
for file in /var/lib/rpm/.rpm.lock /usr/lib/sysimage/rpm/.rpm.lock; do
    inode=$(stat -c %i "$file" 2>/dev/null) || continue
    process=$(awk -v end=":$inode" '$4 == "WRITE" && substr($6, length($6) - length(end) + 1) == end {print $5; exit}' /proc/locks)
    [ -n "$process" ] && [ -d "/proc/$process" ] && held "$process"
done
"#
    };
}
pub(super) use look_for_lock;

/// The command, run only where nobody holds the lock.
pub(super) fn unless_locked(command: Command) -> Command {
    command.behind(concat!(look_for_lock!(), r#"exec "$@""#), [])
}

/// Who holds the lock, such as `dnf (process 1234)`, when that kept a command from being run.
pub(super) fn lock_holder(status: i32, said: &str) -> Option<String> {
    said.strip_prefix("locked by ").filter(|_| status == 75)?.lines().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_package() {
        let text = "=\netcd\t(none):3.4.23-1.el9\tx86_64\n=\npackage docker is not installed\n=\na\t1:2-3\tnoarch\na\t1:3-1\tnoarch\n";
        let shown: Vec<Vec<String>> = read(text).iter().map(|ids| ids.iter().map(RpmId::to_string).collect()).collect();
        assert_eq!(shown, [vec!["etcd-3.4.23-1.el9.x86_64"], vec![], vec!["a-1:2-3.noarch", "a-1:3-1.noarch"]]);
    }
}
