//! A virtual address for the API, held by one of the control plane nodes at a time (keepalived, VRRP: RFC 5798).
//!
//! Control plane nodes find each other by multicast, so a control plane node added or removed needs nothing done on the others.
//! Those of kubeadm know each other by the list of the cluster's hosts: `cluster_sync/address.rs`.

use crate::flow::rpms;
use crate::packages::Wanted;
use crate::plan::Step;
use crate::resource::{FileSpec, Files};

use super::component::{Component, On};
use super::state::API_PORT;

const KEEPALIVED: &str = "keepalived";

pub(super) struct VirtualAddress;

impl Component for VirtualAddress {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.control_plane().is_some() && on.cluster.settings.api_vip.is_some()
    }

    fn packages(&self, _: &On<'_>) -> Vec<Wanted> {
        rpms::by_name([KEEPALIVED])
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let (Some(vip), Some(machine)) = (&on.cluster.settings.api_vip, on.control_plane()) else { return Vec::new() };
        let interface = on.facts.interface_name(machine.address).unwrap_or("eth0");
        on.service(KEEPALIVED, "the API's virtual address", files(vip, interface)).into()
    }
}

/// keepalived's configuration on this control plane node: it may hold the address only while its own API is healthy.
fn files(vip: &str, interface: &str) -> Files {
    // One router per address and segment: its last byte tells it from others, and 0 is no router.
    let router = vip.rsplit('.').next().and_then(|b| b.parse::<u8>().ok()).unwrap_or(1).max(1);
    let text = format!(
        "# Written by sunshine-installer.\n\
         global_defs {{\n    script_user root\n    enable_script_security\n}}\n\
         vrrp_script api {{\n    script \"/usr/bin/curl -fsk -m 2 -o /dev/null https://127.0.0.1:{API_PORT}/healthz\"\n\
         \x20   interval 2\n    fall 2\n    rise 1\n}}\n\
         vrrp_instance kubernetes {{\n    state BACKUP\n    nopreempt\n    interface {interface}\n\
         \x20   virtual_router_id {router}\n    priority 100\n    advert_int 1\n\
         \x20   virtual_ipaddress {{\n        {vip}/32 dev {interface}\n    }}\n\
         \x20   track_script {{\n        api\n    }}\n}}\n"
    );
    Files(vec![FileSpec::text("/etc/keepalived/keepalived.conf", text)])
}
