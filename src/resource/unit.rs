//! A systemd unit that is enabled, running, and running with the configuration it should have.
//!
//! Whether a service has read its newest configuration cannot be seen from outside, and a run may be killed between
//! writing a file and restarting. So the digest of the configuration that a service was last started with is kept on
//! the host (`started/UNIT` in the record's folder), written after the start went well.

use std::time::Duration;

use crate::host::Command;
use crate::plan::{Check, Cx, Owned, StepError, Work};

use super::files::Files;
use super::kind::Kind;
use super::record::{READS_RECORD, recording};

/// A systemd unit: `ENABLED/ACTIVE` as systemctl says. Its line stays until a unit that ran before runs again.
pub(super) const UNIT: Kind = Kind {
    name: "unit",
    plural: "unit(s)",
    undo: r#"again=
undo_unit() {
  systemctl stop -- "$1" 2>/dev/null || systemctl kill -s KILL -- "$1" 2>/dev/null || :
  case ${2%%/*} in
  enabled*) ;;
  *) systemctl disable -q -- "$1" 2>/dev/null || :;;
  esac
  systemctl reset-failed -- "$1" 2>/dev/null || :
  rm -f "$d/started/$1"
  [ "${2##*/}" = active ] || return 0
  again="$again $1"
  return 1
}
last_unit() {
  for u in $again; do
    if systemctl start -- "$u"; then forget unit "$u"; else failed "$u ran before and does not start again"; fi
  done
}
"#,
    alone: Some(|name| format!("stop and disable {name}")),
};

/// What a service reads when it starts.
#[derive(Debug, Clone)]
pub enum Reads {
    Files(Files),
    /// Its package's own configuration, which this product does not touch.
    Package,
}

impl Reads {
    /// A digest that changes with the configuration, empty for a package's own; `None` while something of it has not been made.
    ///
    /// # Errors
    /// As [`Files::digest`].
    pub fn digest(&self) -> Result<Option<String>, StepError> {
        match self {
            Self::Files(files) => files.digest(),
            Self::Package => Ok(Some(String::new())),
        }
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        let files = match self {
            Self::Files(files) => files.0.as_slice(),
            Self::Package => &[],
        };
        files.iter().map(|file| file.path.as_str())
    }

    /// Whether the files are as they are to be.
    fn is_there(&self, cx: &Cx<'_>) -> Result<bool, StepError> {
        match self {
            Self::Files(files) => Ok(matches!(files.check(cx)?, Check::Satisfied)),
            Self::Package => Ok(true),
        }
    }
}

/// A unit to enable and to start, or to restart when what it reads is not what it was started with.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Its whole name: `etcd.service`.
    pub name: String,
    pub reads: Reads,
    /// How long the start may take: a notify unit answers only when it is ready.
    pub timeout: Duration,
    /// Wait until it is ready. Without, the start is only begun, and a later step waits.
    pub wait: bool,
}

/// `$1` unit. Sets `enabled` and `active` to what systemctl calls them, and `known` to no when systemd has not read the
/// unit's file, or one that was another. Whether it is enabled is asked apart: systemd itself knows that as it was when it
/// last read the unit, and only `is-enabled` looks.
macro_rules! ask {
    ($body:literal) => {
        concat!(
            r#"ask() {
  enabled=$(systemctl is-enabled -- "$1" 2>/dev/null | head -n1)
  enabled=${enabled:-unknown} active=unknown known=yes
  while IFS== read -r key value; do
    case $key=$value in
    ActiveState=?*) active=$value;;
    LoadState=loaded) ;;
    LoadState=*|NeedDaemonReload=yes) known=no;;
    esac
  done <<END
$(systemctl show -p ActiveState -p LoadState -p NeedDaemonReload -- "$1" 2>/dev/null)
END
}
"#,
            $body
        )
    };
}

