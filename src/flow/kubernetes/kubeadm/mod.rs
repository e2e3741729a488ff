//! The components of a cluster that kubeadm makes (Kubernetes documentation, "kubeadm": `init`, `join`, "Customizing components
//! with the kubeadm API").

/// The head of a script that runs kubeadm with the configuration on standard input (`$f`). A kubeadm that a killed run has
/// begun goes on without it: it is waited for, at most nine minutes. The lock is that of kubeadm's own file, and leaves none.
macro_rules! exclusive {
    ($body:literal) => {
        concat!(
            r#"set -eu
umask 077
export HOME=/run/sunshine-installer
mkdir -p "$HOME"
f=$(mktemp) && trap 'rm -f "$f"' EXIT && cat >"$f"
exec 9<"$(command -v kubeadm)"
flock -w 540 9 || { echo 'kubeadm of an earlier run is still at work on this host' >&2; exit 75; }
run() {
  said=$(kubeadm "$@" 2>&1) && return 0
  s=$?
  printf '%s\n' "$said" | grep -v '^[[:space:]]*$' | tail -n 25 >&2
  journalctl -u kubelet -n 10 --no-pager -o cat >&2 2>/dev/null || :
  exit $s
}
"#,
            $body
        )
    };
}

mod certificates;
mod config;
mod etcd_list;
mod files;
mod findings;
#[cfg(any(test, feature = "fuzz"))]
pub(super) mod fuzz;
mod init;
mod join;
mod ours;
mod preflight;
mod settings;
mod site;
mod site_files;
mod token;

pub(super) use certificates::Certificates;
pub(super) use etcd_list::{EtcdConfiguration, EtcdServers, configured};
pub(super) use files::{ApiPort, Authorities, KubeletUnit, NodeReady};
pub(super) use init::Init;
pub(super) use join::Join;
pub(super) use preflight::{Newcomer, preflight};
pub(super) use settings::{
    ControlPlaneSettings, EncryptedSecrets, Former, KeyOfSecrets, KubeProxySettings, KubeletSettings,
    PublishedSettings, can_read, published, settled, writes,
};
pub(super) use site::overruled;
pub(super) use site_files::{SiteFiles, written};

/// Where containerd listens.
const SOCKET: &str = "unix:///run/containerd/containerd.sock";
/// The kubelet's kubeconfig, which kubeadm writes.
pub(super) const KUBELET_CONF: &str = "/etc/kubernetes/kubelet.conf";
