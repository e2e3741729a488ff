//! What a host's kernel must do for pods: modules, sysctls, no swap. Kept over a restart by files, set now by a step.

use crate::flow::networks::Family;
use crate::plan::{Owned, Step, Work};
use crate::resource::{self, Brings, FileSpec, Files, Module};

use super::component::{Component, On};
use super::state::Cluster;

const MODULES: [Module; 2] = [
    Module { name: "overlay", brings: Brings::FileSystem("overlay") },
    Module { name: "br_netfilter", brings: Brings::Folder("/proc/sys/net/bridge") },
];
const SYSCTLS: [(&str, &str); 3] = [
    ("net.ipv4.ip_forward", "1"),
    ("net.bridge.bridge-nf-call-iptables", "1"),
    ("net.bridge.bridge-nf-call-ip6tables", "1"),
];

/// With pods of IPv6. It counts for the interfaces that come later, too.
const SYSCTL_OF_IPV6: (&str, &str) = ("net.ipv6.conf.all.forwarding", "1");

fn sysctls(cluster: &Cluster) -> Vec<(&'static str, &'static str)> {
    let six = cluster.settings.pods().has(Family::V6).then_some(SYSCTL_OF_IPV6);
    SYSCTLS.into_iter().chain(six).collect()
}

/// The kernel gets what the last file by name says (sysctl.d(5)): behind `99-sysctl.conf`, which is `/etc/sysctl.conf`, and whatever
/// else a site has there by number.
const SYSCTL_FILE: &str = "/etc/sysctl.d/zz-sunshine.conf";

/// The same of earlier versions, which `99-sysctl.conf` could undo. It does no harm, and goes with the role.
const EARLIER_FILE: &str = "/etc/sysctl.d/90-sunshine.conf";

/// The files that set it at every start of the host.
fn files(cluster: &Cluster) -> Files {
    let head = "# Written by sunshine-installer, for Kubernetes.\n";
    let modules: String = MODULES.iter().map(|m| format!("{}\n", m.name)).collect();
    let sysctls: String = sysctls(cluster).iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    Files(vec![
        FileSpec::text("/etc/modules-load.d/sunshine.conf", format!("{head}{modules}")),
        FileSpec::text(SYSCTL_FILE, format!("{head}{sysctls}")),
    ])
}

/// The component: modules, sysctls and swap of a host that runs pods.
pub(super) struct Kernel;

impl Component for Kernel {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.runs_pods()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let now = resource::Kernel { modules: MODULES.to_vec(), sysctls: sysctls(on.cluster), swap_off: true };
        vec![
            on.step("kernel.configure", "keep kernel modules and sysctls over a restart", files(on.cluster)),
            on.step("kernel.set", "set kernel modules and sysctls, switch swap off", now),
        ]
    }

    fn owns(&self, on: &On<'_>) -> Vec<Owned> {
        let earlier = Files(vec![FileSpec::text(EARLIER_FILE, String::new())]);
        self.steps(on).iter().flat_map(|step| step.work.owns()).chain(earlier.owns()).collect()
    }
}
