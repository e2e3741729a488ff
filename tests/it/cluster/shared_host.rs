//! Two environments on one host: what one of them undoes does not touch the other.

use crate::cluster::{GROUPS, HOSTS, eventually};
use crate::lab::Lab;
use crate::site::{Site, at_rest};

const NODE: &str = "systemctl is-active kubelet docker && ip link show cni0 >/dev/null";

#[test]
fn a_reset_of_etcd_leaves_the_node_of_another_environment_at_work() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&GROUPS);
    at_rest(lab.host(0));
    // etcd of one environment beside a node of another, whose own etcd is elsewhere.
    site.run(&lab, &["etcd", "create", "--environment", "store", "--host", HOSTS[0]]).expect_ok();
    let work = ["--environment", "work"];
    site.run(&lab, &[&["etcd", "create", "--host", HOSTS[1]], &work[..]].concat()).expect_ok();
    let create = ["cluster", "create", "--master", HOSTS[1], "--node", HOSTS[0]];
    site.run(&lab, &[&create[..], &work].concat()).expect_ok();
    lab.host(1).sh("kubectl run at-work --image=busybox:latest --image-pull-policy=IfNotPresent -- sleep 10000");
    eventually(&lab, 1, "kubectl wait --for=condition=Ready --timeout=5s pod/at-work");
    let pod = lab.host(1).sh("kubectl get pod at-work -o 'jsonpath={.status.containerStatuses[0].containerID}'");

    // Under the wrong environment neither node nor data goes.
    let wrong = ["cluster", "reset", "--environment", "other", "--yes", "--wipe-data", "--host", HOSTS[0], HOSTS[1]];
    let said = site.run(&lab, &wrong).expect_ok();
    assert!(said.stderr.contains("the Kubernetes node here belongs to environment work-"), "{}", said.stderr);
    assert!(said.stderr.contains("etcd's data here belongs to another cluster"), "{}", said.stderr);
    let healthy = "bash -lc 'etcdctl endpoint health' 2>&1";
    assert!(lab.host(0).sh(healthy).contains("is healthy") && lab.host(1).sh(healthy).contains("is healthy"));

    let reset = ["cluster", "reset", "--environment", "store", "--yes", "--wipe-data", "--host", HOSTS[0]];
    let said = site.run(&lab, &reset).expect_ok();
    assert!(said.stderr.contains("`cluster reset --environment work --host 10.8.14.200`"), "{}", said.stderr);
    assert_eq!(lab.host(0).exec("rpm -q etcd || test -e /var/lib/etcd").code, Some(1), "the own member is gone");
    lab.host(0).sh(NODE);
    eventually(&lab, 1, "kubectl wait --for=condition=Ready --timeout=5s node/host0");
    let after = lab.host(1).sh("kubectl get pod at-work -o 'jsonpath={.status.containerStatuses[0].containerID}'");
    assert_eq!(after, pod, "the same container");

    // In the end the other one undoes its own, and nothing of either is left.
    let reset = ["cluster", "reset", "--yes", "--wipe-data", "--host", HOSTS[0], HOSTS[1]];
    site.run(&lab, &[&reset[..], &work].concat()).expect_ok();
    for host in lab.hosts() {
        // The two folders are file systems of the lab.
        let left =
            host.sh("ls -d /var/lib/sunshine-installer /var/lib/etcd 2>/dev/null; ls /var/lib/kubelet /var/lib/docker");
        assert!(!left.contains("/sunshine-installer") && !left.contains("/etcd"), "{}: {left}", host.name());
        assert_eq!(left.lines().filter(|l| !l.is_empty() && !l.starts_with('/')).collect::<Vec<_>>(), [""; 0]);
    }
}
