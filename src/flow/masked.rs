//! Units that the plan starts and somebody masked on a host: systemd would refuse to start them, in the middle of the run.

use std::collections::BTreeMap;

use crate::host::{Facts, HostId};
use crate::plan::Plan;
use crate::resource;

use super::problem::Problem;

/// Each such unit, before anything is changed. Whoever masked it had a reason, so that it is not undone without being told.
pub(super) fn check(plan: &Plan, facts: &BTreeMap<&HostId, &Facts>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for step in &plan.steps {
        let Some((host, facts)) = step.host.as_ref().and_then(|host| facts.get_key_value(host)) else { continue };
        let units = step.work.owns().into_iter().filter(|owned| owned.kind == resource::UNIT);
        for unit in units.map(|owned| owned.name).filter(|unit| facts.masked.contains(unit)) {
            let text = format!("{unit} is masked here, and systemd would not start it");
            let problem = Problem::error(host, text, format!("let it be started again: systemctl unmask {unit}"));
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::Step;
    use crate::resource::{Reads, Unit};

    #[test]
    fn a_masked_unit_is_named_once_and_others_do_not_matter() {
        let host = HostId::from("10.0.0.1");
        let start = |what: &str, name: &str| {
            let name = format!("{name}.service");
            Step::on(&host, what, "start", Unit { name, reads: Reads::Package, timeout: Duration::ZERO, wait: true })
        };
        let plan = Plan { steps: vec![start("a", "etcd"), start("b", "kubelet"), start("c", "etcd")] };
        let masked = Facts { masked: ["etcd.service", "cups.service"].map(str::to_owned).into(), ..Facts::default() };
        let other = HostId::from("10.0.0.2");
        let said =
            |host| check(&plan, &BTreeMap::from([(host, &masked)])).iter().map(Problem::line).collect::<Vec<_>>();
        assert_eq!(said(&host), ["10.0.0.1: etcd.service is masked here, and systemd would not start it"]);
        assert!(said(&other).is_empty());
    }
}