/// Gives a script `has_read UNIT FILE…`: whether all of them were last changed before the unit started, which systemd tells by the
/// time since the host's own start.
macro_rules! has_read {
    ($body:literal) => {
        concat!(
            r#"has_read() {
  [ $# -gt 1 ] || return 1
  at=$(systemctl show -p ActiveEnterTimestampMonotonic -- "$1" 2>/dev/null | sed -n 's/^ActiveEnterTimestampMonotonic=//p')
  case $at in ''|0|*[!0-9]*) return 1;; esac
  shift
  read -r up _ </proc/uptime
  at=$(($(date +%s) - ${up%.*} + at / 1000000))
  for f; do
    changed=$(stat -Lc %Z -- "$f" 2>/dev/null) && [ "$changed" -lt $((at - 1)) ] || return 1
  done
}
"#,
            $body
        )
    };
}

/// `$1` unit, then the files that it reads. Of one that runs and that nobody has started with this configuration yet: `read` where it
/// is older than the unit's start.
const LOOK: &str = concat!(
    has_read!(""),
    ask!(
        r#"ask "$1"
printf '%s\n%s\n' "$enabled" "$active"
cat "$d/started/$1" 2>/dev/null || { [ -d "$d" ] && [ ! -x "$d" ] && echo shut; } || { has_read "$@" && echo read; } || echo never"#
    )
);

/// `$1` unit, `$2` digest of its configuration, or nothing where it is not ours: then a unit that runs is left running, as is one of the
/// site that has read these files already; `$3` nothing or `--no-block`; then the files.
const START: &str = concat!(
    has_read!(""),
    ask!(
        r#"set -eu
mkdir -p "$d/started"
ask "$1"
note unit "$1" "$enabled/$active"
# Having systemd read all its units again takes longer than the rest: only where this one needs it.
systemctl enable --no-reload -- "$1" >/dev/null 2>&1 || systemctl enable -- "$1"
[ "$known" = yes ] || systemctl daemon-reload
# Also forgets how often it was started lately, of which systemd allows five times in ten seconds.
[ "$active" = inactive ] && [ ! -e "$d/started/$1" ] || systemctl reset-failed -- "$1" 2>/dev/null || :
if [ -z "$2" ] || [ "$(cat "$d/started/$1" 2>/dev/null || :)" = "$2" ]; then verb=start; else verb=restart; fi
unit=$1 digest=$2 block=$3
shift 3
[ "$active" != active ] || [ -e "$d/started/$unit" ] || ! has_read "$unit" "$@" || verb=start
set -- "$unit" "$digest" "$block"
systemctl $3 $verb -- "$1" || {
  s=$?
  journalctl -u "$1" -n 15 --no-pager -o cat >&2 2>/dev/null || :
  exit $s
}
[ -n "$2" ] || exit 0
printf '%s\n' "$2" >"$d/started/$1.new.$$"
mv -fT "$d/started/$1.new.$$" "$d/started/$1""#
    )
);

impl Work for Unit {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let look = Command::script_with(READS_RECORD, LOOK).arg(&self.name).args(self.reads.paths());
        let output = cx.host()?.run(&look.label("systemctl is-enabled, is-active"))?;
        let text = output.text();
        let mut lines = text.lines();
        let mut changes = Vec::new();
        // `static` and `indirect` units have nothing to enable.
        if matches!(lines.next(), Some("disabled" | "unknown" | "masked") | None) {
            changes.push(format!("enable {}", self.name));
        }
        let active = lines.next() == Some("active");
        if !active {
            changes.push(format!("start {}", self.name));
        } else if !matches!(self.reads, Reads::Package) {
            match lines.next() {
                Some(digest) if self.reads.digest()?.as_deref() == Some(digest) => {}
                Some("read") if self.reads.is_there(cx)? => {}
                // A dry run without root.
                Some("shut") => changes.push(format!("maybe restart {}, which only root can determine", self.name)),
                _ => changes.push(format!("restart {} with its new configuration", self.name)),
            }
        }
        Ok(Check::from_changes(changes))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let wait = if self.wait { "" } else { "--no-block" };
        let not_made = || StepError::failed(format!("the configuration of {} has not been made", self.name));
        let config = self.reads.digest()?.ok_or_else(not_made)?;
        let start = recording(cx.owner()?, START).args([self.name.as_str(), &config, wait]);
        let start = start.args(self.reads.paths()).timeout(self.timeout);
        cx.host()?.run_ok(&start.label("systemctl enable, start"))?;
        Ok(())
    }

    fn owns(&self) -> Vec<Owned> {
        vec![UNIT.owned(&self.name)]
    }

    fn verify(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        if !self.wait {
            return Ok(());
        }
        match self.check(cx)? {
            Check::Satisfied => Ok(()),
            Check::Needed(changes) => Err(StepError::NotVerified(changes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::trial::Trial;

    /// systemd, with one unit.
    const SYSTEMCTL: &str = r#"case $1 in
  is-enabled) cat "${at}enabled";;
  show) printf 'ActiveState=%s\nLoadState=loaded\n' "$(cat "${at}active")";;
  enable) echo enabled >"${at}enabled";;
  disable) echo disabled >"${at}enabled";;
  start|restart) [ ! -e "${at}broken" ] || exit 1; echo active >"${at}active";;
  --no-block|'') echo active >"${at}active";;
  stop) echo inactive >"${at}active";;
