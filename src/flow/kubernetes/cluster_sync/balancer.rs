//! The API's balancer: haproxy on every node, with a configuration of our own, so that the package's stays the site's.

use crate::flow::rpms;
use crate::packages::Wanted;
use crate::plan::Step;
use crate::resource::{FileSpec, Files, SeBool};

use super::super::component::{Component, On};
use super::SCRIPT;

const UNIT: &str = "sunshine-api";
pub(in crate::flow::kubernetes) const PACKAGE: &str = "haproxy";

pub(in crate::flow::kubernetes) struct Balancer;

impl Component for Balancer {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.cluster.balanced && on.runs_pods()
    }

    fn packages(&self, _: &On<'_>) -> Vec<Wanted> {
        rpms::by_name([PACKAGE])
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let mut steps = Vec::new();
        if on.facts.selinux != "Disabled" {
            let allow = SeBool("haproxy_connect_any");
            steps.push(on.step("balancer.selinux", "let haproxy reach the API servers through SELinux", allow));
        }
        steps.extend(on.service(UNIT, "the API's balancer", files()));
        steps
    }
}

/// The balancer's unit.
fn files() -> Files {
    let unit = format!(
        "# Written by sunshine-installer.\n[Unit]\nDescription=The Kubernetes API of all control plane nodes on this host's loopback\n\
         After=network-online.target\nWants=network-online.target\n\n\
         [Service]\nExecStartPre={SCRIPT} balance\nExecStart=/usr/sbin/haproxy -db -f /run/sunshine-installer/haproxy.cfg\n\
         Restart=always\nRestartSec=1\n\n[Install]\nWantedBy=multi-user.target\n"
    );
    Files(vec![FileSpec::text(format!("/etc/systemd/system/{UNIT}.service"), unit)])
}
