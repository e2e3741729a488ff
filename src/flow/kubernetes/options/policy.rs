//! Who may do what before there are roles: the policy file of ABAC (Kubernetes documentation, "Using ABAC Authorization").
//!
//! It names the users and groups in the cluster's own certificates, whose organizations are groups to the API server from 1.4 on.
//! Service accounts have no right at all: whatever a pod is given could be used by every pod of its namespace. A rule knows
//! resources and whether they are only read, no verbs and no subresources; what is written is what upstream's roles for the same
//! users let them write in 1.5 and 1.9.

use serde_json::{Value, json};

/// A user, or a group of users.
#[derive(Clone, Copy)]
enum Subject {
    User(&'static str),
    Group(&'static str),
}

use Subject::{Group, User};

/// All of the API.
const ALL: [(&str, &str); 4] = [("namespace", "*"), ("apiGroup", "*"), ("resource", "*"), ("nonResourcePath", "*")];

/// The file: one JSON object a line.
pub(in super::super) fn policy() -> String {
    let proxy = User("system:kube-proxy");
    let kubelets = Group("system:nodes");
    let scheduler = User("system:kube-scheduler");
    let mut rules = vec![
        rule(Group("system:masters"), false, &ALL),
        rule(User("system:kube-controller-manager"), false, &ALL),
        rule(scheduler, true, &ALL),
        rule(kubelets, true, &ALL),
        rule(proxy, true, &[("nonResourcePath", "*")]),
        // The list of the cluster's hosts.
        rule(proxy, true, &[("namespace", "kube-public"), ("resource", "configmaps")]),
    ];
    for resource in ["services", "endpoints", "nodes"] {
        rules.push(rule(proxy, true, &[("namespace", "*"), ("resource", resource)]));
    }
    for (subject, resources) in [
        (scheduler, &["pods", "bindings", "endpoints", "events"][..]),
        (kubelets, &["nodes", "pods", "events"]),
        (proxy, &["events"]),
    ] {
        rules.extend(resources.iter().map(|name| rule(subject, false, &[("namespace", "*"), ("resource", name)])));
    }
    let rules: Vec<String> = rules.iter().map(|rule| format!("{rule}\n")).collect();
    rules.concat()
}

fn rule(subject: Subject, readonly: bool, matches: &[(&str, &str)]) -> Value {
    let mut spec = match subject {
        User(name) => json!({"user": name}),
        Group(name) => json!({"group": name}),
    };
    for (property, value) in matches {
        spec[*property] = (*value).into();
    }
    if readonly {
        spec["readonly"] = true.into();
    }
    json!({"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": spec})
}
