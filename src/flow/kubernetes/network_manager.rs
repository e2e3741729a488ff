//! NetworkManager, where a host has it, leaves the interfaces of pods alone: it would take one that it does not know for a network
//! card, and give it a configuration of its own, or wait for one (NetworkManager.conf(5), "keyfile").

use crate::host::Command;
use crate::plan::{Check, Cx, Owned, Step, StepError, Work};
use crate::resource::{FileSpec, Files};

use super::component::{Component, On};

/// By name of the package.
const PACKAGE: &str = "NetworkManager";
const PATH: &str = "/etc/NetworkManager/conf.d/90-sunshine.conf";

/// What networks of pods make: bridges, the pods' ends of links, tunnels.
const INTERFACES: [&str; 12] = [
    "cni0",
    "flannel.1",
    "flannel-v6.1",
    "veth*",
    "cali*",
    "tunl0",
    "vxlan.calico",
    "cilium*",
    "lxc*",
    "weave",
    "vethwe*",
    "kube-ipvs0",
];

/// The component, on hosts that run pods.
pub(super) struct NetworkManager;

impl Component for NetworkManager {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.runs_pods() && on.facts.packages.contains_key(PACKAGE)
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let title = "let NetworkManager leave the pods' interfaces alone";
        vec![on.step("network-manager.configure", title, Configured(file()))]
    }
}

/// What the site says in other files stays: `+=` adds to it.
fn file() -> Files {
    let devices: Vec<String> = INTERFACES.iter().map(|name| format!("interface-name:{name}")).collect();
    let text = format!(
        "# Written by sunshine-installer, for Kubernetes.\n[keyfile]\nunmanaged-devices+={}\n",
        devices.join(";")
    );
    Files(vec![FileSpec::text(PATH, text)])
}

/// The file is there, and a NetworkManager that runs has read it: since it was written it was started, or told to read its
/// files. It is never restarted.
#[derive(Debug)]
struct Configured(Files);

/// `$1` file: says so where a NetworkManager that runs has not read it.
const LOOK: &str = r#"systemctl is-active -q NetworkManager 2>/dev/null && [ -e "$1" ] || exit 0
[ ! /run/sunshine-installer/network-manager -nt "$1" ] || exit 0
p=$(systemctl show -p MainPID NetworkManager | sed 's/.*=//')
ran=$(ps -o etimes= -p "$p" 2>/dev/null | tr -d ' ')
[ -n "$ran" ] && [ "$(stat -c %Y "$1")" -lt $(($(date +%s) - ran)) ] || echo 'let NetworkManager read its configuration'"#;

/// The mark is the newer one, by a clock that may tick a hundred times a second.
const RELOAD: &str = r#"set -eu
systemctl is-active -q NetworkManager || exit 0
systemctl reload NetworkManager
mkdir -p -m 0700 /run/sunshine-installer
sleep 0.1
: >/run/sunshine-installer/network-manager"#;

impl Work for Configured {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        if let needed @ Check::Needed(_) = self.0.check(cx)? {
            return Ok(needed);
        }
        let look = Command::script(LOOK).arg(PATH).label("ask whether NetworkManager has read its configuration");
        Ok(Check::from_changes(cx.host()?.run_ok(&look)?.text().lines().map(str::to_owned).collect()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        self.0.apply(cx)?;
        cx.host()?.run_ok(&Command::script(RELOAD).label("systemctl reload NetworkManager"))?;
        Ok(())
    }

    fn owns(&self) -> Vec<Owned> {
        self.0.owns()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    /// Runs a script with a NetworkManager that was started so many seconds ago.
    fn run(dir: &std::path::Path, script: &str, seconds: u32) -> String {
        let program = |name: &str, body: &str| {
            let path = dir.join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        program("systemctl", &format!("echo \"$@\" >>{}/calls; [ \"$1\" != show ] || echo MainPID=7", dir.display()));
        program("ps", &format!("echo ' {seconds}'"));
        let script = script.replace("/run/sunshine-installer", dir.join("run").to_str().unwrap());
        let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
        let file = dir.join("file");
        let output = Command::new("sh").args(["-c", &script, "sh"]).arg(file).env("PATH", path).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn it_is_told_to_read_a_file_that_is_newer_than_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert_eq!(run(dir, LOOK, 0), "", "no file");
        std::fs::write(dir.join("file"), "").unwrap();
        assert!(run(dir, LOOK, 100).contains("let NetworkManager read"));
        run(dir, RELOAD, 100);
        assert_eq!(run(dir, LOOK, 100), "", "it was told");
        let calls = std::fs::read_to_string(dir.join("calls")).unwrap();
        assert!(calls.contains("reload NetworkManager") && !calls.contains("restart"), "{calls}");
        std::fs::remove_dir_all(dir.join("run")).unwrap();
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(1000);
        std::fs::File::options().append(true).open(dir.join("file")).unwrap().set_modified(old).unwrap();
        assert_eq!(run(dir, LOOK, 100), "", "it was started after the file was written");
    }
}
