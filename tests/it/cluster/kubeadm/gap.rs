//! Clients that write and read all the time: for how long each had no answer, and whether what was acknowledged is there.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::lab::Lab;

use super::super::eventually;

/// After what is lost is lost.
const AFTER: Duration = Duration::from_secs(20);

/// Reads a ConfigMap and writes it, again and again, each by a connection of its own, and notes when both were answered. What is
/// read must be no older than the last write that was acknowledged; a write that an API server takes late is refused, for it
/// names the version that was read. `$1` is the ConfigMap's address, `$2` curl's configuration file, `$3` seconds in between.
const LOOP: &str = r#"
ask() { curl -fsS -m 1 -K "$config" "$@" 2>>errors; }
map=$1 config=$2 pause=$3 n=0 acknowledged=0
while :; do
  n=$((n + 1))
  sleep "$pause"
  is=$(ask "$map") || continue
  version=$(printf '%s\n' "$is" | sed -n 's/.*"resourceVersion": *"\([0-9]*\)".*/\1/p' | head -n 1)
  value=$(printf '%s\n' "$is" | sed -n 's/.*"n": *"\([0-9]*\)".*/\1/p')
  [ "${value:-0}" -ge "$acknowledged" ] || echo "$acknowledged ${value:-none}" >>lost
  ask -o /dev/null -X PATCH -H 'Content-Type: application/merge-patch+json' \
    -d "{\"metadata\":{\"resourceVersion\":\"$version\"},\"data\":{\"n\":\"$n\"}}" "$map" || continue
  acknowledged=$n
  date +%s%3N >>answered
done
"#;

/// A client on a host, which calls the endpoint, and one in a pod there, which calls the service `kubernetes`.
pub(crate) struct Clients<'a> {
    lab: &'a Lab,
    host: usize,
}

const POD: &str = "kubectl exec gap -- sh -c";

/// The index of a control plane node that answers.
fn alive(lab: &Lab) -> usize {
    let answers = |host: &usize| lab.host(*host).exec("kubectl --request-timeout=5s get --raw /readyz").ok();
    (0..lab.hosts().len()).find(answers).expect("an API server")
}

impl<'a> Clients<'a> {
    /// On this host, a node that is no control plane node.
    pub(crate) fn begin(lab: &'a Lab, host: usize, server: &str) -> Self {
        Self::begin_every(lab, host, server, "0.05")
    }

    /// The same with so many seconds between two attempts.
    pub(crate) fn begin_every(lab: &'a Lab, host: usize, server: &str, pause: &str) -> Self {
        let clients = Self { lab, host };
        let config = lab.host(alive(lab)).sh("kubectl config view --raw --flatten -o json");
        let config: Value = serde_json::from_str(&config).expect("a kubeconfig");
        lab.host(host).sh("rm -rf /run/gap && mkdir -m 0700 /run/gap");
        let user = &config["users"][0]["user"];
        let ca = &config["clusters"][0]["cluster"]["certificate-authority-data"];
        let files = [("cacert", ca), ("cert", &user["client-certificate-data"]), ("key", &user["client-key-data"])];
        for (name, data) in files {
            let data = data.as_str().expect("data of a kubeconfig");
            lab.host(host)
                .sh(&format!("cd /run/gap; echo {data} | base64 -d >{name}; echo '{name} = {name}' >>config"));
        }
        lab.host(host).sh(&format!("cat >/run/gap/loop <<'END'\n{LOOP}END"));
        clients.pod(pause);
        let map = format!("{server}/api/v1/namespaces/default/configmaps/gap-host");
        lab.host(host).sh(&format!(
            "systemd-run -q --collect --unit=gap --working-directory=/run/gap sh /run/gap/loop {map} config {pause}"
        ));
        eventually(lab, host, "[ \"$(wc -l </run/gap/answered)\" -gt 20 ]");
        eventually(lab, alive(lab), &format!("[ \"$({POD} 'wc -l </tmp/answered')\" -gt 20 ]"));
        clients
    }

    /// The pod, the ConfigMaps, and the leave to write them.
    fn pod(&self, pause: &str) {
        let node = format!("host{}", self.host);
        let image = self.lab.host(self.host).sh("ctr -n k8s.io images list -q 2>/dev/null | grep '/agnhost:[^@]*$'");
        let own = "/var/run/secrets/kubernetes.io/serviceaccount";
        let begin = format!(
            "cd /tmp; printf 'cacert = {own}/ca.crt\\nheader = \"Authorization: Bearer %s\"\\n' \"$(cat {own}/token)\" >config; \
             sh -c \"$LOOP\" loop https://$KUBERNETES_SERVICE_HOST/api/v1/namespaces/default/configmaps/gap-pod config {pause}"
        );
        let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"n": "0"}});
        let group = "rbac.authorization.k8s.io";
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            map("gap-host"), map("gap-pod"),
            {"apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": "gap"},
             "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "edit"},
             "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}]},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gap"}, "spec": {
                "nodeName": node, "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "gap", "image": image.trim(), "command": ["sh", "-c", begin],
                                "env": [{"name": "LOOP", "value": LOOP}]}],
            }},
        ]});
        let at = self.lab.host(alive(self.lab));
        at.sh(&format!("kubectl apply -f - <<'END'\n{objects}\nEND"));
        at.sh("kubectl wait --for=condition=Ready pod/gap --timeout=60s");
    }

    /// Ends them, prints the longest time that each had no answer, and demands that nothing acknowledged is lost.
    #[allow(clippy::print_stderr, reason = "what was measured")]
    pub(crate) fn end(self, what: &str) {
        sleep(AFTER);
        let lab = self.lab;
        let at = lab.host(alive(lab));
        let of_pod = |file: &str| at.sh(&format!("{POD} 'cat /tmp/{file} 2>/dev/null || :'"));
        let of_host = |file: &str| lab.host(self.host).sh(&format!("cat /run/gap/{file} 2>/dev/null || :"));
        let (pod, host) = (of_pod("answered"), of_host("answered"));
        let now = lab.host(self.host).sh("date +%s%3N");
        let longest = |answered: &str| longest(&format!("{answered}\n{now}"));
        eprintln!("{what}: without an answer {} by the endpoint, {} by the service", longest(&host), longest(&pod));
        assert_eq!((of_host("lost"), of_pod("lost")), (String::new(), String::new()), "acknowledged, and read older");
        lab.host(self.host).sh("systemctl stop gap");
        let all = "pod/gap configmap/gap-host configmap/gap-pod rolebinding/gap";
        eventually(lab, alive(lab), &format!("kubectl delete --ignore-not-found {all} --wait=true"));
    }
}

/// The longest time between two of these, and how many they are.
fn longest(answered: &str) -> String {
    let times: Vec<u64> = answered.lines().filter_map(|line| line.parse().ok()).collect();
    let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    format!("{gap} ms (of {} answers)", times.len())
}

/// Kills a host's API server, which the kubelet starts again.
pub(crate) fn api_server_killed(lab: &Lab, host: usize) {
    lab.host(host).sh("pkill -KILL -x kube-apiserver");
}
