//! What a host holds of etcd before anything is done: one round trip.

use crate::host::{Command, Host, HostError, Probe};
use crate::plan::{Check, Cx, StepError, Work};

/// Where etcd's package keeps its data.
pub(super) const FOLDER: &str = "/var/lib/etcd";

/// What etcd asks of a host beside the facts that every host tells.
pub(crate) const PROBE: Probe = Probe { units: &["etcd.service"], folders: &[FOLDER], files: &[] };

/// etcd as found on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The data directory holds a member's data.
    pub has_data: bool,
    /// `ETCD_INITIAL_CLUSTER_TOKEN` of the configuration that is there.
    pub token: Option<String>,
    pub running: bool,
}

const LOOK: &str = r#"d=/var/lib/etcd/default.etcd
# A folder that may not be looked into (by a dry run without root) is one that etcd made.
[ -d $d/member ] || [ -n "$(ls -A $d 2>/dev/null)" ] || { [ -d $d ] && [ ! -r $d ]; } && echo data
# A first member is "activating" until the others have come.
case $(systemctl is-active etcd 2>/dev/null) in active|activating|reloading) echo running;; esac
t=$(sed -n 's/^ETCD_INITIAL_CLUSTER_TOKEN="\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' /etc/etcd/etcd.conf 2>/dev/null)
# After a reset the configuration is gone; the mark holds for the very folder it was made for.
if [ -z "$t" ] && read -r mark inode 2>/dev/null </var/lib/etcd/.sunshine-token &&
  [ "$(stat -c %i /var/lib/etcd/default.etcd/member 2>/dev/null)" = "$inode" ]; then t=$mark; fi
[ -z "$t" ] || printf 'token %s\n' "$t""#;

/// The mark by which data left behind by a reset is known again.
pub(super) const MARK: &str = "/var/lib/etcd/.sunshine-token";

/// Data that stays on a host after everything else was restored is marked with its cluster's token.
#[derive(Debug)]
pub(crate) struct MarkData {
    pub token: String,
}

/// `$1` token, `$2` mark, `$3` nothing to look, `do` to write.
const MARK_DATA: &str = r#"inode=$(stat -c %i /var/lib/etcd/default.etcd/member 2>/dev/null) || exit 0
grep -qs "ETCD_INITIAL_CLUSTER_TOKEN=\"$1\"" /etc/etcd/etcd.conf || exit 0
[ "$(cat "$2" 2>/dev/null)" = "$1 $inode" ] && exit 0
[ "$3" = do ] || exit 1
printf '%s %s\n' "$1" "$inode" >"$2.new" && { sync -- "$2.new" 2>/dev/null || sync; } && mv -fT -- "$2.new" "$2""#;

impl MarkData {
    fn command(&self, what: &str) -> Command {
        Command::script(MARK_DATA).args([self.token.as_str(), MARK, what]).label("mark etcd's data")
    }
}

impl Work for MarkData {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let marked = cx.host()?.run(&self.command(""))?.ok();
        Ok(if marked { Check::Satisfied } else { Check::Needed(vec![format!("write {MARK}")]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        cx.host()?.run_ok(&self.command("do"))?;
        Ok(())
    }
}

impl Found {
    pub(crate) fn on(host: &Host) -> Result<Self, HostError> {
        Ok(Self::parse(&host.run_ok(&Command::script(LOOK))?.text()))
    }

    pub(super) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            match line.split_once(' ') {
                None if line == "data" => found.has_data = true,
                None if line == "running" => found.running = true,
                Some(("token", token)) => found.token = Some(token.to_owned()),
                _ => {}
            }
        }
        found
    }

    /// There is data, and it belongs to the cluster with this token.
    pub(crate) fn is_of(&self, token: Option<&str>) -> bool {
        self.has_data && self.token.is_some() && self.token.as_deref() == token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_ours_only_with_our_token() {
        let found = Found::parse("data\nrunning\ntoken abc");
        assert!(found.running && found.is_of(Some("abc")));
        assert!(!found.is_of(Some("other")) && !found.is_of(None));
        assert!(!Found::parse("data").is_of(None));
        assert!(!Found::parse("token abc").is_of(Some("abc")));
    }
}
