//! A member joins a cluster that stands: as a learner first, so that the quorum is never weaker than before (etcd
//! documentation, "Learner"), then promoted once it has caught up. etcd before 3.4 knows no learners and is added plainly.
//!
//! etcdctl runs on the joining host itself, so no other member needs to be part of the run.

use std::time::Duration;

use crate::flow::retry::{self, Patience, Transient};
use crate::host::{Command, Host, HostError};
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
    fn all(host: &Host, endpoints: &str, patience: Patience<'_>) -> Result<Vec<Self>, StepError> {
        let command = Command::script(LIST).arg(endpoints).label("etcdctl member list");
        let text = retry::run_ok(host, &command, patience)?.text();
        Ok(text.lines().filter_map(Self::parse).collect())
    }

    pub(super) fn parse(line: &str) -> Option<Self> {
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

    fn find(host: &Host, endpoints: &str, peer_url: &str, patience: Patience<'_>) -> Result<Option<Self>, StepError> {
        Ok(Self::all(host, endpoints, patience)?.into_iter().find(|m| m.peer_urls == peer_url))
    }
}

/// The cluster knows this member, and it holds data or is about to start for the first time.
#[derive(Debug)]
pub(super) struct Join {
    pub endpoints: String,
    pub name: String,
    pub peer_url: String,
}

/// `$2` name, `$3` peer URL, `$4` the id of a member that lost its data, or nothing.
const ADD: &str = etcdctl!(
    r#"[ -z "$4" ] || etcdctl member remove "$4" >/dev/null
if etcdctl member add --help 2>&1 | grep -q -- --learner; then
  etcdctl member add "$2" --learner --peer-urls="$3"
else
  etcdctl member add "$2" --peer-urls="$3"
fi"#
);

/// Besides what always passes: the list that was looked at came from a member that had not heard of the change yet.
fn passes(error: &StepError) -> bool {
    let late = ["etcdserver: member not found", "etcdserver: Peer URLs already exists"];
    error.is_transient()
        || matches!(error, StepError::Host(HostError::Failed { stderr, .. }) if late.iter().any(|l| stderr.contains(l)))
}

impl Work for Join {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let host = cx.host()?;
        let wanted = || Ok(Check::Needed(vec![format!("add member {} ({})", self.name, self.peer_url)]));
        // Before the package and its certificates are there, nobody can be asked.
        if cx.wants_detail() {
            return wanted();
        }
        match Listed::find(host, &self.endpoints, &self.peer_url, Patience::of_step(cx))? {
            None => wanted(),
            Some(member) if !member.started || Found::on(host)?.has_data => Ok(Check::Satisfied),
            Some(member) => Ok(Check::Needed(vec![format!("replace member {}, which lost its data", member.id)])),
        }
    }

    /// The list says before every try whether the last one was heard. etcd also refuses to change its members until all
    /// of them have been connected for some seconds (its `HealthInterval` is 5 s): that passes.
    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let host = cx.host()?;
        let joined = retry::repeat(Patience::of_step(cx), passes, || {
            let lost = match Listed::find(host, &self.endpoints, &self.peer_url, Patience::ONCE)? {
                Some(member) if !member.started || Found::on(host)?.has_data => return Ok(()),
                Some(member) => member.id,
                None => String::new(),
            };
            let add = Command::script(ADD).args([&self.endpoints, &self.name, &self.peer_url, &lost]);
            host.run_ok(&add.label("etcdctl member add"))?;
            Ok(())
        });
        joined.map_err(retry::GaveUp::into_error)
    }
}

/// The member votes.
#[derive(Debug)]
pub(super) struct Promote {
    pub endpoints: String,
    pub peer_url: String,
}

/// `$2` id.
const PROMOTE: &str = etcdctl!(r#"etcdctl member promote "$2""#);

impl Promote {
    fn find(&self, host: &Host, patience: Patience<'_>) -> Result<Listed, StepError> {
        Listed::find(host, &self.endpoints, &self.peer_url, patience)?
            .ok_or_else(|| StepError::failed("the cluster does not know this member"))
    }
}

impl Work for Promote {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        if cx.wants_detail() {
            return Ok(Check::Needed(vec!["promote it from learner to member".to_owned()]));
        }
        match self.find(cx.host()?, Patience::of_step(cx))? {
            member if !member.learner => Ok(Check::Satisfied),
            _ => Ok(Check::Needed(vec!["promote it from learner to member".to_owned()])),
        }
    }

    /// etcd refuses until the learner has caught up: every refusal passes. The list says before every try whether the last
    /// one was heard.
    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let host = cx.host()?;
        let refused = |e: &StepError| matches!(e, StepError::Host(HostError::Failed { .. }));
        let promoted = retry::repeat(Patience::lasting(cx, CATCH_UP), refused, || {
            let member = self.find(host, Patience::ONCE)?;
            if member.learner {
                let promote = Command::script(PROMOTE).arg(&self.endpoints).arg(&member.id);
                host.run_ok(&promote.label("etcdctl member promote"))?;
            }
            Ok(())
        });
        promoted.map_err(retry::GaveUp::into_error)
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
