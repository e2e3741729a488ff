//! What a host holds of etcd before anything is done: one round trip.

use crate::host::{Command, Host, HostError};

/// etcd as found on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The data directory holds a member's data.
    pub has_data: bool,
    /// `ETCD_INITIAL_CLUSTER_TOKEN` of the configuration that is there.
    pub token: Option<String>,
    pub running: bool,
}

const LOOK: &str = r#"[ -d /var/lib/etcd/default.etcd/member ] || [ -n "$(ls -A /var/lib/etcd/default.etcd 2>/dev/null)" ] && echo data
# A first member is "activating" until the others have come.
case $(systemctl is-active etcd 2>/dev/null) in active|activating|reloading) echo running;; esac
sed -n 's/^ETCD_INITIAL_CLUSTER_TOKEN="\{0,1\}\([^"]*\)"\{0,1\}$/token \1/p' /etc/etcd/etcd.conf 2>/dev/null
:"#;

impl Found {
    pub(super) fn on(host: &Host) -> Result<Self, HostError> {
        Ok(Self::parse(&host.run_ok(&Command::script(LOOK))?.text()))
    }

    fn parse(text: &str) -> Self {
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
    pub(super) fn is_of(&self, token: Option<&str>) -> bool {
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
