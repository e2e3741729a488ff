//! What a host's kernel must do for pods: modules, sysctls, no swap. Kept over a restart by files, set now by a step.

use crate::host::Command;
use crate::plan::work::{FileSpec, Files};
use crate::plan::{Check, Cx, Step, StepError, Work};

use super::component::{Component, On};

const MODULES: [&str; 2] = ["overlay", "br_netfilter"];
const SYSCTLS: [(&str, &str); 3] = [
    ("net.ipv4.ip_forward", "1"),
    ("net.bridge.bridge-nf-call-iptables", "1"),
    ("net.bridge.bridge-nf-call-ip6tables", "1"),
];

/// The files that set it at every start of the host.
fn files() -> Files {
    let head = "# Written by sunshine-installer, for Kubernetes.\n";
    let modules: String = MODULES.iter().map(|m| format!("{m}\n")).collect();
    let sysctls: String = SYSCTLS.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    Files(vec![
        FileSpec::text("/etc/modules-load.d/sunshine.conf", format!("{head}{modules}")),
        FileSpec::text("/etc/sysctl.d/90-sunshine.conf", format!("{head}{sysctls}")),
    ])
}

/// The component: modules, sysctls and swap of a host that runs pods.
pub(super) struct Kernel;

impl Component for Kernel {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.runs_pods()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        vec![
            on.step("kernel.configure", "keep kernel modules and sysctls over a restart", files()),
            on.step("kernel.set", "set kernel modules and sysctls, switch swap off", KernelSet),
        ]
    }
}

/// The kernel is as it should be now.
#[derive(Debug)]
struct KernelSet;

/// `MODULES -- KEY VALUE…`: prints what is not as it should be. A module may be built into the kernel, so what it brings
/// is looked for, not its name.
const LOOK: &str = r#"there() { case $1 in
  overlay) grep -qw overlay /proc/filesystems;;
  br_netfilter) [ -d /proc/sys/net/bridge ];;
esac; }
while [ "$1" != -- ]; do there "$1" || printf 'load module %s\n' "$1"; shift; done
shift
while [ $# -gt 0 ]; do
  is=$(sysctl -n "$1" 2>/dev/null); [ "$is" = "$2" ] || printf 'set %s = %s (is %s)\n' "$1" "$2" "${is:-not there}"
  shift 2
done
[ "$(awk 'NR>1' /proc/swaps | wc -l)" = 0 ] || echo 'switch swap off'"#;

const SET: &str = r#"set -eu
while [ "$1" != -- ]; do
  grep -qw "^$1" /proc/modules || note module "$1" -
  modprobe "$1"
  shift
done
shift
while [ $# -gt 0 ]; do
  is=$(sysctl -n "$1"); [ "$is" = "$2" ] || { note sysctl "$1" "$is"; sysctl -qw "$1=$2"; }
  shift 2
done
awk 'NR>1 {print $1}' /proc/swaps | while read -r s; do note swap "$s" on; done
if [ "$(awk 'NR>1' /proc/swaps | wc -l)" != 0 ]; then
  swapoff -a
  sed -i.sunshine-new '/^[^#].*[[:space:]]swap[[:space:]]/s/^/#sunshine-installer# /' /etc/fstab
  rm -f /etc/fstab.sunshine-new
fi"#;

fn arguments() -> Vec<String> {
    let mut words: Vec<String> = MODULES.map(str::to_owned).to_vec();
    words.push("--".to_owned());
    words.extend(SYSCTLS.iter().flat_map(|(key, value)| [(*key).to_owned(), (*value).to_owned()]));
    words
}

impl Work for KernelSet {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let look = Command::script(LOOK).args(arguments()).label("look at modules, sysctls and swap");
        let output = cx.host()?.run(&look)?;
        Ok(Check::from_changes(output.text().lines().map(str::to_owned).collect()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        cx.host()?.run_ok(&cx.owner()?.script(SET).args(arguments()).label("modprobe, sysctl, swapoff"))?;
        Ok(())
    }
}
