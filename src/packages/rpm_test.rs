//! rpm's own test of a transaction, before anything of it is brought to the host.
//!
//! A package manager has rpm test its transaction only once everything is downloaded, in the middle of a run. All that rpm compares with the host (files
//! of other packages, space on each file system, features of rpm itself) is in the packages' heads, which are small: these are
//! sent, and rpm tests with them alone. What it cannot see without the payload, their digests and signatures, it is told to leave out;
//! whether the host's rpm wants signatures is asked beside.

use std::time::Duration;

use tracing::warn;

use crate::host::{Command, Host};

use super::error::PackageError;
use super::hostrepo::HostRepo;
use super::package_run::Run;
use super::rpmonly::rpm_problems;
use super::signatures;
use super::transaction::Transaction;

/// `$1` a folder of its own, `$2` options for rpm, then the length of each head that standard input has. First comes what the host's rpm
/// verifies of every package (rpm 4.14.2 and later), then what rpm says.
const TEST: &str = r#"
d=$1 options=$2
shift 2
rm -rf -- "$d" && mkdir -m 0700 -- "$d" || exit 1
n=0
for length; do
    n=$((n + 1))
    head -c "$length" >"$d/$n.rpm"
done
printf 'verifies %s\n' "$(rpm --eval '%{?_pkgverify_level}' 2>/dev/null)"
# shellcheck disable=SC2086 # options
rpm -U --test --nodigest --nosignature $options -- "$d"/*.rpm 2>&1
s=$?
rm -rf -- "$d"
exit $s"#;

/// rpm reads its database and a few megabytes: one that takes longer waits for something that does not come.
const LIMIT: Duration = Duration::from_secs(60);

impl HostRepo {
    /// What rpm itself has against this transaction.
    pub(super) fn rpm_test(&self, host: &Host, tried: &Transaction) -> Result<Vec<String>, PackageError> {
        let (mut heads, mut lengths) = (Vec::new(), Vec::new());
        for id in tried.changed() {
            let head = self.offer.head(id)?;
            if !head.is_empty() {
                lengths.push(head.len().to_string());
                heads.extend(head);
            }
        }
        if lengths.is_empty() {
            return Ok(Vec::new());
        }
        let options = [("--oldpackage", !tried.downgrade.is_empty()), ("--replacepkgs", !tried.reinstall.is_empty())];
        let options: Vec<&str> = options.iter().filter(|(_, is_given)| *is_given).map(|(option, _)| *option).collect();
        let command = Command::script(TEST).args([self.site.heads_dir(), options.join(" ")]).args(lengths);
        let run = Run::of(host, &command.stdin(heads).label("rpm -U --test").timeout(LIMIT))?;
        let mut problems = rpm_problems(&run.text);
        problems.retain(|problem| is_rpm_s(problem));
        if !run.ok() && problems.is_empty() {
            // The package manager has the last word.
            warn!(host = host.name().as_str(), status = run.status, said = run.text, "rpm's test said nothing known");
        }
        if wants_signatures(&run.text) {
            problems.extend(signatures::unverified(host, self.offer.catalogue()?, tried.changed())?);
        }
        Ok(problems)
    }
}

/// Whether that is for rpm to say. Which packages need, replace or exclude each other the package manager has decided, with more than
/// the run's own packages before it.
fn is_rpm_s(problem: &str) -> bool {
    let begins = ["rpmlib(", "file "].iter().any(|words| problem.starts_with(words));
    begins || [" filesystem", " does not verify: ", " is intended for a "].iter().any(|words| problem.contains(words))
}

/// Whether the host's rpm installs only what is signed by a key that it knows: `%_pkgverify_level` (rpm's `macros`).
fn wants_signatures(said: &str) -> bool {
    said.lines().next().is_some_and(|line| matches!(line, "verifies all" | "verifies signature"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_solver_decides_is_not_for_rpm_to_say() {
        for problem in [
            "rpmlib(PayloadIsZstd) <= 5.4.18-1 is needed by a-1-1.noarch",
            "file /a from install of a-1-1 conflicts with file from package b-1-1",
            "installing package a-1-1 needs 81MB more space on the /opt filesystem",
            "installing package a-1-1 needs 7 inodes on the / filesystem",
            "package a-1-1 is intended for a different architecture",
        ] {
            assert!(is_rpm_s(problem), "{problem}");
        }
        for problem in
            ["b >= 2 is needed by (installed) c-1-1", "runc conflicts with a-1-1", "package a-2-1 is already installed"]
        {
            assert!(!is_rpm_s(problem), "{problem}");
        }
    }

    #[test]
    fn a_host_whose_rpm_wants_signatures_is_known() {
        assert!(wants_signatures("verifies all\n") && wants_signatures("verifies signature\n\terror"));
        assert!(!wants_signatures("verifies digest\n") && !wants_signatures("verifies \n") && !wants_signatures(""));
    }
}
