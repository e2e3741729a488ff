//! The hosts' clocks beside the control host's, which dates certificates and tokens: found before anything is made that a host
//! would call not yet valid, or over. What members of etcd may differ among each other is etcd's own check.

use crate::host::{Facts, HostId};
use crate::plan::RunHosts;

use super::problem::Problem;

/// From here on, in seconds, nothing is made on a host. A token by which a node joins lasts half an hour, and a
/// certificate is valid from a day before its making.
const MOST: f64 = 600.0;
/// Worth a word: logs of the hosts and of the control host can no longer be compared.
const WORTH_A_WORD: f64 = 30.0;
/// Clocks that are wrong by the same, give or take this, are more likely right than the control host's.
const ALIKE: f64 = 30.0;

const SET: &str = "set the clocks right (chronyc makestep, or date -s), and keep them so with chrony";

/// A problem for each host whose clock is wrong; one for all that are wrong alike.
pub(super) fn check(hosts: &RunHosts) -> Vec<Problem> {
    check_facts(hosts.values().map(|host| (host.host.name(), &host.facts)))
}

fn check_facts<'a>(hosts: impl Iterator<Item = (&'a HostId, &'a Facts)>) -> Vec<Problem> {
    let all: Vec<(&HostId, f64)> = hosts.map(|(host, facts)| (host, facts.clock_wrong_by())).collect();
    let wrong: Vec<(&HostId, f64)> = all.iter().copied().filter(|(_, by)| by.abs() >= WORTH_A_WORD).collect();
    let (least, most) = (fold(&wrong, f64::min), fold(&wrong, f64::max));
    if wrong.len() > 1 && wrong.len() == all.len() && most - least <= ALIKE {
        let text = format!("the clocks of all {} hosts are {} the control host's", wrong.len(), difference(most));
        let help = "if it is the control host's that is wrong, set that (date -s 'YYYY-MM-DD HH:MM:SS'); else ";
        return vec![problem(None, most, text, format!("{help}{SET}"))];
    }
    let one = |(host, by): (&HostId, f64)| {
        problem(Some(host), by, format!("its clock is {} the control host's", difference(by)), SET.to_owned())
    };
    wrong.into_iter().map(one).collect()
}

fn fold(hosts: &[(&HostId, f64)], choose: fn(f64, f64) -> f64) -> f64 {
    hosts.iter().map(|(_, by)| *by).reduce(choose).unwrap_or_default()
}

fn problem(host: Option<&HostId>, by: f64, text: String, help: String) -> Problem {
    let warning = Problem::warning(host, text, Some(help));
    if by.abs() < MOST { warning } else { Problem { level: crate::plan::Level::Error, ..warning } }
}

/// "3 d 4 h behind", "1 min 30 s ahead of".
fn difference(by: f64) -> String {
    let side = if by < 0.0 { "behind" } else { "ahead of" };
    // A host may say any number; one too large is shown as the largest there is.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is a whole number, and not negative"
    )]
    let seconds = by.abs().round() as u64;
    let parts = [(seconds / 86400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let shown: Vec<String> =
        parts.into_iter().skip_while(|(n, _)| *n == 0).take(2).map(|(n, unit)| format!("{n} {unit}")).collect();
    format!("{} {side}", shown.join(" "))
}

#[cfg(test)]
mod tests {
    use crate::plan::Level;

    use super::*;

    fn found(offsets: &[f64]) -> Vec<(Option<String>, Level, String)> {
        let hosts: Vec<(HostId, Facts)> = offsets
            .iter()
            .enumerate()
            .map(|(n, offset)| {
                (format!("h{n}").into(), Facts { clock_offset: *offset, clock_doubt: 0.5, ..Facts::default() })
            })
            .collect();
        let problems = check_facts(hosts.iter().map(|(host, facts)| (host, facts)));
        assert!(problems.iter().all(|p| p.help.as_ref().is_some_and(|help| help.contains("date -s"))));
        problems.into_iter().map(|p| (p.host.map(String::from), p.level, p.text)).collect()
    }

    #[test]
    fn a_wrong_clock_is_named_with_how_far_it_is_off() {
        assert_eq!(found(&[0.3, -0.2, 20.0]), []);
        let text = |host: &str, level, text: &str| (Some(host.to_owned()), level, text.to_owned());
        assert_eq!(
            found(&[0.0, -273_600.5, 91.0]),
            [
                text("h1", Level::Error, "its clock is 3 d 4 h behind the control host's"),
                text("h2", Level::Warning, "its clock is 1 min 31 s ahead of the control host's")
            ]
        );
    }

    #[test]
    fn clocks_that_are_wrong_alike_are_one_problem_and_point_at_the_control_host() {
        let all = |level, text: &str| vec![(None, level, text.to_owned())];
        assert_eq!(
            found(&[7200.5, 7201.0, 7210.5]),
            all(Level::Error, "the clocks of all 3 hosts are 2 h 0 min ahead of the control host's")
        );
        assert_eq!(
            found(&[-40.5, -41.0]),
            all(Level::Warning, "the clocks of all 2 hosts are 40 s behind the control host's")
        );
        assert_eq!(found(&[-40.5]).len(), 1);
        assert_eq!(found(&[7200.0, 0.0, 7200.0]).len(), 2);
        assert_eq!(found(&[7200.0, -7200.0]).len(), 2);
    }

    #[test]
    fn a_host_that_lies_breaks_nothing() {
        assert!(found(&[1e300]).pop().is_some_and(|(_, level, _)| level == Level::Error));
    }
}
