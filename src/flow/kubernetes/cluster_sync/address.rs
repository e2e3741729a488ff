//! A virtual address for the API, held by one of the control plane nodes at a time (keepalived, VRRP version 3: RFC 5798). They
//! know each other by the list, and send to each other's addresses: no network has to pass multicast on.

use crate::flow::rpms;
use crate::packages::Wanted;
use crate::plan::Step;
use crate::resource::{FileSpec, Files, SeBool};

use super::super::component::{Component, On};
use super::SCRIPT;

const UNIT: &str = "sunshine-vip";
pub(in crate::flow::kubernetes) const PACKAGE: &str = "keepalived";

/// The component, in its two places among the others of a host.
pub(in crate::flow::kubernetes) enum HeldAddress {
    /// On the host that begins the cluster: before its API, which is called by the address.
    Begins,
    /// On a host that joins: once the list names it. The others would not send to it, and it would hold the address beside
    /// them.
    Joins,
}

impl Component for HeldAddress {
    fn is_on(&self, on: &On<'_>) -> bool {
        let held = on.control_plane().is_some() && on.cluster.settings.api_vip.is_some();
        held && matches!(self, Self::Begins) == on.begins()
    }

    fn packages(&self, _: &On<'_>) -> Vec<Wanted> {
        rpms::by_name([PACKAGE])
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let mut steps = Vec::new();
        if on.facts.selinux != "Disabled" {
            let allow = SeBool("keepalived_connect_any");
            steps.push(on.step("address.selinux", "let keepalived ask the API server through SELinux", allow));
        }
        let [configure, start] = on.service(UNIT, "the API's virtual address", files());
        let published = on.waits.published.clone().filter(|_| matches!(self, Self::Joins));
        steps.extend([configure, start.after_if_present(published)]);
        steps
    }
}

/// keepalived with a configuration of our own, so that the package's stays the site's.
fn files() -> Files {
    let run = "/run/sunshine-installer";
    let unit = format!(
        "# Written by sunshine-installer.\n[Unit]\nDescription=The Kubernetes API's virtual address\n\
         After=network-online.target\nWants=network-online.target\n\n\
         [Service]\nExecStartPre={SCRIPT} address\n\
         ExecStart=/usr/sbin/keepalived -n -P -p {run}/keepalived.pid -r {run}/vrrp.pid -f {run}/keepalived.conf\n\
         ExecReload=/bin/kill -HUP $MAINPID\nKillMode=mixed\nRestart=always\nRestartSec=1\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    );
    Files(vec![FileSpec::text(format!("/etc/systemd/system/{UNIT}.service"), unit)])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::list::list;
    use crate::flow::kubernetes::state::Cluster;

    /// The list of a cluster of these hosts, `host0` at 10.8.14.200 and so on, with an address.
    fn of(hosts: std::ops::Range<u8>) -> String {
        list_of(hosts, "10.8.14.", "10.8.14.100")
    }

    fn list_of(hosts: std::ops::Range<u8>, net: &str, vip: &str) -> String {
        let machine = |n: u8| {
            let address = format!("{net}{}", 200 + n);
            (address.clone(), serde_json::json!({"name": format!("host{n}"), "address": address}))
        };
        let cluster: Cluster = serde_json::from_value(serde_json::json!({
            "settings": {"api_vip": vip}, "network": {"manifest": "flannel"}, "distribution": "kubeadm",
            "etcd": {"endpoints": [], "tls": false}, "workers": {},
            "control_plane": hosts.map(machine).collect::<serde_json::Map<_, _>>(),
        }))
        .unwrap();
        list(&cluster)
    }

    /// keepalived's configuration, made by the script that hosts run, on host1.
    #[test]
    fn holders_send_to_each_other_and_who_left_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let script = include_str!("sunshine-cluster.sh")
            .replace("/etc/kubernetes/sunshine-cluster", &at("list"))
            .replace("/run/sunshine-installer", &at("run"));
        std::fs::write(at("script"), script).unwrap();
        std::fs::write(
            at("ip"),
            "#!/bin/sh\necho '2: eth0    inet 10.8.14.201/24 brd 10.8.14.255 scope global eth0'\n\
             echo '2: eth0    inet6 fd10:8:14::201/64 scope global nodad'\n",
        )
        .unwrap();
        std::fs::set_permissions(at("ip"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let config = |list: &str| {
            std::fs::write(at("list"), list).unwrap();
            let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
            let run = std::process::Command::new("sh").args([&at("script"), "address"]).env("PATH", path).status();
            assert!(run.unwrap().success());
            std::fs::read_to_string(at("run/keepalived.conf")).unwrap()
        };
        insta::assert_snapshot!("keepalived", config(&of(0..3)));
        assert!(!config(&of(1..2)).contains("unicast"), "nobody to send to");
        assert!(!config(&of(2..4)).contains("vrrp_instance"), "not one of them any more");
        let six = config(&list_of(0..2, "fd10:8:14::", "fd10:8:14::100"));
        for line in [
            "    unicast_src_ip fd10:8:14::201\n",
            "        fd10:8:14::200\n",
            "        fd10:8:14::100/128 dev eth0\n",
            "    virtual_router_id 1\n",
        ] {
            assert!(six.contains(line), "{line}{six}");
        }
    }
}
