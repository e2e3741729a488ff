//! The options and fields of Kubernetes' components that stay this product's or kubeadm's own, each with what would not work
//! otherwise. Whatever is not here is the site's to set.

use serde_json::Value;

/// An option, or a field by its path (`authentication.x509.clientCAFile`).
pub(super) struct Ours {
    pub path: &'static str,
    pub why: &'static str,
    /// Whether a value would do harm.
    harms: fn(&Value) -> bool,
}

impl Ours {
    /// Whether the site's value is ignored.
    pub(super) fn overrules(&self, value: &Value) -> bool {
        (self.harms)(value)
    }

    /// The path as RFC 6901 has it.
    pub(super) fn pointer(&self) -> String {
        format!("/{}", self.path.replace('.', "/"))
    }
}

/// Whatever the value is.
const fn always(path: &'static str, why: &'static str) -> Ours {
    Ours { path, why, harms: |_| true }
}

const fn when(path: &'static str, why: &'static str, harms: fn(&Value) -> bool) -> Ours {
    Ours { path, why, harms }
}

fn is_false(value: &Value) -> bool {
    value == "false" || *value == Value::Bool(false)
}

/// A list in one text that has not all of these words.
fn lacks(value: &Value, words: &[&str]) -> bool {
    let list: Vec<&str> = value.as_str().unwrap_or_default().split(',').map(str::trim).collect();
    words.iter().any(|word| !list.contains(word))
}

const OWN_CERTIFICATE: &str = "nodes and administrators know the cluster by the authority of the environment";
const ETCD: &str = "the cluster's data is in the environment's etcd, which knows the API servers by their certificate";
const AGGREGATION: &str = "kubeadm makes what API servers prove themselves with to extensions";
const TOKENS: &str = "pods' tokens must be those that every control plane node signs and accepts";
const PROBED: &str = "the kubelet probes this port, and would restart the pod without end";
const KUBECONFIG: &str = "kubeadm writes the file by which it reaches the API";
const SERVICES: &str = "kubernetes.serviceCIDR sets it, for certificates and DNS too";
const PODS: &str = "kubernetes.podCIDR sets it, for the pods' network too";
const LEADER: &str = "with several control plane nodes each would work against the others";

pub(super) const API_SERVER: &[Ours] = &[
    always("advertise-address", "each control plane node has its own"),
    always("allow-privileged", "kube-proxy and the pods' network need it"),
    when("anonymous-auth", "the kubelet's probes and hosts that join ask without a certificate", is_false),
    when("authorization-mode", "without Node and RBAC neither nodes nor kubeadm's own objects work", |value| {
        lacks(value, &["Node", "RBAC"])
    }),
    always("bind-address", "nodes reach the API by the address of each control plane node"),
    always("client-ca-file", OWN_CERTIFICATE),
    always("enable-bootstrap-token-auth", "hosts join by such tokens"),
    always("etcd-cafile", ETCD),
    always("etcd-certfile", ETCD),
    always("etcd-keyfile", ETCD),
    always("etcd-prefix", ETCD),
    always("etcd-servers", ETCD),
    always("kubelet-certificate-authority", OWN_CERTIFICATE),
    always("kubelet-client-certificate", OWN_CERTIFICATE),
    always("kubelet-client-key", OWN_CERTIFICATE),
    always("proxy-client-cert-file", AGGREGATION),
    always("proxy-client-key-file", AGGREGATION),
    always("requestheader-client-ca-file", AGGREGATION),
    always("secure-port", "nodes, load balancers and firewalld know the API by port 6443"),
    always("service-account-key-file", TOKENS),
    always("service-account-signing-key-file", TOKENS),
    always("service-cluster-ip-range", SERVICES),
    always("tls-cert-file", OWN_CERTIFICATE),
    always("tls-private-key-file", OWN_CERTIFICATE),
];

