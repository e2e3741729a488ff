//! Packages installed on a host, through the temporary repository or, for what the bundle lacks, the host's own.

use std::sync::LazyLock;

use payload::RpmId;

use crate::host::Host;
use crate::packages::{InstallOptions, Recorder, Wanted, query_installed};
use crate::plan::{Check, Cx, Owner, StepError, Work};

use super::fapolicy;
use super::kind::Kind;
use super::record::{WRITES, line_of};

/// A package, by NAME.ARCH: `-`. They go in one transaction, since they need each other; and never with a role alone,
/// since nobody knows what else has come to need them. Those that the packages of another environment need become its own.
pub(super) const PACKAGE: Kind = Kind {
    name: "package",
    plural: "package(s)",
    undo: concat!(
        include_str!("transaction.sh"),
        r#"end_killed_transactions
packages=
undo_package() {
  rpm -q --quiet -- "$1" 2>/dev/null || return 0
  packages="$packages $1"
  return 1
}
# shellcheck disable=SC2086 # names of packages hold no space
end_package() {
  [ -z "$still" ] || { failed "a package manager of an earlier run (process $still) is still at work: wait until it has ended"; return; }
  [ -n "$packages" ] || return 0
  # Restored behind its package, a file would stay.
  [ -z "$unrestored" ] || { failed "packages stay until these files are restored: $packages"; return; }
  # rpm calls a package removed whose files it could not delete.
  for folder in /etc /usr /var; do
    [ -w "$folder" ] || { failed "$folder is read-only, so packages cannot be removed: $packages"; return; }
  done
  said=$(LC_ALL=C rpm -e -- $packages 2>&1) || {
    heir=$(O=$ours awk -F'\t' "$of_ours"' more && $1 != "format" && !mine() {print $(NF - 2) FS $(NF - 1); exit}' "$d/record")
    if [ -n "$heir" ]; then remove_singly; else failed "packages that were installed here cannot be removed: $said"; fi
  }
  for p in $packages; do rpm -q --quiet -- "$p" 2>/dev/null || forget package "$p"; done
  # A folder that something is mounted on, or that is not empty, stays as it should.
  left=$(printf '%s\n' "$said" | grep -E ': remove failed: (Read-only|Operation not|Input/output)') && failed "files of packages stay on the host, delete them by hand: $left"
}
remove_singly() {
  removed=yes
  while [ -n "$removed" ]; do
    removed=
    for p in $packages; do
      ! rpm -q --quiet -- "$p" 2>/dev/null || ! rpm -e -- "$p" 2>/dev/null || removed=yes
    done
  done
  for p in $packages; do
    ! rpm -q --quiet -- "$p" 2>/dev/null || { (owner=$heir; note package "$p" -); forget package "$p"; }
  done
}
"#
    ),
    alone: None,
};

/// Packages that should be there.
#[derive(Debug, Clone)]
pub struct Packages {
    pub wanted: Vec<Wanted>,
    pub options: InstallOptions,
}

/// Around a transaction: `WANTED`, names with blanks between them, then what comes new as pairs NAME.ARCH VERSION, `--`, and the
/// transaction's command. What of the names is another environment's is this one's too from now on.
const AROUND: &str = concat!(
    include_str!("transaction.sh"),
    r#"end_killed_transactions
wanted=$1
shift
names package | while IFS= read -r p; do
  case " $wanted " in *" ${p%.*} "*) note package "$p" -;; esac
done
pending=$d/packages.pending.$$
plan_transaction "$pending" "$@"
while [ "$1" != -- ]; do shift; done
shift
# Packages' own scripts write what is not only root's.
umask 022
"$@"
s=$?
umask 077
end_transaction "$pending"
exit $s"#
);

/// The script around a transaction, and its first argument.
fn around(owner: &Owner) -> (&'static str, String) {
    static SCRIPT: LazyLock<String> = LazyLock::new(|| [WRITES, AROUND].concat());
    (&SCRIPT, line_of(owner))
}

impl Packages {
    /// What is missing, in words; empty when all is there. By name, a package that provides it is enough.
    fn missing(&self, host: &Host) -> Result<Vec<String>, StepError> {
        let all = query_installed(host, &self.wanted)?;
        Ok(self.wanted.iter().zip(all).filter_map(|(wanted, there)| self.lack(wanted, &there)).collect())
    }

    fn lack(&self, wanted: &Wanted, there: &[RpmId]) -> Option<String> {
        match wanted {
            Wanted::Name(name) if there.is_empty() => Some(format!("install {name}")),
            Wanted::Version { name, version } if there.is_empty() => Some(format!("install {name}-{version}")),
            Wanted::Rpm { id, .. } if there.is_empty() => Some(format!("install {id}")),
            Wanted::Rpm { id, .. } if !there.contains(id) => {
                let evrs = there.iter().map(|id| format!("{}:{}-{}", id.epoch, id.version, id.release));
                Some(format!("install {id} (there is {})", evrs.collect::<Vec<_>>().join(", ")))
            }
            Wanted::Rpm { id, .. } if wanted.is_again(&self.options) => Some(format!("install {id} again")),
            Wanted::Name(_) | Wanted::Version { .. } | Wanted::Rpm { .. } => None,
        }
    }
}

