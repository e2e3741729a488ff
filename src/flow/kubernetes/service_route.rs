//! A route to the services' network on hosts without a default route, in clusters that keep no list of their hosts; in the others the
//! cluster-sync service makes it (`cluster_sync/sunshine-cluster.sh`, which says why it is needed).

use std::net::IpAddr;

use crate::flow::networks::Family;
use crate::plan::Step;
use crate::resource::{FileSpec, Files};

use super::component::{Component, On};

const UNIT: &str = "sunshine-services";

pub(super) struct ServiceRoute;

impl Component for ServiceRoute {
    fn is_on(&self, on: &On<'_>) -> bool {
        !on.cluster.keeps_list() && on.runs_pods() && unit(on).is_some()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(text) = unit(on) else { return Vec::new() };
        let files = Files(vec![FileSpec::text(format!("/etc/systemd/system/{UNIT}.service"), text)]);
        on.service(UNIT, "the route to services", files).into()
    }
}

/// The unit that makes the routes which the host lacks; nothing where it lacks none.
fn unit(on: &On<'_>) -> Option<String> {
    let device = on.facts.interface_name(on.machine()?.address)?;
    let services = on.cluster.settings.services();
    let lacking = services.iter().filter(|net| !has_default_route(on.facts.route_address, Family::of(net.addr())));
    let lines: String = lacking
        .map(|net| {
            format!(
                "ExecStart=/bin/sh -c 'exec ip route replace {net} dev {device} proto 186'\n\
                 ExecStop=/bin/sh -c 'exec ip route del {net} proto 186'\n"
            )
        })
        .collect();
    (!lines.is_empty()).then(|| {
        format!(
            "# Written by sunshine-installer.\n[Unit]\nDescription=A route to services for a host without a default route\n\
             After=network-online.target\nWants=network-online.target\nBefore=kubelet.service\n\n\
             [Service]\nType=oneshot\nRemainAfterExit=yes\n{lines}\n[Install]\nWantedBy=multi-user.target\n"
        )
    })
}

/// `to_the_world`: the host's address on its default route, of IPv4 where it has such a one.
fn has_default_route(to_the_world: Option<IpAddr>, family: Family) -> bool {
    to_the_world.is_some_and(|own| Family::of(own) == family || family == Family::V6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_default_route_of_a_family_or_lacks_it() {
        let ip = |text: &str| text.parse().ok();
        let has = |own: &str| [Family::V4, Family::V6].map(|family| has_default_route(ip(own), family));
        assert_eq!((has(""), has("10.8.14.200"), has("fd10::1")), ([false, false], [true, true], [false, true]));
    }
}
