//! kubeadm's CoreDNS on more than one node. Its pods are there before any other node joins, so the first one that is Ready gets them
//! all, and the scheduler moves no pod later: with that node lost, the cluster would be without DNS until they are evicted
//! (kubeadm documentation, "Creating Highly Available Clusters with kubeadm": CoreDNS is restarted once another node has joined).

use std::collections::BTreeSet;

use crate::flow::retry::{self, Patience};
use crate::host::{Command, HostId};
use crate::plan::{Check, Cx, Step, StepError, Work};

use super::component::{Component, On};
use super::endpoint;

/// The component, on the host that publishes what the whole cluster is to know, once DNS answers every host of the run.
pub(super) struct DnsSpread;

impl Component for DnsSpread {
    fn is_on(&self, on: &On<'_>) -> bool {
        let nodes: BTreeSet<&HostId> = on.cluster.control_plane.keys().chain(on.cluster.workers.keys()).collect();
        on.publishes && on.control_plane().is_some() && nodes.len() > 1
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(machine) = on.control_plane() else { return Vec::new() };
        let spread = Spread { server: endpoint::of_machine(machine) };
        let step = on.step("dns.spread", "let the cluster's DNS run on more than one node", spread);
        vec![step.after_if_present(on.waits.dns.iter().cloned())]
    }
}

/// `$1` server. A line a pod, and where all of them have one node a line a node, fields separated by `|`. Before there is a cluster only the host
/// can be asked.
const LOOK: &str = r#"export HOME=/run/sunshine-installer
k() { kubectl --kubeconfig /root/.kube/config --server "$server" --request-timeout=5s get "$@"; }
server=$1 all='{range .items[*]}' is='{.metadata.name}|{.metadata.creationTimestamp}|{.status.conditions[?(@.type=="Ready")].status}' end='{"\n"}{end}'
pods=$(k -n kube-system pods -l k8s-app=kube-dns -o "jsonpath=${all}pod|$is|{.spec.nodeName}|{.metadata.deletionTimestamp}$end") || exit
printf '%s\n' "$pods"
[ "$(printf '%s\n' "$pods" | cut -d'|' -f5 | sort -u | wc -l)" -gt 1 ] ||
k nodes -o "jsonpath=${all}node|$is|{range .spec.taints[*]}{.key}:{.effect} {end}$end""#;
/// `$1` server, `$2` pod.
const DELETE: &str = r#"export HOME=/run/sunshine-installer
kubectl --kubeconfig /root/.kube/config --server "$1" --request-timeout=30s -n kube-system delete pod "$2" --wait=false --ignore-not-found"#;

/// No node has come since the pods were made that could take one of them, where all run on one.
#[derive(Debug)]
struct Spread {
    /// The host's own API server.
    server: String,
}

impl Spread {
    fn look(&self) -> Command {
        Command::script(LOOK).arg(&self.server).label("kubectl get pods and nodes")
    }
}

impl Work for Spread {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let said = cx.host()?.run(&self.look())?;
        let is_so = said.ok() && alone(&said.text()).is_none();
        let change = || Check::Needed(vec!["start a pod of the cluster's DNS on another node".to_owned()]);
        Ok(if is_so { Check::Satisfied } else { change() })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let said = retry::run_ok(cx.host()?, &self.look(), Patience::of_step(cx))?.text();
        let Some(pod) = alone(&said) else { return Ok(()) };
        let delete = Command::script(DELETE).args([self.server.as_str(), pod]).label("kubectl delete pod, of DNS");
        retry::run_ok(cx.host()?, &delete, Patience::of_step(cx))?;
        Ok(())
    }
}

/// The taint that DNS pods tolerate; its name before 1.24.
const TOLERATED: [&str; 2] =
    ["node-role.kubernetes.io/control-plane:NoSchedule", "node-role.kubernetes.io/master:NoSchedule"];

/// Of several DNS pods that all run on one node the one to start anew, where a node that takes such pods came after all of them: an
/// older one was there when the scheduler chose.
fn alone(listed: &str) -> Option<&str> {
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split('|').collect()).collect();
    let mut pods = Vec::new();
    let mut newest_node = "";
    for line in &lines {
        match line[..] {
            ["pod", name, made, ready, node, ""] => pods.push((ready == "True", made, name, node)),
            ["node", _, made, "True", taints] if takes_dns(taints) => newest_node = newest_node.max(made),
            _ => {}
        }
    }
    let (_, _, _, node) = *pods.first()?;
    let newest_pod = pods.iter().map(|(_, made, ..)| *made).max()?;
    let all_there = pods.len() > 1 && !node.is_empty() && pods.iter().all(|(_, _, _, other)| *other == node);
    // Times of the API are of one length and in UTC: they compare as text.
    if !all_there || newest_node <= newest_pod {
        return None;
    }
    // One that is not Ready is missed least.
    pods.iter().min().map(|(_, _, name, _)| *name)
}

fn takes_dns(taints: &str) -> bool {
    taints
        .split(' ')
        .all(|taint| taint.is_empty() || TOLERATED.contains(&taint) || taint.ends_with(":PreferNoSchedule"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, minute: u8, ready: &str, node: &str) -> String {
        format!("pod|{name}|2026-11-30T07:{minute:02}:00Z|{ready}|{node}|\n")
    }

    fn node(name: &str, minute: u8, taints: &str) -> String {
        format!("node|{name}|2026-11-30T07:{minute:02}:00Z|True|{taints}\n")
    }

    #[test]
    fn one_of_two_pods_on_the_first_node_is_started_anew_when_another_node_has_come() {
        let pods = pod("a", 1, "True", "host0") + &pod("b", 1, "False", "host0");
        let first = node("host0", 1, "node-role.kubernetes.io/control-plane:NoSchedule ");
        let both = pods.clone() + &first + &node("host1", 2, "");
        assert_eq!(alone(&both), Some("b"), "the pod that is not Ready");
        let control_plane = node("host1", 2, "node-role.kubernetes.io/control-plane:NoSchedule ");
        assert_eq!(alone(&(pods.clone() + &first + &control_plane)), Some("b"));
        let unready = "node|host1|2026-11-30T07:02:00Z|Unknown|\n";
        for other in [String::new(), node("host1", 2, "site/only:NoExecute "), unready.to_owned()] {
            assert_eq!(alone(&(pods.clone() + &first + &other)), None, "no other node takes it: {other}");
        }
    }

    /// The same line again changes nothing, wherever the scheduler put the new pod.
    #[test]
    fn pods_that_are_younger_than_every_node_stay() {
        let nodes = node("host0", 1, "") + &node("host1", 2, "");
        assert_eq!(alone(&(pod("a", 1, "True", "host0") + &pod("b", 3, "True", "host1") + &nodes)), None);
        assert_eq!(alone(&(pod("a", 1, "True", "host0") + &pod("b", 3, "True", "host0") + &nodes)), None);
        assert_eq!(alone(&(pod("a", 1, "True", "host0") + &nodes)), None, "the site wants one only");
        assert_eq!(alone(&nodes), None, "or another DNS");
    }

    #[test]
    fn while_one_ends_and_its_successor_has_no_node_yet_no_other_is_ended() {
        let nodes = node("host0", 1, "") + &node("host1", 2, "");
        let ends = "pod|b|2026-11-30T07:01:00Z|True|host0|2026-11-30T07:03:00Z\n";
        assert_eq!(alone(&(pod("a", 1, "True", "host0") + ends + &nodes)), None);
        assert_eq!(alone(&(pod("a", 1, "True", "host0") + ends + &pod("c", 3, "False", "") + &nodes)), None);
    }
}
