//! Clusters of IPv4 and IPv6 together, of IPv6 alone, and of hosts with two interfaces.

use crate::lab::{Host, Lab, Output};
use crate::site::{Site, assert_unchanged, assert_unchanged_but, at_rest};

use super::super::{HOSTS, eventually, whole};
use super::kubeadm_control_plane::{self, may_stay};
use super::{GROUPS, INSIDE};

const PODS6: &str = "fd00:10:244::/56";
const SERVICES6: &str = "fd00:10:254::/112";

/// A server on the first host and a client on the second one; the service has an address of every family that the cluster has.
const OBJECTS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: server}}
spec:
  nodeName: host0
  containers:
  - {name: web, image: "IMAGE", args: [netexec, --http-port=8080], readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {name: server}
spec: {ipFamilyPolicy: PreferDualStack, selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  nodeName: host1
  containers: [{name: pause, image: "IMAGE", args: [pause]}]
"#;

/// The service is answered at each of its addresses, which are so many, by a pod on the other host and by that host itself, and by
/// its name.
fn answered_over(lab: &Lab, families: usize) {
    let image = lab.host(1).sh("ctr -n k8s.io images list -q 2>/dev/null | grep /agnhost: | head -n 1");
    let objects = OBJECTS.replace("IMAGE", image.trim());
    lab.host(0).sh(&format!("kubectl apply -f - <<'Y'\n{objects}\nY"));
    lab.host(0).sh("kubectl wait --for=condition=Ready pod/server pod/client --timeout=120s");
    let addresses = lab.host(0).sh("kubectl get service server -o jsonpath='{.spec.clusterIPs[*]}'");
    assert_eq!(addresses.split_whitespace().count(), families, "{addresses}");
    for address in addresses.split_whitespace() {
        let place = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        let ask = format!("curl -g -fsS -m 3 http://{place}/hostname");
        assert_eq!(eventually(lab, 0, &format!("kubectl exec client -- {ask}")).trim(), "server");
        assert_eq!(eventually(lab, 1, &ask).trim(), "server");
    }
    let by_name = "kubectl exec client -- curl -fsS -m 3 http://server.default.svc.cluster.local/hostname";
    assert_eq!(eventually(lab, 0, by_name).trim(), "server");
    lab.host(0).sh("kubectl delete pod/server pod/client service/server --grace-period=1");
}

fn node_addresses(lab: &Lab, node: &str) -> String {
    let addresses = r#"jsonpath='{.status.addresses[?(@.type=="InternalIP")].address}'"#;
    lab.host(0).sh(&format!("kubectl get node {node} -o {addresses}"))
}

/// The same login by the host's IPv6 address.
fn target6(host: &Host) -> String {
    let target = host.target();
    target.replace(host.address(), &format!("[{}]", host.login.address6))
}

#[test]
fn a_service_of_both_families_is_answered_from_the_other_host_and_reset_leaves_nothing() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&GROUPS);
    let before: Vec<String> = lab.hosts().iter().map(at_rest).collect();
    let (pods, services) = (format!("{},{PODS6}", INSIDE[0]), format!("{},{SERVICES6}", INSIDE[1]));
    let networks = ["cluster", "create", "--pod-cidr", &pods, "--service-cidr", &services];
    let create = [&networks[..], &["--master", HOSTS[0], "--node", HOSTS[0], HOSTS[1]]].concat();

    // A host without an address of one family is named, and none is changed.
    lab.host(1).sh("ip addr del fd10:8:14::201/64 dev eth0");
    site.run(&lab, &["etcd", "create", "--host", HOSTS[0]]).expect_ok();
    let refused = site.run(&lab, &create);
    let lacks = "10.8.14.201: it has no lasting IPv6 address of global scope on eth0";
    assert!(refused.code == Some(1) && refused.stderr.contains(lacks), "{refused:?}");
    lab.host(1)
        .sh("ip addr add fd10:8:14::201/64 dev eth0 nodad && ip -6 route replace default via fd10:8:14::1 dev eth0");
    assert_unchanged(lab.host(1), &before[1]);

    site.run(&lab, &create).expect_ok();
    assert_eq!(node_addresses(&lab, "host1"), "10.8.14.201 fd10:8:14::201");
    let of_pods = lab.host(0).sh("kubectl get node host1 -o jsonpath='{.spec.podCIDRs[*]}'");
    assert!(of_pods.starts_with("10.244.") && of_pods.contains(" fd00:10:244:"), "{of_pods}");
    answered_over(&lab, 2);
    // The API by its address of the other family.
    lab.host(0).sh("curl -g -fsS --cacert /etc/kubernetes/pki/ca.crt 'https://[fd10:8:14::200]:6443/readyz'");
    site.changes_nothing(&lab, &create);
    lab.assert_no_egress(&[&INSIDE[..], &[PODS6, SERVICES6]].concat());

    site.run(&lab, &["cluster", "reset", "--yes", "--wipe-data", "--host", HOSTS[0], HOSTS[1]]).expect_ok();
    (0..2).for_each(|host| assert_unchanged_but(lab.host(host), &before[host], may_stay));
}

