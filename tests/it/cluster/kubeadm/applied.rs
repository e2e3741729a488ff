//! Settings of components that change in the file of a cluster that stands.

use crate::etcd::etcdctl;
use crate::lab::Lab;
use crate::site::Site;

use super::super::eventually;
use super::settings::APPLY;
use super::{GROUPS, HOSTS};

const HEAD: &str = "\
schema: 1
defaults: {passwordFile: password}
hosts:
  - {address: 10.8.14.200, roles: [etcd, control-plane, worker]}
  - {address: 10.8.14.201, roles: [worker]}
";
/// What kubeadm writes otherwise than a file says it, and options that are to go again.
const FIRST: &str = "\
kubernetes:
  apiServer: {extraArgs: {v: '3'}}
  kubelet: {config: {nodeStatusUpdateFrequency: 90s, protectKernelDefaults: false}}
";
/// One option of each component, and all else that a file may set.
const SECOND: &str = "\
kubernetes:
  apiServer: {extraArgs: {profiling: 'false'}}
  controllerManager: {extraArgs: {profiling: 'false'}}
  scheduler: {extraArgs: {profiling: 'false'}}
  kubelet: {config: {maxPods: 60}}
  kubeProxy: {config: {metricsBindAddress: '127.0.0.1:10349'}}
  patches: patches
  auditPolicy: policy.yaml
  encryptSecrets: true
";
const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: LEVEL}]\n";
const PATCH: &str = "metadata: {annotations: {example.com/site: proof}}\n";

fn write(site: &Site, name: &str, text: &str) {
    std::fs::write(site.path(name), text).expect("a file of the site");
}

fn describe(site: &Site, kubernetes: &str) {
    write(site, "cluster.yaml", &format!("{HEAD}{kubernetes}"));
}

/// The command line of a program of the control plane, once it runs.
fn process(lab: &Lab, program: &str) -> String {
    eventually(lab, 0, &format!("pgrep -af '^{program} '"))
}

fn max_pods(lab: &Lab, host: usize) -> String {
    let configz = format!("kubectl get --raw /api/v1/nodes/host{host}/proxy/configz");
    eventually(lab, 0, &format!("{configz} | grep -o '\"maxPods\":[0-9]*'")).trim().to_owned()
}

fn kubeadm_config(lab: &Lab) -> String {
    lab.host(0).sh("kubectl -n kube-system get configmap kubeadm-config -o yaml")
}

/// Every setting is at work.
fn are_at_work(lab: &Lab) {
    for program in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        let line = process(lab, program);
        assert!(line.contains("--profiling=false") && !line.contains("--v=3"), "{line}");
    }
    for host in [0, 1] {
        assert_eq!(max_pods(lab, host), "\"maxPods\":60");
        eventually(lab, host, "curl -fsS http://127.0.0.1:10349/healthz || curl -fsS http://127.0.0.1:10349/metrics");
        assert!(lab.host(host).sh("cat /var/lib/kubelet/config.yaml").contains("nodeStatusUpdateFrequency: 0s"));
    }
    let proof = "-o jsonpath='{.metadata.annotations.example\\.com/site}'";
    let mirror = format!("[ \"$(kubectl -n kube-system get pod kube-apiserver-host0 {proof})\" = proof ]");
    eventually(lab, 0, &mirror);
    eventually(lab, 0, "grep -q '\"level\":\"Metadata\"' /var/log/kubernetes/audit/audit.log");
    let secret = "kubectl get secret before -o jsonpath='{.data.word}' | base64 -d";
    assert_eq!(eventually(lab, 0, secret), "a-secret-word");
    let kept = etcdctl(lab.host(0), "get /registry/secrets/default/before --print-value-only");
    assert!(kept.contains("k8s:enc:secretbox:v1:key1:") && !kept.contains("a-secret-word"), "{kept}");
    let config = kubeadm_config(lab);
    assert!(
        config.contains("profiling") && config.contains("audit-policy-file") && !config.contains("name: v\n"),
        "{config}"
    );
}

/// A run that is killed as soon as the API server's new manifest is there.
fn killed(lab: &Lab, site: &Site) {
    let mut begun = false;
    let code = site.watch(lab, &APPLY, |event| {
        if event["event"] == "step_started" && event["step"] == "10.8.14.200/control-plane.settings" {
            begun = true;
            eventually(lab, 0, "grep -q -e --profiling=false /etc/kubernetes/manifests/kube-apiserver.yaml");
        }
        !begun
    });
    assert!(begun && code.is_none(), "{code:?}");
}