impl Work for Packages {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        Ok(Check::from_changes(self.missing(cx.host()?)?))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let run_host = cx.run_host()?;
        let mut slot = run_host.repo.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let repo = slot
            .as_mut()
            .ok_or_else(|| StepError::failed("a package went missing between the first look at the host and now"))?;
        let (script, owner) = around(&run_host.owner);
        let wanted: Vec<&str> = self.wanted.iter().map(Wanted::name).collect();
        let recorder = Recorder { script, arguments: vec![owner, wanted.join(" ")] };
        let options = InstallOptions { recorder: Some(recorder), ..self.options.clone() };
        repo.install(&run_host.host, &self.wanted, &options, &mut |line| cx.note(line))?;
        fapolicy::trust_packages(&run_host.host, &run_host.facts, self.wanted.iter().map(Wanted::name))
    }

    /// [`crate::packages::HostRepo::install`] has looked again itself, in the rpm database.
    fn verify(&self, _: &Cx<'_>) -> Result<(), StepError> {
        Ok(())
    }
}

/// The temporary repository is off the host: for a host that needs nothing more of it, while it waits for something else.
#[derive(Debug)]
pub struct RepositoryOff;

impl Work for RepositoryOff {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let slot = cx.run_host()?.repo.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let open = slot.as_ref().is_some_and(|repo| !repo.is_closed());
        Ok(if open { Check::Needed(vec!["remove the temporary repository".to_owned()]) } else { Check::Satisfied })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let run_host = cx.run_host()?;
        let mut slot = run_host.repo.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(slot.as_mut().map_or(Ok(()), |repo| repo.close(&run_host.host))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::trial::Trial;

    /// rpm, with the packages that are in `rpms`, lines NAME ARCH VERSION TIME; their transaction is of that time too. `needed` holds
    /// those that stay, being needed by others.
    const RPM: &str = r#"case $1 in
  -q)
    if [ "$2" = --quiet ]; then
      while read -r name arch rest; do [ "$4" != "$name.$arch" ] || exit 0; done <"${at}rpms"
      exit 1
    fi
    format=$3
    shift 4
    for p; do
      while read -r name arch version time; do
        [ "$p" = "$name.$arch" ] || [ "$p" = "$name" ] || continue
        case $format in
        *INSTALLTID*) printf '%s.%s\t%s\t%s\t%s\n' "$name" "$arch" "$version" "$time" "$time";;
        %{NAME}.%{ARCH}*) printf '%s.%s\t\n' "$name" "$arch";;
        *) printf '%s\t%s\n' "$name" "$arch";;
        esac
      done <"${at}rpms"
    done;;
  -e) shift 2
    for p; do
      ! grep -qsxF -- "$p" "${at}needed" || { echo "error: $p is needed by (installed) x" >&2; exit 1; }
    done
    for p; do
      while read -r name arch rest; do [ "$p" = "$name.$arch" ] || echo "$name $arch $rest"; done <"${at}rpms" >"${at}rpms.new"
      mv "${at}rpms.new" "${at}rpms"
    done;;