/// With balancers, so that they reach the API servers by IPv6 too.
#[test]
fn a_cluster_of_ipv6_alone_works_on_hosts_without_ipv4() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&kubeadm_control_plane::GROUPS);
    for host in lab.hosts() {
        host.sh("ip -4 addr flush dev eth0");
    }
    let hosts: Vec<String> = lab.hosts().iter().map(target6).collect();
    let [first, second] = [&hosts[0], &hosts[1]].map(String::as_str);
    let roles = ["--master", first, "--node", first, second];
    let refused = site.run(&lab, &[&["cluster", "create"][..], &roles].concat());
    assert!(refused.code == Some(2) && refused.stderr.contains("pods have no IPv6 network"), "{refused:?}");

    site.run(&lab, &["etcd", "create", "--host", first]).expect_ok();
    lab.host(0).sh("bash -lc 'etcdctl endpoint health'");
    let create = [&["cluster", "create", "--pod-cidr", PODS6, "--service-cidr", SERVICES6][..], &roles].concat();
    site.run(&lab, &create).expect_ok();
    assert_eq!(node_addresses(&lab, "host1"), "fd10:8:14::201");
    let server = lab.host(1).sh("grep -o '\\[fd10:8:14::200\\]:6443' /run/sunshine-installer/haproxy.cfg");
    assert_eq!(server, "[fd10:8:14::200]:6443");
    answered_over(&lab, 1);
    whole(&site, &lab, 2);
    site.changes_nothing(&lab, &create);
    lab.assert_no_egress(&[PODS6, SERVICES6]);
}

/// Nothing of a cluster goes over the interface of the default route, where its hosts are named by addresses of another one.
#[test]
fn nodes_are_known_by_the_interface_by_which_they_are_named() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::builder().hosts(2).second_interface().up();
    let site = Site::with(&GROUPS);
    // What one host sends to the other by its second interface is lost.
    let macs = ["02:00:0a:08:0f:c8", "02:00:0a:08:0f:c9"];
    let apart = format!("{{ {} . {}, {} . {} }}", macs[0], macs[1], macs[1], macs[0]);
    Output::of(lab.run("nft").args(["add", "element", "bridge", "lab", "apart", &apart])).expect_ok();

    // An address that a host does not have is named before anything is changed.
    let before = at_rest(lab.host(1));
    let file = "schema: 1\ndefaults: {passwordFile: password}\nhosts:\n\
                - {address: 10.8.14.200, roles: [etcd, control-plane, worker]}\n\
                - {address: 10.8.14.201, nodeAddress: 10.8.15.99, roles: [worker]}\n";
    std::fs::write(site.path("cluster.yaml"), file).expect("a file of the site");
    std::fs::write(site.path("password"), "111111\n").expect("a file of the site");
    let refused = site.run(&lab, &["cluster", "apply", "-f", "cluster.yaml"]);
    let wanted = "10.8.14.201: nodeAddress 10.8.15.99 is none of its addresses: 10.8.14.201, ";
    assert!(refused.code == Some(1) && refused.stderr.contains(wanted), "{refused:?}");
    assert_unchanged(lab.host(1), &before);

    let mut line = vec!["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list", HOSTS[0]];
    line.extend(["-create_k8s_cluster", "--master-host-list", HOSTS[0], "--node-host-list", HOSTS[0], HOSTS[1]]);
    site.run(&lab, &line).expect_ok();
    for (node, address) in [("host0", "10.8.14.200"), ("host1", "10.8.14.201")] {
        assert_eq!(node_addresses(&lab, node), address);
        let flannel = r"jsonpath='{.metadata.annotations.flannel\.alpha\.coreos\.com/public-ip}'";
        assert_eq!(eventually(&lab, 0, &format!("kubectl get node {node} -o {flannel}")), address);
    }
    answered_over(&lab, 1);
    site.changes_nothing(&lab, &line);
}
