//! How many files and connections this process may have open (`RLIMIT_NOFILE`, getrlimit(2)): a login session that sets
//! the usual 1024 would stop a run of some hundred hosts in its middle, with an error that names none of them.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What the process has open by itself: state, log, bundle, events of the runtime.
const OWN: u64 = 64;
/// A host's session for as long as the run lasts, and a second one when its packages come through a tunnel. libssh2 and
/// this program hold a descriptor each.
const EACH_HOST: u64 = 4;
/// What one of the hosts that are worked on at once has open beside that: files to send, the file of host keys, the two
/// ends of connections through a tunnel.
const EACH_FORK: u64 = 8;
/// Connections to the repository that one host has open at once, as many as dnf makes by itself and the one before.
const FETCHES: u64 = 4;

/// Raises the limit as far as the system allows it without more rights; what it is now.
pub fn raise() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return u64::MAX };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// What a run needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Hosts that are connected to for the whole run.
    pub hosts: usize,
    /// Hosts worked on at once.
    pub forks: usize,
    /// The most connections that the repository accepts; 0 without one.
    pub connections: usize,
}

impl Need {
    /// Descriptors, all in all.
    pub fn descriptors(&self) -> u64 {
        self.kept() + EACH_FORK * wide(self.forks.min(self.hosts.max(1)))
    }

    /// As many hosts at once as fit under a limit, never more than were asked for; at least one.
    pub fn forks_within(&self, limit: u64) -> usize {
        let fit = limit.saturating_sub(self.kept()) / EACH_FORK;
        usize::try_from(fit).unwrap_or(usize::MAX).clamp(1, self.forks.max(1))
    }

    /// What does not depend on how many hosts are worked on at once.
    fn kept(&self) -> u64 {
        let hosts = wide(self.hosts);
        OWN + EACH_HOST * hosts + wide(self.connections).min(FETCHES * hosts)
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(hosts: usize, forks: usize) -> Need {
        Need { hosts, forks, connections: 1024 }
    }

    #[test]
    fn what_a_run_needs_grows_with_its_hosts_and_no_further_with_forks_than_there_are_hosts() {
        assert_eq!(need(3, 64).descriptors(), 64 + 3 * 4 + 3 * 4 + 3 * 8);
        assert_eq!(need(1000, 64).descriptors(), 64 + 1000 * 4 + 1024 + 64 * 8);
        assert_eq!(Need { connections: 0, ..need(0, 64) }.descriptors(), 64 + 8);
    }

    #[test]
    fn forks_are_reduced_to_what_fits_and_never_below_one() {
        let need = need(100, 64);
        assert_eq!(need.forks_within(need.descriptors()), 64);
        assert_eq!(need.forks_within(u64::MAX), 64);
        assert_eq!(need.forks_within(need.descriptors() - 1), 63);
        assert_eq!(need.forks_within(1024), 20);
        for limit in [0, 64, 256] {
            assert_eq!(need.forks_within(limit), 1, "{limit}");
        }
        assert_eq!(Need { forks: 0, ..need }.forks_within(u64::MAX), 1);
    }

    #[test]
    fn whatever_fits_needs_no_more_than_the_limit() {
        for limit in (900..2000).step_by(7) {
            let need = need(100, 64);
            let forks = need.forks_within(limit);
            assert!(Need { forks, ..need }.descriptors() <= limit, "{limit}");
        }
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes() {
        let raised = raise();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!((soft, hard), (raised, raised));
    }
}
