//! How kube-proxy makes services reachable on nodes: by `nftables` where all hosts' kernels and Kubernetes are ready for that, which a
//! kernel without the modules for iptables (RHEL 10) needs earlier; else by `iptables`. With kubeadm's packages it is one choice for the cluster, made when that is made (Kubernetes documentation,
//! "Virtual IPs and Service Proxies").

use crate::flow::problem::Problem;
use crate::host::{Facts, HostId};

const IPTABLES: &str = "iptables";
pub(super) const NFTABLES: &str = "nftables";

/// Linux from which on kube-proxy takes nftables, and Kubernetes 1.MINOR: beta, and for everybody.
const KERNEL: (u32, u32) = (5, 13);
const BETA: u32 = 31;
const GENERAL: u32 = 33;

/// The mode of a cluster of these hosts, where the site names none.
pub(super) fn choose<'a>(hosts: impl IntoIterator<Item = &'a Facts>, minor: u32) -> &'static str {
    let hosts: Vec<&Facts> = hosts.into_iter().collect();
    let is_needed = hosts.iter().any(|facts| facts.iptables_modules == Some(false));
    let is_ready = minor >= GENERAL || minor >= BETA && is_needed;
    if is_ready && hosts.iter().all(|facts| can_nftables(facts)) { NFTABLES } else { IPTABLES }
}

/// The mode of clusters that were made before it was kept.
pub(super) fn of_earlier(minor: u32) -> &'static str {
    if minor >= GENERAL { NFTABLES } else { IPTABLES }
}

/// A kernel whose version is not known may do.
fn can_nftables(facts: &Facts) -> bool {
    let mut numbers = facts.kernel.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    numbers.next().zip(numbers.next()).is_none_or(|version| version >= KERNEL)
}

/// Hosts on which kube-proxy cannot work in this mode.
pub(super) fn check<'a>(mode: &str, hosts: impl IntoIterator<Item = (&'a HostId, &'a Facts)>) -> Vec<Problem> {
    let problem = |(host, facts): (&HostId, &Facts)| {
        let (lacks, help) = match mode {
            IPTABLES if facts.iptables_modules == Some(false) => (
                format!("its kernel ({}) has no modules for it", facts.kernel),
                "install the kernel's modules for iptables there (kernel-modules-extra), or make the cluster of hosts with Linux 5.13 or \
                 later and with Kubernetes 1.31 or later, for mode nftables",
            ),
            NFTABLES if !can_nftables(facts) => (
                format!("its kernel ({}) is older than {}.{}", facts.kernel, KERNEL.0, KERNEL.1),
                "take a host with a newer kernel; or make the cluster with kubeProxy: {config: {mode: iptables}} in cluster.yaml",
            ),
            _ => return None,
        };
        let text = format!(
            "kube-proxy runs in mode {mode} in this cluster, and {lacks}: services will not be reached from it"
        );
        Some(Problem::warning(Some(host), text, Some(help.to_owned())))
    };
    hosts.into_iter().filter_map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(kernel: &str, iptables_modules: Option<bool>) -> Facts {
        Facts { kernel: kernel.to_owned(), iptables_modules, ..Facts::default() }
    }

    #[test]
    fn nftables_is_for_kernels_that_all_can_and_earlier_where_one_has_no_iptables() {
        let (el8, el9) = (host("4.18.0-553.el8.x86_64", Some(true)), host("5.14.0-503.el9.x86_64", Some(true)));
        let (el10, untold) = (host("6.12.0-55.el10.x86_64", Some(false)), host("6.1.0-9-amd64", None));
        for (hosts, minor, mode) in [
            (vec![&el9], 36, NFTABLES),
            (vec![&el9], 32, IPTABLES),
            (vec![&el8], 36, IPTABLES),
            (vec![&el10], 36, NFTABLES),
            (vec![&el10], 31, NFTABLES),
            (vec![&el10], 30, IPTABLES),
            (vec![&el9, &el10], 36, NFTABLES),
            (vec![&el8, &el10], 36, IPTABLES),
            (vec![&untold], 36, NFTABLES),
            (vec![&untold], 32, IPTABLES),
            (vec![&untold, &el8], 36, IPTABLES),
        ] {
            assert_eq!(choose(hosts.iter().copied(), minor), mode, "1.{minor} on {hosts:?}");
        }
        assert_eq!((of_earlier(32), of_earlier(33)), (IPTABLES, NFTABLES));
    }

    #[test]
    fn kernels_are_compared_by_their_numbers() {
        for (kernel, can) in
            [("5.13.0", true), ("5.9.1", false), ("4.18.0-553.el8", false), ("6.1-rc1", true), ("", true), ("5", true)]
        {
            assert_eq!(can_nftables(&host(kernel, None)), can, "{kernel}");
        }
    }

    #[test]
    fn hosts_that_cannot_are_named() {
        let names: [HostId; 2] = ["10.0.0.1".into(), "10.0.0.2".into()];
        let hosts = [host("4.18.0-553.el8.x86_64", Some(true)), host("6.12.0-55.el10.x86_64", Some(false))];
        let said =
            |mode: &str| -> Vec<String> { check(mode, names.iter().zip(&hosts)).iter().map(Problem::line).collect() };
        let of = "kube-proxy runs in mode";
        let end = "services will not be reached from it";
        assert_eq!(
            said(IPTABLES),
            [format!(
                "10.0.0.2: {of} iptables in this cluster, and its kernel (6.12.0-55.el10.x86_64) has no modules for it: {end}"
            )]
        );
        assert_eq!(
            said(NFTABLES),
            [format!(
                "10.0.0.1: {of} nftables in this cluster, and its kernel (4.18.0-553.el8.x86_64) is older than 5.13: {end}"
            )]
        );
        assert!(said("ipvs").is_empty());
    }
}
