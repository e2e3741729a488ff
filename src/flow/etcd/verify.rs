//! Steps that look at a member's data: the proof that it answers, and the deletion that only `--wipe-data` asks for.

use std::time::Duration;

use crate::flow::retry::{self, Patience};
use crate::host::Command;
use crate::plan::{Check, Cx, StepError, Work};
use crate::resource::{DELETES, Reads};

use super::etcdctl::etcdctl;
use super::probe::Found;

/// How long the first members may take to find each other.
const ELECTION: Duration = Duration::from_secs(60);

/// A member through which a value has been written and read, since it was last given another configuration.
#[derive(Debug)]
pub(super) struct Answers {
    pub endpoint: String,
    pub reads: Reads,
}

/// Status 77: it may not be looked into.
const HEALTHY: &str = etcdctl!(
    r#"[ ! -d /var/lib/sunshine-installer ] || [ -x /var/lib/sunshine-installer ] || exit 77
[ "$(cat /var/lib/sunshine-installer/started/etcd.answered 2>/dev/null)" = "$2" ] || exit 1
etcdctl endpoint health >/dev/null 2>&1"#
);

/// `$2` digest, `$3` seconds. The value is chosen at random by the shell that writes it; the key is gone afterwards. Status 70, with
/// the journal's last lines: waiting was in vain.
const WRITE_AND_READ: &str = etcdctl!(
    r#"d=/var/lib/sunshine-installer/started
end=$(( $(date +%s) + $3 ))
tries=0 dial=250
# A client that was refused once, since etcd does not listen yet, waits for a second before it asks again: many short tries
# find it sooner. A host too slow for those gets longer ones.
until said=$(etcdctl --command-timeout=2s --dial-timeout=${dial}ms endpoint health 2>&1); do
  tries=$((tries + 1))
  [ $tries -lt 20 ] || dial=2000
  if systemctl is-failed --quiet etcd; then
    echo 'etcd.service failed; its last lines:' >&2
    journalctl -u etcd -n 12 --no-pager -o cat >&2; exit 70
  fi
  if [ "$(date +%s)" -ge "$end" ]; then
    printf 'etcd does not become healthy; etcdctl says:\n%s\nits last lines:\n' "$said" >&2
    journalctl -u etcd -n 12 --no-pager -o cat >&2; exit 70
  fi
  sleep 0.05
done
key=/sunshine-installer/probe/$(cat /proc/sys/kernel/random/uuid)
value=$(cat /proc/sys/kernel/random/uuid)
trap 'etcdctl del "$key" >/dev/null 2>&1 || :' EXIT
etcdctl put "$key" "$value" >/dev/null
read=$(etcdctl get --print-value-only "$key")
etcdctl del "$key" >/dev/null
trap - EXIT
[ "$read" = "$value" ] || { echo "wrote $value, read $read" >&2; exit 70; }
printf '%s\n' "$2" >"$d/etcd.answered.new.$$"; mv -fT "$d/etcd.answered.new.$$" "$d/etcd.answered""#
);

impl Work for Answers {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let config = self.reads.digest()?.unwrap_or_default();
        let command = Command::script(HEALTHY).arg(&self.endpoint).arg(config).label("etcdctl endpoint health");
        let change = match cx.host()?.run(&command)?.status {
            0 => return Ok(Check::Satisfied),
            // A dry run without root.
            77 => "maybe write and read a value, which only root can determine",
            _ => "write and read a value",
        };
        Ok(Check::Needed(vec![change.to_owned()]))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let command = Command::script(WRITE_AND_READ)
            .arg(&self.endpoint)
            .arg(self.reads.digest()?.unwrap_or_default())
            .arg(ELECTION.as_secs().to_string())
            .timeout(ELECTION + Duration::from_secs(30))
            .label("etcdctl put, get");
        // Another value each time: whether an earlier one was written makes no difference.
        retry::run_ok(cx.host()?, &command, Patience::of_step(cx))?;
        Ok(())
    }

    /// What was read is what was written: no better proof can come after it.
    fn verify(&self, _: &Cx<'_>) -> Result<(), StepError> {
        Ok(())
    }
}

/// No etcd data but this cluster's.
#[derive(Debug)]
pub(super) struct Wipe {
    pub token: String,
}

const WIPE: &str = r#"set -eu
systemctl stop etcd 2>/dev/null || :
delete_tree /var/lib/etcd/default.etcd"#;

impl Work for Wipe {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let found = Found::on(cx.host()?)?;
        if !found.has_data || found.is_of(Some(&self.token)) {
            return Ok(Check::Satisfied);
        }
        Ok(Check::Needed(vec![format!("delete {}", super::config::DATA_DIR)]))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        cx.host()?.run_ok(&Command::script_with(DELETES, WIPE).label("delete etcd's old data"))?;
        Ok(())
    }
}

/// A cluster's own data is deleted, behind everything else that was its member's: the mark tells whose it is ([`super::MarkData`]).
#[derive(Debug)]
pub(crate) struct WipeOwn {
    pub token: String,
}

/// `$1` token, `$2` look or `do`. A package that went has left its folder, which was not empty.
const WIPE_OWN: &str = r#"set -eu
data=/var/lib/etcd/default.etcd mark=/var/lib/etcd/.sunshine-token
inode=$(stat -c %i $data/member 2>/dev/null) || exit 0
[ "$(cat $mark 2>/dev/null)" = "$1 $inode" ] || exit 0
if [ "$2" = look ]; then echo $data; exit 0; fi
! systemctl is-active --quiet etcd || { echo 'etcd runs: its data is not deleted' >&2; exit 1; }
delete_tree $data
rm -f -- $mark
rpm -qf -- /var/lib/etcd >/dev/null 2>&1 || rmdir -- /var/lib/etcd 2>/dev/null || :"#;

impl WipeOwn {
    fn command(&self, what: &str) -> Command {
        let wipe = Command::script_with(DELETES, WIPE_OWN).args([self.token.as_str(), what]);
        wipe.timeout(Duration::from_secs(300)).label("delete etcd's data")
    }
}

impl Work for WipeOwn {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        // A dry run, and a run before this step's turn, find the data by its configuration.
        let marked = cx.host()?.run_ok(&self.command("look"))?.text();
        let there = !marked.is_empty() || cx.wants_detail() && Found::on(cx.host()?)?.is_of(Some(&self.token));
        Ok(if there { Check::Needed(vec![format!("delete {}", super::config::DATA_DIR)]) } else { Check::Satisfied })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        cx.host()?.run_ok(&self.command("do"))?;
        Ok(())
    }
}
