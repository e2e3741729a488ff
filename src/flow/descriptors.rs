//! Whether the run's files and connections fit under this process's limit.

use crate::host::Need;

use super::problem::Problem;

/// How many hosts to work on at once, and a warning when that is fewer than asked for.
pub(super) fn fitting(need: Need, limit: u64) -> (usize, Option<Problem>) {
    let needed = need.descriptors();
    if needed <= limit {
        return (need.forks, None);
    }
    let forks = need.forks_within(limit);
    let enough = Need { forks, ..need }.descriptors() <= limit;
    let then = if enough { "" } else { ", and some hosts may not be reached" };
    let text = format!(
        "this process may have {limit} files open (RLIMIT_NOFILE), {needed} are needed for {} hosts: --forks is reduced \
         from {} to {forks}{then}",
        need.hosts, need.forks
    );
    let help =
        format!("raise the limit before: `ulimit -n {needed}` in the shell, LimitNOFILE={needed} in a systemd unit");
    (forks, Some(Problem::warning(None, text, Some(help))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEED: Need = Need { hosts: 100, forks: 64, connections: 1024 };

    #[test]
    fn a_limit_that_is_high_enough_changes_nothing() {
        assert_eq!(fitting(NEED, NEED.descriptors()), (64, None));
    }

    #[test]
    fn a_low_limit_is_named_with_what_raises_it() {
        let (forks, warning) = fitting(NEED, 1024);
        let warning = warning.unwrap();
        assert_eq!((forks, warning.level), (20, crate::plan::Level::Warning));
        assert!(warning.text.contains("1024 files open") && warning.text.contains("from 64 to 20"), "{warning:?}");
        assert!(!warning.text.contains("may not be reached"), "{warning:?}");
        let help = warning.help.unwrap();
        assert!(help.contains("ulimit -n 1376") && help.contains("LimitNOFILE=1376"), "{help}");
    }

    #[test]
    fn a_limit_below_what_the_hosts_themselves_need_says_so() {
        let (forks, warning) = fitting(NEED, 256);
        assert_eq!(forks, 1);
        assert!(warning.unwrap().text.contains("some hosts may not be reached"));
    }
}
