//! What a file sets on Kubernetes' components: read, kept, shown, and refused by line.

use serde_json::json;

use super::super::*;
use super::{WHOLE, environment, folder, problems, read_in};
use crate::host::TargetDefaults;

const SET: &str = "\
kubernetes:
  apiServer: {extraArgs: {profiling: 'false'}}
  kubelet:
    config:
      maxPods: 50
      evictionHard: {memory.available: 100Mi}
  kubeProxy: {config: {mode: ipvs}}
  patches: patches
  auditPolicy: policy.yaml
  encryptSecrets: true
";

#[test]
fn what_the_site_sets_is_read_kept_and_shown() {
    let (_dir, root) = folder();
    std::fs::create_dir(root.join("patches")).unwrap();
    std::fs::write(root.join("patches/kube-apiserver1.yaml"), "spec: {}\n").unwrap();
    std::fs::write(root.join("patches/.kube-apiserver1.yaml.swp"), "an editor's").unwrap();
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n";
    std::fs::write(root.join("policy.yaml"), policy).unwrap();
    let described = read_in(&format!("{WHOLE}{SET}"), &root, &TargetDefaults::default()).unwrap();
    let set = described.spec.kubernetes.unwrap().settings.components;
    assert_eq!(set.api_server_args["profiling"], "false");
    assert_eq!(set.kubelet["evictionHard"], json!({"memory.available": "100Mi"}));
    assert_eq!((set.patches[0].name(), set.patches.len()), ("kube-apiserver1.yaml", 1));
    assert!(set.audit_policy.as_ref().unwrap().text == policy && set.encrypt_secrets);

    let environment = environment(&root);
    let mut cluster = crate::flow::kubernetes::Cluster::load(&environment).unwrap().unwrap();
    assert!(!serde_json::to_string(&cluster).unwrap().contains("components"), "earlier versions read it");
    cluster.settings.components = set.clone();
    cluster.save(&environment).unwrap();
    let shown = to_yaml(&stored(&environment).unwrap().unwrap());
    insta::assert_snapshot!(shown.split_once("kubernetes:\n").unwrap().1.replace(root.as_str(), "FOLDER"));
    // The key of the state is not there to be read.
    let again = read_in(&shown.replace("    keyFile: /k\n", ""), &root, &TargetDefaults::default()).unwrap();
    assert_eq!(again.spec.kubernetes.unwrap().settings.components, set);
}

#[test]
fn files_that_kubernetes_would_not_read_are_named_by_line() {
    let (_dir, root) = folder();
    for name in ["kube-apiserver.yml", "etcd.yaml", "kube-apiserver+json.yaml"] {
        std::fs::write(root.join(name), "a: 1\n").unwrap();
    }
    std::fs::create_dir(root.join("empty")).unwrap();
    let text = format!(
        "{WHOLE}kubernetes:\n  patches:\n  - kube-apiserver.yml\n  - etcd.yaml\n  - kube-apiserver+json.yaml\n  - missing.yaml\n  \
         - empty\n  auditPolicy: etcd.yaml\n  scheduler:\n    extraArgs: {{v: 4}}\n"
    );
    let error = read_in(&text, &root, &TargetDefaults::default()).unwrap_err().to_string().replace(root.as_str(), "F");
    let expected = [
        "cluster.yaml:9: kubernetes.patches[0]: F/kube-apiserver.yml: the name of a patch ends in .yaml or .json",
        "cluster.yaml:10: kubernetes.patches[1]: F/etcd.yaml: etcd is not made by kubeadm here",
        "cluster.yaml:11: kubernetes.patches[2]: F/kube-apiserver+json.yaml: line 1: a JSON patch is a list",
        "cluster.yaml:12: kubernetes.patches[3]: F/missing.yaml: no such file",
        "cluster.yaml:13: kubernetes.patches[4]: F/empty: there is no patch in it",
        "cluster.yaml:14: kubernetes.auditPolicy: F/etcd.yaml: it is no audit policy",
        r#"cluster.yaml:16: kubernetes.scheduler.extraArgs.v: "4" is not text; put it in quotes"#,
    ];
    let found: Vec<&str> = error.lines().collect();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, wanted) in found.iter().zip(expected) {
        assert!(found.starts_with(wanted), "{found}");
    }
    assert!(problems(&format!("{WHOLE}kubernetes: {{kubelet: {{config: 5}}}}\n"))[0].contains("is not a map"));
}
