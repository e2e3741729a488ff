//! fapolicyd: the kernel asks it before a program runs, and it lets only those run that it knows.
//!
//! It knows the files of packages from the rpm database, and all others by name, size and digest from files in
//! `/etc/fapolicyd/trust.d`, which its own tool writes (fapolicyd-cli(8), fapolicyd.trust(5)). This product's programs and scripts are in one
//! of its own, and go from it when they are undone. The lab's hosts have no fapolicyd, which needs fanotify: this is not tried there.

use std::time::Duration;

use crate::host::{Command, Facts, Host};
use crate::plan::StepError;

use super::files::FileSpec;

/// It asks for changes every few seconds, and reads the whole rpm database then.
const LIMIT: Duration = Duration::from_secs(120);

/// The name of the file with this product's own.
macro_rules! trust_file {
    () => {
        "sunshine-installer"
    };
}

/// Has fapolicyd read anew what it trusts, and waits until it knows `$known`: a program that is started before does not run.
macro_rules! update {
    () => {
        r#"update() {
  fapolicyd-cli --update || exit
  tries=60
  until fapolicyd-cli --dump-db 2>/dev/null | grep -qF -- " $known "; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "fapolicyd still does not know $known: journalctl -u fapolicyd may say why" >&2; exit 1; }
    sleep 1
  done
}
"#
    };
}

/// `PATH…`: trusts these files, as they are now.
const TRUST: &str = concat!(
    update!(),
    "trust=",
    trust_file!(),
    r#"
for p; do
  fapolicyd-cli --file delete "$p" --trust-file "$trust" >/dev/null 2>&1 || :
  fapolicyd-cli --file add "$p" --trust-file "$trust" || exit
  known=$p
done
update"#
);

/// `PATH…`: prints those that are not trusted by this product.
const LOOK: &str = concat!(
    "trust=/etc/fapolicyd/trust.d/",
    trust_file!(),
    r#"
for p; do grep -qsF -- "$p " "$trust" || printf '%s\n' "$p"; done"#
);

/// `NAME…` of packages: fapolicyd is to know their programs. Its plugin of dnf tells it of transactions, but ours run without plugins.
const PACKAGES: &str = concat!(
    update!(),
    r#"known=$(rpm -ql -- "$@" 2>/dev/null | while IFS= read -r p; do
  case $p in */bin/*|*/sbin/*) [ -f "$p" ] && [ ! -L "$p" ] && [ -x "$p" ] && printf '%s\n' "$p" && break;; esac
done)
[ -z "$known" ] || update"#
);

/// Shell functions for whatever deletes a file: `untrust PATH`, and `untrusted` behind the last.
macro_rules! untrusts {
    () => {
        r#"trust=/etc/fapolicyd/trust.d/sunshine-installer distrusts=
untrust() {
  ! grep -qsF -- "$1 " "$trust" || { fapolicyd-cli --file delete "$1" --trust-file "${trust##*/}" >/dev/null 2>&1; distrusts=yes; }
}
untrusted() {
  [ -n "$distrusts" ] || return 0
  grep -qs '^/' "$trust" || rm -f "$trust"
  ! systemctl is-active -q fapolicyd || fapolicyd-cli --update >/dev/null 2>&1 || :
}
"#
    };
}
pub(super) use untrusts;

/// The files among these that are to be run, on a host where fapolicyd decides about that.
fn programs<'a>(files: &'a [FileSpec], facts: &Facts) -> Vec<&'a str> {
    let runs = |file: &&FileSpec| file.meta.mode & 0o111 != 0;
    files.iter().filter(runs).filter(|_| facts.is_active(SERVICE)).map(|file| file.path.as_str()).collect()
}

/// Its unit, as the facts name it.
const SERVICE: &str = "fapolicyd";

/// Those of the files that would not run.
pub(super) fn distrusted(host: &Host, facts: &Facts, files: &[FileSpec]) -> Result<Vec<String>, StepError> {
    let programs = programs(files, facts);
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    let said = host.run_ok(&Command::script(LOOK).args(programs).label("look at fapolicyd's trust"))?.text();
    Ok(said.lines().map(|path| format!("have fapolicyd trust {path}")).collect())
}

