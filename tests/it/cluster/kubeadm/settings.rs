//! What the site sets on the components of a cluster that kubeadm makes, as the running cluster shows it.

use crate::etcd::etcdctl;
use crate::lab::Lab;
use crate::site::Site;

/// Three control plane nodes, of which one is no worker, behind the load balancer of the host with etcd.
const FILE: &str = "\
schema: 1
defaults: {passwordFile: password}
hosts:
  - {address: 10.8.14.200, roles: [control-plane, worker]}
  - {address: 10.8.14.201, roles: [control-plane, worker]}
  - {address: 10.8.14.202, roles: [control-plane]}
  - {address: 10.8.14.203, roles: [etcd]}
kubernetes:
  apiEndpoint: 10.8.14.203:6443
  apiServer: {extraArgs: {profiling: 'false', etcd-servers: 'http://10.8.14.9:2379'}}
  controllerManager: {extraArgs: {profiling: 'false'}}
  kubelet: {config: {maxPods: 50, cgroupDriver: cgroupfs}}
  kubeProxy: {config: {metricsBindAddress: '127.0.0.1:10249'}}
  patches: patches
  auditPolicy: policy.yaml
  encryptSecrets: true
";
const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n";
const PATCH: &str = "metadata: {annotations: {example.com/site: proof}}\n";

pub(super) const APPLY: [&str; 4] = ["cluster", "apply", "-f", "cluster.yaml"];

pub(super) fn write(site: &Site) {
    std::fs::create_dir(site.path("patches")).expect("a folder of patches");
    for (name, text) in [
        ("password", "111111\n"),
        ("cluster.yaml", FILE),
        ("policy.yaml", POLICY),
        ("patches/kube-apiserver+strategic.yaml", PATCH),
    ] {
        std::fs::write(site.path(name), text).expect("a file of the site");
    }
}

/// A secret of the cluster is encrypted in etcd.
pub(super) fn keep_a_secret(lab: &Lab) {
    lab.host(0).sh("kubectl create secret generic proof --from-literal=word=a-secret-word");
    let kept = etcdctl(lab.host(3), "get /registry/secrets/default/proof --print-value-only");
    assert!(kept.contains("k8s:enc:secretbox:v1:key1:") && !kept.contains("a-secret-word"), "{kept}");
}

/// What was set counts on this control plane node.
#[track_caller]
pub(super) fn count_on(lab: &Lab, host: usize) {
    let here = lab.host(host);
    let api_server = here.sh("pgrep -af '^kube-apiserver '");
    assert!(api_server.contains("--profiling=false") && !api_server.contains("10.8.14.9"), "{api_server}");
    assert!(here.sh("pgrep -af '^kube-controller-manager '").contains("--profiling=false"));
    let name = format!("host{host}");
    let read = |what: &str| super::super::eventually(lab, host, what);
    assert_eq!(read(&format!("kubectl get node {name} -o jsonpath='{{.status.capacity.pods}}'")), "50");
    let proof = "-o jsonpath='{.metadata.annotations.example\\.com/site}'";
    assert_eq!(read(&format!("kubectl -n kube-system get pod kube-apiserver-{name} {proof}")), "proof");
    // Every API server has the key: each is asked by itself.
    let server = format!("--server https://10.8.14.20{host}:6443");
    let word = read(&format!("kubectl {server} get secret proof -o jsonpath='{{.data.word}}' | base64 -d"));
    assert_eq!(word, "a-secret-word");
    let log = "/var/log/kubernetes/audit/audit.log";
    read(&format!("grep -q '\"resource\":\"secrets\".*\"name\":\"proof\"' {log}"));
    let modes = here.sh("stat -c %a /etc/kubernetes/sunshine/*.yaml /etc/kubernetes/sunshine/patches/*");
    assert_eq!(modes.lines().collect::<Vec<_>>(), ["600"; 3], "{modes}");
}

/// The key is in one file of the control host.
pub(super) fn hide_the_key(site: &Site) {
    let written = site.written();
    let (path, key) = written.iter().find(|(path, _)| path.ends_with("secrets/encryption.key")).expect("the key");
    let key = key.trim_ascii_end();
    let shows = |bytes: &[u8]| bytes.windows(key.len()).any(|part| part == key);
    let others = written.iter().filter(|(other, bytes)| other != path && shows(bytes));
    assert_eq!(others.map(|(other, _)| other).collect::<Vec<_>>(), Vec::<&std::path::PathBuf>::new());
}

/// A change in the file is applied to one control plane node after another, and stays in it.
pub(super) fn change(lab: &Lab, site: &Site) {
    std::fs::write(
        site.path("cluster.yaml"),
        FILE.replace("profiling: 'false', etcd", "profiling: 'false', v: '2', etcd"),
    )
    .expect("a changed file");
    site.run(lab, &APPLY).expect_ok();
    for host in 0..3 {
        let api_server = lab.host(host).sh("pgrep -af '^kube-apiserver '");
        assert!(api_server.contains("--v=2"), "{api_server}");
    }
    site.changes_nothing(lab, &APPLY);
}
