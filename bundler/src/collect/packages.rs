//! Which packages a cluster by kubeadm needs: the one table that `collect` asks repositories by.

use serde::Serialize;

use super::args::Version;

/// A package of the table.
struct Entry {
    /// Its names; of several, the first that a repository has is taken.
    names: &'static [&'static str],
    /// It has Kubernetes' version.
    versioned: bool,
    /// Without it there is no cluster.
    needed: bool,
    /// What it is for.
    why: &'static str,
}

const fn kubernetes(names: &'static [&'static str], why: &'static str) -> Entry {
    Entry { names, versioned: true, needed: true, why }
}

const fn needed(names: &'static [&'static str], why: &'static str) -> Entry {
    Entry { names, versioned: false, needed: true, why }
}

/// What not every distribution has, and a bundle can do without.
const fn useful(names: &'static [&'static str], why: &'static str) -> Entry {
    Entry { names, versioned: false, needed: false, why }
}

/// What the deployer installs on hosts of a cluster by kubeadm, and what those packages call without requiring it.
const TABLE: [Entry; 15] = [
    kubernetes(&["kubeadm"], "it makes the cluster"),
    kubernetes(&["kubelet"], "it runs the pods"),
    kubernetes(&["kubectl"], "it administers the cluster"),
    needed(&["cri-tools"], "kubeadm asks the runtime by crictl"),
    needed(&["kubernetes-cni"], "pods get their network by its plugins"),
    needed(&["containerd.io", "containerd"], "it runs the containers"),
    needed(&["conntrack-tools"], "kube-proxy and kubeadm's preflight call conntrack"),
    useful(&["etcd"], "etcd runs outside of kubeadm's cluster; its package is made from its image"),
    useful(&["iptables-nft", "iptables"], "kube-proxy and network plugins call it"),
    useful(&["nftables"], "kube-proxy's nftables mode calls nft"),
    useful(&["ethtool"], "kubeadm's preflight looks for it"),
    useful(&["socat"], "kubectl port-forward calls it"),
    useful(&["chrony"], "it keeps the clock right"),
    useful(&["haproxy"], "it balances the API servers"),
    useful(&["keepalived"], "it holds the API's virtual address"),
];

/// A package that is wanted, as `resolve.py` reads it.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) names: Vec<String>,
    pub(super) needed: bool,
}

/// The table at this version, then the packages that `--package` names.
pub(super) fn wanted(version: &Version, more: &[String]) -> Vec<Wanted> {
    let of_table = TABLE.iter().map(|entry| Wanted {
        names: entry.names.iter().map(|name| with_version(entry, name, version)).collect(),
        needed: entry.needed,
    });
    of_table.chain(more.iter().map(|name| Wanted { names: vec![name.clone()], needed: true })).collect()
}

fn with_version(entry: &Entry, name: &str, version: &Version) -> String {
    if entry.versioned { format!("{name}-{version}") } else { name.to_owned() }
}

/// What a package of the table that no repository has would have been for.
pub(super) fn why(name: &str) -> Option<&'static str> {
    let first = name.split(' ').next().unwrap_or_default();
    TABLE.iter().find(|entry| entry.names.contains(&first)).map(|entry| entry.why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_own_packages_are_asked_for_by_version() {
        let wanted = wanted(&"1.36.3".parse().unwrap(), &["tcpdump".to_owned()]);
        assert_eq!(wanted[0], Wanted { names: vec!["kubeadm-1.36.3".into()], needed: true });
        assert_eq!(wanted[5].names, ["containerd.io", "containerd"]);
        assert_eq!(wanted.last(), Some(&Wanted { names: vec!["tcpdump".into()], needed: true }));
    }

    #[test]
    fn what_is_absent_is_explained_by_its_first_name() {
        assert_eq!(why("iptables-nft or iptables"), Some("kube-proxy and network plugins call it"));
        assert_eq!(why("tcpdump"), None);
    }
}