pub(super) const CONTROLLER_MANAGER: &[Ours] = &[
    always("allocate-node-cidrs", PODS),
    always("authentication-kubeconfig", KUBECONFIG),
    always("authorization-kubeconfig", KUBECONFIG),
    always("client-ca-file", OWN_CERTIFICATE),
    always("cluster-cidr", PODS),
    always("cluster-signing-cert-file", OWN_CERTIFICATE),
    always("cluster-signing-key-file", OWN_CERTIFICATE),
    when("controllers", "it needs `*`, and bootstrapsigner, by which hosts join", |value| {
        lacks(value, &["*", "bootstrapsigner"])
    }),
    always("kubeconfig", KUBECONFIG),
    when("leader-elect", LEADER, is_false),
    always("requestheader-client-ca-file", AGGREGATION),
    always("root-ca-file", OWN_CERTIFICATE),
    always("secure-port", PROBED),
    always("service-account-private-key-file", TOKENS),
    always("service-cluster-ip-range", SERVICES),
    when("use-service-account-credentials", "kubeadm's roles give each controller an account of its own", is_false),
];

pub(super) const SCHEDULER: &[Ours] = &[
    always("authentication-kubeconfig", KUBECONFIG),
    always("authorization-kubeconfig", KUBECONFIG),
    always("kubeconfig", KUBECONFIG),
    when("leader-elect", LEADER, is_false),
    always("secure-port", PROBED),
];

const FORM: &str = "it says what the file is";

pub(super) const KUBELET: &[Ours] = &[
    always("apiVersion", FORM),
    always("kind", FORM),
    always("authentication.x509.clientCAFile", OWN_CERTIFICATE),
    always("cgroupDriver", "it must be containerd's, which follows from the host's cgroups"),
    always("clusterDNS", "it is the address of CoreDNS, which follows from kubernetes.serviceCIDR"),
    always("clusterDomain", "kubernetes.clusterDomain sets it, for CoreDNS too"),
    always("containerRuntimeEndpoint", "containerd listens where this product has it"),
    when("enableServer", "the API reaches logs and shells of pods by it", is_false),
    always("failCgroupV1", "hosts with cgroup v1 could not be nodes"),
    always("healthzPort", "kubeadm waits for an answer there"),
    always("port", "the API and firewalld know the kubelet by port 10250"),
    when("registerNode", "the host would never become a node", is_false),
    when(
        "serverTLSBootstrap",
        "the kubelet's certificate is of the environment's authority; another would wait for approval",
        |value| *value == Value::Bool(true),
    ),
    when("rotateCertificates", "the node would be lost when its first certificate ends, after a year", is_false),
    always("staticPodPath", "kubeadm puts the control plane there"),
    always("tlsCertFile", OWN_CERTIFICATE),
    always("tlsPrivateKeyFile", OWN_CERTIFICATE),
];

pub(super) const KUBE_PROXY: &[Ours] = &[
    always("apiVersion", FORM),
    always("kind", FORM),
    always("clientConnection.kubeconfig", KUBECONFIG),
    always("clusterCIDR", PODS),
    always("hostnameOverride", "every node would take itself for the same one"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_does_no_harm_is_the_sites() {
        let one = |all: &'static [Ours], path: &str| all.iter().find(|one| one.path == path).unwrap();
        let modes = one(API_SERVER, "authorization-mode");
        assert!(!modes.overrules(&"Node,RBAC,Webhook".into()) && modes.overrules(&"RBAC".into()));
        let controllers = one(CONTROLLER_MANAGER, "controllers");
        assert!(
            !controllers.overrules(&"*,bootstrapsigner,-nodelifecycle".into()) && controllers.overrules(&"*".into())
        );
        assert!(one(API_SERVER, "anonymous-auth").overrules(&"false".into()));
        assert!(!one(API_SERVER, "anonymous-auth").overrules(&"true".into()));
        assert!(one(KUBELET, "registerNode").overrules(&false.into()));
        assert_eq!(one(KUBELET, "authentication.x509.clientCAFile").pointer(), "/authentication/x509/clientCAFile");
    }
}
