//! Packages installed on a host, through the temporary repository or, for what the bundle lacks, the host's own.

use std::collections::BTreeMap;

use crate::host::{Command, Host};
use crate::packages::{InstallOptions, Wanted};
use crate::plan::{Check, Cx, StepError, Work};

use super::kind::Kind;
use super::record::recording;

/// A package, by NAME.ARCH: `-`. They go in one transaction, since they need each other; and never with a role alone,
/// since nobody knows what else has come to need them.
pub(super) const PACKAGE: Kind = Kind {
    name: "package",
    plural: "package(s)",
    undo: r#"packages=
undo_package() {
  rpm -q --quiet -- "$1" 2>/dev/null || return 0
  packages="$packages $1"
  return 1
}
end_package() {
  [ -n "$packages" ] || return 0
  # shellcheck disable=SC2086 # names of packages hold no space
  said=$(rpm -e -- $packages 2>&1) || failed "packages that were installed here cannot be removed: $said"
  for p in $packages; do rpm -q --quiet -- "$p" 2>/dev/null || forget package "$p"; done
}
"#,
    alone: None,
};

/// Packages that should be there.
#[derive(Debug, Clone)]
pub struct Packages {
    pub wanted: Vec<Wanted>,
    pub options: InstallOptions,
}

const LOOK: &str = r#"rpm -q --qf '%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{ARCH}\n' -- "$@" 2>/dev/null | grep "$(printf '\t')" || :"#;

/// Before a transaction: which packages are there. A list that a killed run left is older, and stays.
const BEFORE: &str = r#"set -eu
[ -e "$d/packages.before" ] || {
  rpm -qa --qf '%{NAME}.%{ARCH}\n' | sort -u >"$d/packages.before.new.$$"
  mv -fT "$d/packages.before.new.$$" "$d/packages.before"
}"#;

/// After it: what is new goes into the record.
const AFTER: &str = r#"set -eu
rpm -qa --qf '%{NAME}.%{ARCH}\n' | sort -u | comm -13 "$d/packages.before" - | while IFS= read -r p; do note package "$p" -; done
rm -f "$d/packages.before""#;

impl Packages {
    /// What is missing, in words; empty when all is there.
    fn missing(&self, host: &Host) -> Result<Vec<String>, StepError> {
        let names = self.wanted.iter().map(|w| w.name().to_owned());
        let output = host.run(&Command::script(LOOK).args(names))?;
        let text = output.text();
        let mut there: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in text.lines() {
            let mut parts = line.split('\t');
            if let (Some(name), Some(evr)) = (parts.next(), parts.next()) {
                there.entry(name).or_default().push(evr);
            }
        }
        let mut missing = Vec::new();
        for wanted in &self.wanted {
            match (wanted, there.get(wanted.name())) {
                (Wanted::Name(name), None) => missing.push(format!("install {name}")),
                (Wanted::Version { name, version }, None) => missing.push(format!("install {name}-{version}")),
                (Wanted::Rpm { id, .. }, None) => missing.push(format!("install {id}")),
                (Wanted::Rpm { id, .. }, Some(evrs)) => {
                    let evr = format!("{}:{}-{}", id.epoch, id.version, id.release);
                    if !evrs.contains(&evr.as_str()) {
                        missing.push(format!("install {id} (there is {})", evrs.join(", ")));
                    } else if wanted.is_again(&self.options) {
                        missing.push(format!("install {id} again"));
                    }
                }
                (Wanted::Name(_) | Wanted::Version { .. }, Some(_)) => {}
            }
        }
        Ok(missing)
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
        run_host.host.run_ok(&recording(&run_host.owner, BEFORE).label("list the packages that are there"))?;
        let installed = repo.install(&run_host.host, &self.wanted, &self.options, &mut |line| cx.note(line));
        // Also after a failed transaction: whatever of it did get installed is ours to take back.
        run_host.host.run_ok(&recording(&run_host.owner, AFTER).label("record the packages that came"))?;
        installed?;
        Ok(())
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

    /// rpm, with the packages that are in `rpms`.
    const RPM: &str = r#"case $1 in
  -qa) cat "${at}rpms";;
  -q) grep -qxF -- "$4" "${at}rpms";;
  -e) shift 2
    [ ! -e "${at}needed" ] || { echo "error: a.noarch is needed by x" >&2; exit 1; }
    for p; do sed -i "/^$p$/d" "${at}rpms"; done;;
esac"#;

    #[test]
    fn packages_that_came_are_recorded_and_go_in_one_transaction() {
        Trial::each(|trial| {
            trial.program("rpm", RPM);
            trial.write("rpms", "bash.x86_64\n");
            assert!(trial.change(BEFORE, &[]).ok);
            trial.write("rpms", "a.noarch\nb.x86_64\nbash.x86_64\n");
            // Killed, and started again, before it was recorded.
            assert!(trial.change(BEFORE, &[]).ok && trial.change(AFTER, &[]).ok);
            assert_eq!(trial.recorded(), ["package a.noarch -", "package b.x86_64 -"]);
            assert!(!trial.undo(&["some", "file", "/none"]).said.contains("package"));
            assert_eq!(trial.recorded().len(), 2);

            trial.write("needed", "");
            let ran = trial.undo(&["all"]);
            assert!(!ran.ok && ran.said.contains("cannot be removed: error: a.noarch is needed by x"), "{ran:?}");
            assert_eq!(trial.recorded().len(), 2);

            std::fs::remove_file(trial.at("needed")).unwrap();
            trial.calls();
            assert!(trial.undo(&["all"]).ok);
            assert!(trial.calls().contains("rpm -e -- b.x86_64 a.noarch"));
            assert_eq!((trial.read("rpms").as_str(), trial.there("state")), ("bash.x86_64\n", false));
        });
    }
}