esac"#;

    fn state(trial: &Trial) -> String {
        format!("{}{}", trial.read("enabled"), trial.read("active"))
    }

    #[test]
    fn a_unit_is_started_and_brought_back_to_what_it_was() {
        Trial::each(|trial| {
            trial.program("systemctl", SYSTEMCTL);
            for before in ["disabled\ninactive\n", "enabled\nactive\n", "enabled\ninactive\n"] {
                let (enabled, active) = before.split_at(before.find('\n').unwrap() + 1);
                trial.write("enabled", enabled);
                trial.write("active", active);
                assert_eq!(trial.look(LOOK, &["a.service"]).out, format!("{before}never\n"));
                let ran = trial.change(START, &["a.service", "digest", "--no-block"]);
                assert!(ran.ok, "{ran:?}");
                assert_eq!(trial.look(LOOK, &["a.service"]).out, "enabled\nactive\ndigest\n");
                let ran = trial.undo(&["all"]);
                assert!(ran.ok && ran.said.is_empty(), "{ran:?}");
                assert_eq!((state(trial).as_str(), trial.there("state")), (before, false));
            }
        });
    }

    #[test]
    fn a_unit_that_has_read_its_files_is_not_restarted() {
        Trial::each(|trial| {
            trial.write("enabled", "enabled\n");
            trial.write("active", "active\n");
            let file = trial.at("root-of-files");
            std::fs::write(&file, "site's").unwrap();
            for (seconds_ago, verb) in [(-60, "start"), (60, "restart")] {
                // It began a minute after the file was changed, or a minute before.
                let up = std::fs::read_to_string("/proc/uptime").unwrap();
                let up: i64 = up.split('.').next().unwrap().parse().unwrap();
                let at = (up - seconds_ago).max(1) * 1_000_000;
                let script = format!(
                    "case $* in *Monotonic*) echo ActiveEnterTimestampMonotonic={at}; exit;; esac\n{SYSTEMCTL}"
                );
                trial.program("systemctl", &script);
                let looked = if verb == "start" { "read" } else { "never" };
                assert_eq!(trial.look(LOOK, &["a.service", &file]).out, format!("enabled\nactive\n{looked}\n"));
                assert!(trial.change(START, &["a.service", "digest", "", &file]).ok);
                assert!(trial.calls().contains(&format!("systemctl {verb} -- a.service")), "{}", trial.calls());
                assert_eq!(trial.look(LOOK, &["a.service", &file]).out, "enabled\nactive\ndigest\n");
                assert!(trial.undo(&["all"]).ok);
                trial.write("active", "active\n");
            }
        });
    }

    #[test]
    fn a_unit_that_ran_before_stays_in_the_record_until_it_runs_again() {
        Trial::each(|trial| {
            trial.program("systemctl", SYSTEMCTL);
            trial.write("enabled", "enabled\n");
            trial.write("active", "active\n");
            assert!(trial.change(START, &["a.service", "digest", "--no-block"]).ok);
            trial.write("broken", "");
            let ran = trial.undo(&["all"]);
            assert!(!ran.ok && ran.said.contains("a.service ran before and does not start again"), "{ran:?}");
            assert_eq!(trial.recorded(), ["unit a.service enabled/active"]);
            std::fs::remove_file(trial.at("broken")).unwrap();
            assert!(trial.undo(&["all"]).ok && state(trial) == "enabled\nactive\n" && !trial.there("state"));
        });
    }
}
