//! A member joins a cluster that stands: as a learner first, so that the quorum is never weaker than before (etcd
//! documentation, "Learner"), then promoted once it has caught up. etcd before 3.4 knows no learners and is added plainly.
//!
//! etcdctl runs on the joining host itself, so no other member needs to be part of the run.

use std::time::Duration;

use crate::host::{Command, Host};
use crate::plan::{Check, Cx, StepError, Work};

use super::etcdctl::etcdctl;
use super::probe::Found;

/// How long a learner may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(120);

/// One line of `etcdctl member list`: `ID, STATUS, NAME, PEERS, CLIENTS[, IS-LEARNER]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub id: String,
    pub started: bool,
    pub name: String,
    pub peer_urls: String,
    pub learner: bool,
}

const LIST: &str = etcdctl!("etcdctl --command-timeout=10s member list");

impl Listed {
    /// The members as the cluster behind `endpoints` knows them.
    pub(super) fn all(host: &Host, endpoints: &str) -> Result<Vec<Self>, StepError> {
        let command = Command::script(LIST).arg(endpoints).label("etcdctl member list");
        let text = host.run_ok(&command)?.text();
        Ok(text.lines().filter_map(Self::parse).collect())
    }

    fn parse(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split(',').map(str::trim).collect();
        let [id, status, name, peer_urls, ..] = words.as_slice() else { return None };
        Some(Self {
            id: (*id).to_owned(),
            started: *status == "started",
            name: (*name).to_owned(),
            peer_urls: (*peer_urls).to_owned(),
            learner: words.get(5) == Some(&"true"),
        })
    }

    fn find(host: &Host, endpoints: &str, peer_url: &str) -> Result<Option<Self>, StepError> {
        Ok(Self::all(host, endpoints)?.into_iter().find(|m| m.peer_urls == peer_url))
    }
}

/// The cluster knows this member, and it holds data or is about to start for the first time.
#[derive(Debug)]
pub(super) struct Join {
    pub endpoints: String,
    pub name: String,
    pub peer_url: String,
}

/// `$2` name, `$3` peer URL, `$4` the id of a member that lost its data, or nothing. etcd refuses to change its members
/// until all of them have been connected for some seconds (its `HealthInterval` is 5 s): that is waited out.
const ADD: &str = etcdctl!(
    r#"end=$(( $(date +%s) + 20 ))
settled() {
  until said=$("$@" 2>&1); do
    case $said in *"unhealthy cluster"*) ;; *) printf '%s\n' "$said" >&2; exit 1;; esac
    [ "$(date +%s)" -lt "$end" ] || { printf '%s\n' "$said" >&2; exit 1; }
    sleep 0.5
  done
}
[ -z "$4" ] || settled etcdctl member remove "$4"
if etcdctl member add --help 2>&1 | grep -q -- --learner; then
  settled etcdctl member add "$2" --learner --peer-urls="$3"
else
  settled etcdctl member add "$2" --peer-urls="$3"
fi"#
);

impl Work for Join {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let host = cx.host()?;
        let wanted = || Ok(Check::Needed(vec![format!("add member {} ({})", self.name, self.peer_url)]));
        // Before the package and its certificates are there, nobody can be asked.
        if cx.wants_detail() {
            return wanted();
        }
        match Listed::find(host, &self.endpoints, &self.peer_url)? {
            None => wanted(),
            Some(member) if !member.started || Found::on(host)?.has_data => Ok(Check::Satisfied),
            Some(member) => Ok(Check::Needed(vec![format!("replace member {}, which lost its data", member.id)])),
        }
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let host = cx.host()?;
        let lost = Listed::find(host, &self.endpoints, &self.peer_url)?.map(|m| m.id).unwrap_or_default();
        let add =
            Command::script(ADD).args([&self.endpoints, &self.name, &self.peer_url, &lost]).label("etcdctl member add");
        host.run_ok(&add)?;
        Ok(())
    }
}

/// The member votes.
#[derive(Debug)]
pub(super) struct Promote {
    pub endpoints: String,
    pub peer_url: String,
}

/// `$2` id, `$3` seconds: promotion is refused until the learner has caught up.
const PROMOTE: &str = etcdctl!(
    r#"end=$(( $(date +%s) + $3 ))
until said=$(etcdctl member promote "$2" 2>&1); do
  [ "$(date +%s)" -lt "$end" ] || { printf '%s\n' "$said" >&2; exit 1; }
  sleep 0.3
done"#
);

impl Work for Promote {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        if cx.wants_detail() {
            return Ok(Check::Needed(vec!["promote it from learner to member".to_owned()]));
        }
        match Listed::find(cx.host()?, &self.endpoints, &self.peer_url)? {
            Some(member) if !member.learner => Ok(Check::Satisfied),
            Some(_) => Ok(Check::Needed(vec!["promote it from learner to member".to_owned()])),
            None => Err(StepError::failed("the cluster does not know this member")),
        }
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let host = cx.host()?;
        let member = Listed::find(host, &self.endpoints, &self.peer_url)?
            .ok_or_else(|| StepError::failed("the cluster does not know this member"))?;
        let promote = Command::script(PROMOTE)
            .arg(&self.endpoints)
            .arg(&member.id)
            .arg(CATCH_UP.as_secs().to_string())
            .timeout(CATCH_UP + Duration::from_secs(30))
            .label("etcdctl member promote");
        host.run_ok(&promote)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_lists_of_old_and_new_etcd_are_read() {
        let new =
            Listed::parse("8e9e05c52164694d, started, host0, https://10.8.14.200:2380, https://10.8.14.200:2379, true")
                .unwrap();
        assert!(new.started && new.learner && new.name == "host0");
        let old = Listed::parse("8e9e05c52164694d, unstarted, , https://10.8.14.200:2380, ").unwrap();
        assert!(!old.started && !old.learner && old.name.is_empty());
        assert_eq!(Listed::parse("rubbish"), None);
    }
}
