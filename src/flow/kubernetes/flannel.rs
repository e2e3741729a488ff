//! The `flannel` network: flanneld of the distribution's package takes its subnet from etcd and tells Docker of it; pods
//! are on Docker's own bridge (flannel documentation, "configuration"; the package's `flanneld.service`).

use crate::flow::retry::{self, Patience};
use crate::flow::rpms;
use crate::host::{Command, HostError};
use crate::packages::Wanted;
use crate::plan::{Check, Cx, Step, StepError, Work};
use crate::resource::{FileSpec, Files, Reads};

use super::component::{On, unit};
use super::keys::ClusterKeys;
use super::pod_network::PodNetwork;
use super::state::Cluster;

pub(super) const PACKAGE: &str = "flannel";
const UNIT: &str = "flanneld";
/// Where flanneld of CentOS and Fedora looks.
const PREFIX: &str = "/atomic.io/network";
const PKI: &str = "/etc/kubernetes/pki";
const DROP_IN: &str = "/etc/systemd/system/docker.service.d/sunshine-flannel.conf";

pub(super) struct Flannel;

impl PodNetwork for Flannel {
    fn name(&self, _: &Cluster) -> String {
        "flannel".to_owned()
    }

    /// etcdctl comes with etcd.
    fn packages(&self) -> Vec<Wanted> {
        rpms::by_name([PACKAGE, "etcd"])
    }

    /// Pods are on Docker's own bridge, in flannel's subnet.
    fn uses_cni(&self) -> bool {
        false
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let cluster = on.cluster;
        let files = files(cluster, on.keys, on.machine().and_then(|machine| on.facts.interface_name(machine.address)));
        let reads = Reads::Files(files.clone());
        let key = Configure {
            endpoints: cluster.etcd.endpoints.join(","),
            tls: cluster.etcd.tls,
            pod_cidr: cluster.settings.pod_cidr.clone(),
        };
        let key = on.step("flannel.key", "set flannel's key in etcd", key);
        vec![
            on.step("flannel.configure", "configure flannel", files),
            key.after_if_present(on.waits.etcd.iter().cloned()),
            on.step("flannel.start", "start flannel", unit(UNIT, reads)).weight(2),
        ]
    }
}

/// What flanneld reads, and the drop-in that has Docker's bridge in flanneld's subnet.
pub(super) fn files(cluster: &Cluster, keys: &ClusterKeys, interface: Option<&str>) -> Files {
    let mut options = vec!["-ip-masq".to_owned()];
    options.extend(interface.map(|i| format!("-iface={i}")));
    let mut files = Vec::new();
    if let Some((ca, own)) = keys.flannel() {
        files.push(FileSpec::made(format!("{PKI}/flannel-etcd-ca.crt"), ca.cert()));
        files.push(FileSpec::made(format!("{PKI}/flannel-etcd.crt"), own.cert()));
        files.push(FileSpec::secret(format!("{PKI}/flannel-etcd.key"), own.key(), "root"));
        options.push(format!("-etcd-cafile={PKI}/flannel-etcd-ca.crt"));
        options.push(format!("-etcd-certfile={PKI}/flannel-etcd.crt"));
        options.push(format!("-etcd-keyfile={PKI}/flannel-etcd.key"));
    }
    files.push(FileSpec::text(
        "/etc/sysconfig/flanneld",
        format!(
            "# Written by sunshine-installer.\nFLANNEL_ETCD_ENDPOINTS=\"{}\"\nFLANNEL_ETCD_PREFIX=\"{PREFIX}\"\n\
             FLANNEL_OPTIONS=\"{}\"\n",
            cluster.etcd.endpoints.join(","),
            options.join(" ")
        ),
    ));
    files.push(FileSpec::text(DROP_IN, include_str!("docker-flannel.conf")));
    Files(files)
}

/// flannel's key in etcd holds the pods' network. Runs on a node, with flanneld's own certificate.
#[derive(Debug)]
struct Configure {
    endpoints: String,
    tls: bool,
    pod_cidr: String,
}

/// `$1` endpoints, `$2` whether TLS, `$3` the wanted value or nothing. flannel reads the key by etcd's version 2 API.
const KEY: &str = r#"set -eu
e() {
  if [ "$tls" = yes ]; then
    ETCDCTL_API=2 etcdctl --endpoints "$ends" --ca-file /etc/kubernetes/pki/flannel-etcd-ca.crt \
      --cert-file /etc/kubernetes/pki/flannel-etcd.crt --key-file /etc/kubernetes/pki/flannel-etcd.key "$@"
  else ETCDCTL_API=2 etcdctl --endpoints "$ends" "$@"; fi
}
ends=$1; tls=$2
if [ -n "$3" ]; then e set /atomic.io/network/config "$3"; else e get /atomic.io/network/config; fi"#;

impl Configure {
    fn value(&self) -> String {
        serde_json::json!({"Network": self.pod_cidr, "SubnetLen": 24, "Backend": {"Type": "vxlan"}}).to_string()
    }

    fn command(&self, value: &str) -> Command {
        let tls = if self.tls { "yes" } else { "no" };
        Command::script(KEY).args([self.endpoints.as_str(), tls, value]).label("etcdctl, flannel's key")
    }
}

impl Work for Configure {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let is = cx.host()?.run(&self.command(""))?;
        let same = is.ok() && is.text() == self.value();
        Ok(if same { Check::Satisfied } else { Check::Needed(vec![format!("set {PREFIX}/config in etcd")]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        match retry::run_ok(cx.host()?, &self.command(&self.value()), Patience::of_step(cx)) {
            Err(HostError::Failed { stderr, .. }) => Err(StepError::with_help(
                format!("flannel's key cannot be set: {}", stderr.trim()),
                "flannel needs etcd's version 2 API, which etcd 3.4 and 3.5 have switched off (ETCD_ENABLE_V2=true on every member) \
                 and 3.6 has no more, and an etcdctl on the nodes that speaks it; -cni direct needs neither",
            )),
            set => Ok(set.map(drop)?),
        }
    }

    fn verify(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let is = retry::run_ok(cx.host()?, &self.command(""), Patience::of_step(cx))?.text();
        if is == self.value() {
            Ok(())
        } else {
            Err(StepError::NotVerified(vec![format!("set {PREFIX}/config in etcd")]))
        }
    }
}
