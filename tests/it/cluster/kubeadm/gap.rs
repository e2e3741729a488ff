//! A client that writes and reads all the time, and for how long it had no answer.

use std::thread::sleep;
use std::time::Duration;

use crate::lab::Lab;

/// After what is lost is lost.
const AFTER: Duration = Duration::from_secs(20);

/// Writes a ConfigMap and reads it, every 50 ms, each by a connection of its own, and prints when both were answered.
const LOOP: &str = r#"cd /run/gap
map=$1/api/v1/namespaces/default/configmaps/gap
ask() { curl -fsS -m 1 --cacert ca --cert cert --key key "$@" 2>>errors; }
n=0
while :; do
  n=$((n + 1))
  ask -o written -X PATCH -H 'Content-Type: application/merge-patch+json' -d "{\"data\":{\"n\":\"$n\"}}" "$map" &&
    ask "$map" | grep -q "\"n\": *\"$n\"" && date +%s%3N >>answered
  sleep 0.05
done
"#;

/// A client on a host.
pub(crate) struct Client<'a> {
    lab: &'a Lab,
    host: usize,
}

impl<'a> Client<'a> {
    /// On this host, with the administrator's certificate of the first control plane node that answers.
    pub(crate) fn begin(lab: &'a Lab, host: usize, server: &str) -> Self {
        let config = lab.hosts().iter().map(|h| h.exec("kubectl config view --raw --flatten -o json"));
        let config = config.filter(|output| output.ok()).map(|output| output.stdout);
        let config = config.filter_map(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
        let config =
            config.into_iter().find(|config| config["users"].is_array()).expect("an administrator's kubeconfig");
        lab.host(host).sh("rm -rf /run/gap && mkdir -m 0700 /run/gap");
        let user = &config["users"][0]["user"];
        let ca = &config["clusters"][0]["cluster"]["certificate-authority-data"];
        for (name, data) in [("ca", ca), ("cert", &user["client-certificate-data"]), ("key", &user["client-key-data"])]
        {
            let data = data.as_str().expect("data of a kubeconfig");
            lab.host(host).sh(&format!("echo {data} | base64 -d >/run/gap/{name}"));
        }
        lab.host(host).sh(&format!("cat >/run/gap/loop <<'END'\n{LOOP}END"));
        let map = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"gap"},"data":{}}"#;
        lab.host(host).exec(&format!(
            "cd /run/gap; curl -sS -m 5 --cacert ca --cert cert --key key -H 'Content-Type: application/json' -d '{map}' \
             {server}/api/v1/namespaces/default/configmaps"
        ));
        lab.host(host).sh(&format!("systemd-run -q --collect --unit=gap sh /run/gap/loop {server}"));
        super::super::eventually(lab, host, "[ \"$(wc -l </run/gap/answered)\" -gt 20 ]");
        Self { lab, host }
    }

    /// Ends it, and prints the longest time between two answers.
    pub(crate) fn longest_gap(self, what: &str) {
        sleep(AFTER);
        self.lab.host(self.host).sh("systemctl stop gap");
        let longest = "awk 'NR > 1 && $1 - last > gap {gap = $1 - last} {last = $1} END {print gap + 0, NR}'";
        let measured = self.lab.host(self.host).sh(&format!("{longest} /run/gap/answered"));
        let (gap, answers) = measured.split_once(' ').expect("two numbers");
        println!("{what}: {gap} ms without an answer, of {answers} answers");
    }
}

/// Kills a host's API server, which the kubelet starts again.
pub(crate) fn api_server_killed(lab: &Lab, host: usize) {
    lab.host(host).sh("pkill -KILL -x kube-apiserver");
}