/// Has fapolicyd trust those of the files that are to be run.
pub(super) fn trust(host: &Host, facts: &Facts, files: &[FileSpec]) -> Result<(), StepError> {
    let programs = programs(files, facts);
    if !programs.is_empty() {
        host.run_ok(&Command::script(TRUST).args(programs).label("fapolicyd-cli --file add").timeout(LIMIT))?;
    }
    Ok(())
}

/// Has fapolicyd know the programs of these packages, which have just been installed.
pub(super) fn trust_packages<'a>(
    host: &Host,
    facts: &Facts,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), StepError> {
    if facts.is_active(SERVICE) {
        host.run_ok(&Command::script(PACKAGES).args(names).label("fapolicyd-cli --update").timeout(LIMIT))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::trial::Trial;

    /// fapolicyd-cli, as far as its manual page says what it does; no daemon.
    const CLI: &str = r#"mkdir -p "${at}trust.d"
t=${at}trust.d/$5
case $1 in
--file)
  case $2 in
  add) grep -qsF -- "$3 " "$t" && exit 1; echo "$3 1 0123" >>"$t";;
  delete) [ -e "$t" ] || exit 1; grep -vF -- "$3 " "$t" >"$t.new"; mv "$t.new" "$t";;
  esac;;
--update) [ ! -e "${at}rpms" ] || cat "${at}rpms" >"${at}known"; sed 's/^/filedb /' "${at}"trust.d/* >>"${at}known" 2>/dev/null || :;;
--dump-db) cat "${at}known";;
esac"#;

    #[test]
    fn programs_are_trusted_once_and_no_more_when_they_go() {
        Trial::each(|trial| {
            trial.program("fapolicyd-cli", CLI);
            let tool = trial.at("root/tool");
            std::fs::write(&tool, "#!/bin/sh\n").unwrap();
            assert_eq!(trial.look(LOOK, &[&tool]).out, format!("{tool}\n"));
            assert!(trial.look(TRUST, &[&tool]).ok);
            assert_eq!(trial.look(LOOK, &[&tool]).out, "");
            // Changed, and trusted anew.
            assert!(trial.look(TRUST, &[&tool]).ok);
            assert_eq!(trial.read("trust.d/sunshine-installer").lines().count(), 1);
            assert!(trial.change("note file \"$1\" -", &[&tool]).ok);
            trial.calls();
            assert!(trial.undo(&["some", "file", &tool]).ok);
            assert!(!trial.there("root/tool") && !trial.there("trust.d/sunshine-installer"));
            let delete = format!("fapolicyd-cli --file delete {tool} --trust-file sunshine-installer\n");
            let calls = trial.calls();
            assert!(calls.contains(&delete) && calls.contains("fapolicyd-cli --update\n"), "{calls}");
        });
    }

    #[test]
    fn packages_count_once_fapolicyd_knows_a_program_of_theirs() {
        Trial::each(|trial| {
            trial.program("fapolicyd-cli", CLI);
            let tool = trial.at("bin/etcd");
            trial.program("etcd", "");
            trial.program("rpm", &format!("printf '%s\\n' /etc/etcd.conf {tool}"));
            trial.write("rpms", &format!("rpmdb {tool} 9 0123\n"));
            let ran = trial.look(PACKAGES, &["etcd"]);
            assert!(ran.ok, "{ran:?}");
            assert!(trial.calls().contains("fapolicyd-cli --update\nfapolicyd-cli --dump-db\n"));
        });
    }

    #[test]
    fn only_what_is_run_and_only_where_fapolicyd_is() {
        let mut script = FileSpec::text("/usr/local/sbin/x", "");
        script.meta.mode = 0o755;
        let files = [script, FileSpec::text("/etc/x", "")];
        let mut facts = Facts::default();
        assert!(programs(&files, &facts).is_empty());
        let active = crate::host::UnitState { active: "active".into(), enabled: "enabled".into() };
        facts.units.insert("fapolicyd".into(), active);
        assert_eq!(programs(&files, &facts), ["/usr/local/sbin/x"]);
    }
}
