//! A systemd unit that is enabled, running, and running with the configuration it should have.
//!
//! Whether a service has read its newest configuration cannot be seen from outside, and a run may be killed between
//! writing a file and restarting. So the digest of the configuration that a service was last started with is kept on
//! the host (`started/UNIT` in the record's folder), written after the start went well.

use std::time::Duration;

use crate::host::Command;
use crate::plan::{Check, Cx, Owned, StepError, Work};

use super::files::Files;

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

const LOOK: &str = ask!(
    r#"ask "$1"
printf '%s\n%s\n' "$enabled" "$active"
d=/var/lib/sunshine-installer
cat "$d/started/$1" 2>/dev/null || { [ -d "$d" ] && [ ! -x "$d" ] && echo shut; } || echo never"#
);

/// `$1` unit, `$2` digest of its configuration, or nothing where it is not ours: then a unit that runs is left running; `$3`
/// nothing or `--no-block`.
const START: &str = ask!(
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
systemctl $3 $verb -- "$1" || {
  s=$?
  journalctl -u "$1" -n 15 --no-pager -o cat >&2 2>/dev/null || :
  exit $s
}
[ -n "$2" ] || exit 0
printf '%s\n' "$2" >"$d/started/$1.new"
mv -f "$d/started/$1.new" "$d/started/$1""#
);

impl Work for Unit {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let output = cx.host()?.run(&Command::script(LOOK).arg(&self.name).label("systemctl is-enabled, is-active"))?;
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
        let start = cx.owner()?.script(START).args([self.name.as_str(), &config, wait]).timeout(self.timeout);
        cx.host()?.run_ok(&start.label("systemctl enable, start"))?;
        Ok(())
    }

    fn owns(&self) -> Vec<Owned> {
        vec![Owned::Unit(self.name.clone())]
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