esac"#;

    /// A package manager that installs what is in `coming`, and does `then`.
    const DNF: &str = r#"cat "${at}coming" >>"${at}rpms"; umask >"${at}umask"; [ ! -e "${at}then" ] || . "${at}then""#;

    const SCRIPT: &str = AROUND;

    fn prepare(trial: &Trial) {
        trial.program("rpm", RPM);
        trial.program("dnf", DNF);
        trial.write("rpms", "bash x86_64 0:5-1 100\n");
        trial.write("coming", "a noarch 0:1-1 9000000000\nb x86_64 0:2-1 9000000000\n");
    }

    const PLAN: [&str; 9] = ["a b", "a.noarch", "0:1-1", "b.x86_64", "0:2-1", "bash.x86_64", "0:5-2", "--", "dnf"];

    #[test]
    fn packages_that_a_transaction_brings_are_recorded_and_go_in_one() {
        Trial::each(|trial| {
            prepare(trial);
            // Comes while the transaction runs, by somebody else.
            trial.write("then", "echo site noarch 0:1-1 9000000000 >>\"${at}rpms\"");
            assert!(trial.change(SCRIPT, &PLAN).ok);
            assert_eq!(trial.recorded(), ["package a.noarch -", "package b.x86_64 -"]);
            assert_eq!(trial.read("umask").trim_start_matches('0'), "22\n");
            assert!(!trial.undo(&["some", "file", "/none"]).said.contains("package"));
            assert_eq!(trial.recorded().len(), 2);

            trial.write("needed", "a.noarch\n");
            let ran = trial.undo(&["all"]);
            assert!(!ran.ok && ran.said.contains("cannot be removed: error: a.noarch is needed by"), "{ran:?}");
            assert_eq!(trial.recorded().len(), 2);

            std::fs::remove_file(trial.at("needed")).unwrap();
            trial.calls();
            assert!(trial.undo(&["all"]).ok);
            assert!(trial.calls().contains("rpm -e -- b.x86_64 a.noarch"));
            assert_eq!(trial.read("rpms"), "bash x86_64 0:5-1 100\nsite noarch 0:1-1 9000000000\n");
            assert!(!trial.there("state"));
        });
    }

    #[test]
    fn a_transaction_that_fails_leaves_a_record_of_what_came() {
        Trial::each(|trial| {
            prepare(trial);
            trial.write("coming", "b x86_64 0:2-1 9000000000\n");
            trial.write("then", "exit 7");
            assert!(!trial.change(SCRIPT, &PLAN).ok);
            assert_eq!(trial.recorded(), ["package b.x86_64 -"]);
        });
    }

    #[test]
    fn what_the_site_installs_after_a_kill_is_never_taken_for_ours() {
        // Killed before, in, and behind the transaction; `came` is what of it is there afterwards.
        let kill = "kill -KILL $PPID";
        for (then, coming, came) in [
            (kill, "", &[][..]),
            (kill, "b x86_64 0:2-1 9000000000\n", &["b.x86_64"][..]),
            (kill, "a noarch 0:1-1 9000000000\nb x86_64 0:2-1 9000000000\n", &["a.noarch", "b.x86_64"]),
        ] {
            Trial::each(|trial| {
                prepare(trial);
                trial.write("coming", coming);
                trial.write("then", then);
                assert!(!trial.change(SCRIPT, &PLAN).ok);
                // The site installs one that the plan does not name, and one that it names, later.
                let rpms = trial.read("rpms");
                let named = if came.contains(&"a.noarch") { "" } else { "a noarch 0:1-1 9000000500\n" };
                let named = if came.is_empty() { "a noarch 0:9-9 9000000500\n" } else { named };
                trial.write("rpms", &format!("{rpms}vim x86_64 0:8-1 9000000400\n{named}"));
                trial.write("coming", "");
                std::fs::remove_file(trial.at("then")).unwrap();
                assert!(trial.change(SCRIPT, &["", "--", "dnf"]).ok);
                let recorded: Vec<String> = came.iter().map(|p| format!("package {p} -")).collect();
                assert_eq!(trial.recorded(), recorded, "{coming}");
                assert!(trial.undo(&["all"]).ok && trial.read("rpms").contains("vim"));
                assert!(named.is_empty() || trial.read("rpms").contains(named), "{coming}");
            });
        }
    }

    #[test]
    fn a_list_that_an_earlier_version_left_makes_nothing_ours() {
        Trial::each(|trial| {
            prepare(trial);
            trial.write("state/packages.before", "bash.x86_64\n");
            trial.write("rpms", "bash x86_64 0:5-1 100\ndocker x86_64 0:1-1 200\n");
            assert!(trial.change(SCRIPT, &PLAN).ok);
            assert_eq!(trial.recorded(), ["package a.noarch -", "package b.x86_64 -"]);
            assert!(!trial.there("state/packages.before"));
        });
    }

    #[test]
    fn what_came_before_the_host_was_started_again_is_ours_and_what_came_after_is_not() {
        Trial::each(|trial| {
            prepare(trial);
            let pending = "00000000-0000-0000-0000-000000000000\t50\te-1\t0.1.0\na.noarch\t0:1-1\nb.x86_64\t0:2-1\n";
            trial.write("state/packages.pending.1", pending);
            trial.write("rpms", "a noarch 0:1-1 60\nb x86_64 0:2-1 9000000000\n");
            assert!(trial.undo(&["some", "file", "/none"]).ok);
            assert_eq!(trial.recorded(), ["package a.noarch -"]);
            assert!(!trial.there("state/packages.pending.1"));
        });
    }

    #[test]
    fn a_package_that_another_environment_uses_stays() {
        Trial::each(|trial| {
            prepare(trial);
            assert!(trial.change(SCRIPT, &PLAN).ok);
            trial.write("coming", "c noarch 0:1-1 9000000001\n");
            let around = ["a c", "c.noarch", "0:1-1", "--", "dnf"];
            assert!(trial.change_of("other-2", SCRIPT, &around).ok);
            // Wanted by name: the first one's end is not the package's.
            trial.write("needed", "b.x86_64\n");
            let ran = trial.undo(&["all"]);
            assert!(ran.ok && ran.said.is_empty(), "{ran:?}");
            assert_eq!(trial.recorded(), ["package a.noarch -", "package c.noarch -", "package b.x86_64 -"]);
            std::fs::remove_file(trial.at("needed")).unwrap();
            assert!(trial.undo_of("other-2", &["all"]).ok);
            assert_eq!(trial.read("rpms"), "bash x86_64 0:5-1 100\n");
        });
    }
}