/// Neither an unknown option with a wrong policy nor a wrong field takes a program away.
fn what_does_not_work_is_put_back(lab: &Lab, site: &Site) {
    let files = "cd /etc/kubernetes && sha256sum manifests/* sunshine/audit-policy.yaml /var/lib/kubelet/config.yaml";
    let before = lab.host(0).sh(files);
    let config = kubeadm_config(lab);
    write(site, "policy.yaml", &POLICY.replace("LEVEL", "NoSuchLevel"));
    describe(site, &SECOND.replace("apiServer: {extraArgs: {", "apiServer: {extraArgs: {no-such-option: 'x', "));
    let refused = site.run(lab, &APPLY);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("kube-apiserver did not come back with the new settings"), "{}", refused.stderr);
    assert!(refused.stderr.contains("unknown flag: --no-such-option"), "{}", refused.stderr);
    eventually(lab, 0, "kubectl get --raw /readyz");

    write(site, "policy.yaml", &POLICY.replace("LEVEL", "Metadata"));
    describe(site, &SECOND.replace("maxPods: 60", "maxPods: 60, cpuManagerPolicy: no-such-policy"));
    let refused = site.run(lab, &APPLY);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("the kubelet did not come back with the new settings"), "{}", refused.stderr);
    assert!(refused.stderr.contains("no-such-policy"), "{}", refused.stderr);
    eventually(lab, 0, "curl -fsS http://127.0.0.1:10248/healthz");

    describe(site, &SECOND.replace("127.0.0.1:10349", "nonsense"));
    let refused = site.run(lab, &APPLY);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("kube-proxy") && refused.stderr.contains("nonsense"), "{}", refused.stderr);

    assert_eq!(lab.host(0).sh(files), before);
    let data = |config: &str| config.split("kind: ConfigMap").next().unwrap_or_default().to_owned();
    assert_eq!(data(&kubeadm_config(lab)), data(&config), "hosts that join get what works");
    let kubelets = lab.host(0).sh("kubectl -n kube-system get configmap kubelet-config -o yaml");
    assert!(!kubelets.contains("no-such-policy"), "{kubelets}");
    are_at_work(lab);
}

#[test]
fn settings_that_change_are_applied_to_a_cluster_that_stands_over_a_killed_run() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&GROUPS);
    std::fs::create_dir(site.path("patches")).expect("a folder of patches");
    write(&site, "password", "111111\n");
    write(&site, "policy.yaml", &POLICY.replace("LEVEL", "Metadata"));
    write(&site, "patches/kube-apiserver+strategic.yaml", PATCH);
    describe(&site, FIRST);
    site.run(&lab, &APPLY).expect_ok();
    assert!(process(&lab, "kube-apiserver").contains("--v=3"));
    site.changes_nothing(&lab, &APPLY);

    // What others set and the file does not speak of stays.
    let edit = "kubectl -n kube-system get configmap kubelet-config -o yaml | sed 's/^    kind: Kubelet/    maxOpenFiles: 1000001\\n&/' | kubectl replace -f -";
    lab.host(0).sh(edit);
    lab.host(0).sh("kubectl create secret generic before --from-literal=word=a-secret-word");
    lab.host(0).sh("kubectl run stays --image=registry.k8s.io/pause:3.10.2 --image-pull-policy=Never");
    eventually(&lab, 0, "kubectl wait --for=condition=Ready --timeout=5s pod/stays");
    describe(&site, SECOND);
    let planned = site.run(&lab, &[&APPLY[..], &["--dry-run"]].concat()).expect_ok();
    let planned = planned.stdout + &planned.stderr;
    for change in [
        "kube-apiserver: --profiling: not set -> false",
        "kube-apiserver: --v: 3 -> not set",
        "kube-apiserver: --encryption-provider-config: not set -> ",
        "kube-controller-manager: --profiling: not set -> false",
        "kube-scheduler: --profiling: not set -> false",
        "kubelet: nodeStatusUpdateFrequency: 1m30s -> not set",
        "kube-proxy: metricsBindAddress: ",
        "write all secrets anew",
    ] {
        assert!(planned.contains(change), "{change}\n{planned}");
    }
    assert_eq!(planned.matches("kubelet: maxPods: not set -> 60").count(), 3, "two hosts and the cluster: {planned}");
    assert!(process(&lab, "kube-apiserver").contains("--v=3"), "a dry run changes nothing");

    killed(&lab, &site);
    site.run(&lab, &APPLY).expect_ok();
    are_at_work(&lab);
    let stays = lab
        .host(0)
        .sh("kubectl get pod stays -o jsonpath='{.status.phase} {.status.containerStatuses[0].restartCount}'");
    assert_eq!(stays, "Running 0");
    assert!(
        lab.host(0).sh("kubectl -n kube-system get configmap kubelet-config -o yaml").contains("maxOpenFiles: 1000001")
    );
    site.changes_nothing(&lab, &APPLY);
    let line = ["cluster", "create", "--master", HOSTS[0], "--node", HOSTS[0], HOSTS[1]];
    site.changes_nothing(&lab, &line);

    what_does_not_work_is_put_back(&lab, &site);

    // What the file leaves out goes, but for what secrets are read with.
    describe(&site, "");
    let refused = site.run(&lab, &APPLY);
    assert!(refused.code == Some(2) && refused.stderr.contains("encryptSecrets cannot be switched off"), "{refused:?}");
    write(&site, "policy.yaml", &POLICY.replace("LEVEL", "Request"));
    describe(&site, "kubernetes: {auditPolicy: policy.yaml, encryptSecrets: true}\n");
    site.run(&lab, &APPLY).expect_ok();
    lab.host(0).sh("kubectl create configmap asked");
    eventually(&lab, 0, "grep -q '\"level\":\"Request\"' /var/log/kubernetes/audit/audit.log");
    let line = process(&lab, "kube-apiserver");
    assert!(
        !line.contains("profiling")
            && line.contains("--audit-policy-file=")
            && line.contains("--encryption-provider-config="),
        "{line}"
    );
    assert_eq!(max_pods(&lab, 1), "\"maxPods\":110");
    assert!(!kubeadm_config(&lab).contains("profiling"));
    site.changes_nothing(&lab, &APPLY);
}
