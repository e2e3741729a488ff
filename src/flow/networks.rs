//! The networks of a cluster's pods and of its services: one, or one of each family of addresses (Kubernetes documentation,
//! "IPv4/IPv6 dual-stack").

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// One network, or two of different families; the first is of the cluster's primary family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Networks {
    pub primary: IpNet,
    pub secondary: Option<IpNet>,
}

impl Networks {
    /// Of pods, where nothing is said.
    pub const USUAL_PODS: Self = Self::of_v4([10, 244, 0, 0], 16);
    /// Of services.
    pub const USUAL_SERVICES: Self = Self::of_v4([10, 254, 0, 0], 16);

    const fn of_v4([a, b, c, d]: [u8; 4], prefix: u8) -> Self {
        Self { primary: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)), secondary: None }
    }

    /// Reads `10.244.0.0/16`, `fd00::/56`, or one of each with a comma in between, as Kubernetes' own options have them; `None`
    /// when it is not that, or a network has host bits.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(',') {
            None => Some(Self { primary: network(text)?, secondary: None }),
            Some((first, second)) => {
                let (primary, second) = (network(first)?, network(second)?);
                let is_dual = Family::of(primary.addr()) != Family::of(second.addr());
                is_dual.then_some(Self { primary, secondary: Some(second) })
            }
        }
    }

    /// All of them, the primary family's first.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> + Clone + use<> {
        [self.primary].into_iter().chain(self.secondary)
    }

    /// Their families, in the same order.
    pub fn families(&self) -> Vec<Family> {
        self.iter().map(|net| Family::of(net.addr())).collect()
    }

    pub fn primary_family(&self) -> Family {
        Family::of(self.primary.addr())
    }

    /// The network of this family.
    pub fn of(&self, family: Family) -> Option<IpNet> {
        self.iter().find(|net| Family::of(net.addr()) == family)
    }

    pub fn has(&self, family: Family) -> bool {
        self.of(family).is_some()
    }

    /// Whether a network shares an address with one of them: that one.
    pub fn overlapping(&self, net: IpNet) -> Option<IpNet> {
        self.iter().find(|own| overlap(*own, net))
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.primary)?;
        self.secondary.map_or(Ok(()), |second| write!(f, ",{second}"))
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().filter(|net| net.trunc() == *net)
}

/// Whether two networks share an address.
pub fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// The address so many behind the first of a network.
pub fn nth(net: IpNet, number: u32) -> IpAddr {
    match net.network() {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits().wrapping_add(number)).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits().wrapping_add(number.into())).into(),
    }
}

/// The network of one node in the pods' network, by the length of its prefix: what Kubernetes gives nodes when nothing else is said, but
/// where the pods' network is too small for that, or so large that it would have more than the 65,536 nodes that the controller
/// manager allows (kube-controller-manager, `--node-cidr-mask-size-ipv6`).
pub fn node_prefix(pods: IpNet) -> u8 {
    match (Family::of(pods.addr()), pods.prefix_len()) {
        (Family::V4, _) => 24,
        (Family::V6, prefix @ 0..64) => (prefix + 16).min(64),
        (Family::V6, prefix) => prefix.saturating_add(8).min(128),
    }
}

/// How many nodes a network of pods has addresses for.
pub fn most_nodes(pods: IpNet) -> u32 {
    1 << node_prefix(pods).saturating_sub(pods.prefix_len()).min(24)
}

/// The network of the node of this number.
pub fn of_node(pods: IpNet, number: u32) -> IpNet {
    let prefix = node_prefix(pods);
    let net = match pods.network() {
        IpAddr::V4(ip) => {
            IpNet::new(Ipv4Addr::from_bits(ip.to_bits().wrapping_add(number << (32 - prefix))).into(), prefix)
        }
        IpAddr::V6(ip) => {
            let offset = u128::from(number).checked_shl((128 - prefix).into()).unwrap_or_default();
            IpNet::new(Ipv6Addr::from_bits(ip.to_bits().wrapping_add(offset)).into(), prefix)
        }
    };
    net.unwrap_or(pods)
}

/// Why these cannot be the networks of pods and services of one cluster.
pub fn disagreement(pods: Networks, services: Networks) -> Option<String> {
    if pods.families() != services.families() {
        return Some(format!(
            "the pod network {pods} and the service network {services} must be of the same families, in the same order"
        ));
    }
    if let Some((own, other)) = pods.iter().find_map(|net| Some((net, services.overlapping(net)?))) {
        return Some(format!("the pod network {own} and the service network {other} overlap"));
    }
    let all = pods.iter().map(|net| ("pod", net)).chain(services.iter().map(|net| ("service", net)));
    all.clone()
        .find(|(_, net)| !is_usable(net.addr()))
        .map(|(what, net)| format!("the {what} network {net} is none that hosts pass packets of on"))
        .or_else(|| pods.iter().find_map(wrong_size_of_pods))
        .or_else(|| services.iter().find_map(wrong_size_of_services))
}

fn is_usable(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_loopback() || ip.is_unspecified(),
    };
    !(is_link_local || address.is_multicast() || address.is_loopback())
}

/// Every node has a part of its own, of which the controller manager hands out 65,536 at most.
fn wrong_size_of_pods(net: IpNet) -> Option<String> {
    let allowed = match Family::of(net.addr()) {
        Family::V4 => 8..=24,
        Family::V6 => 16..=116,
    };
    let (least, most) = (allowed.start(), allowed.end());
    (!allowed.contains(&net.prefix_len())).then(|| {
        format!(
            "the pod network {net} must have a prefix of {least} to {most}: each node gets a /{} of it",
            node_prefix(net)
        )
    })
}

/// API servers hand out 2^20 addresses at most (kube-apiserver, `--service-cluster-ip-range`), and kubeadm's DNS has the tenth.
fn wrong_size_of_services(net: IpNet) -> Option<String> {
    let allowed = match Family::of(net.addr()) {
        Family::V4 => 12..=28,
        Family::V6 => 108..=124,
    };
    let (least, most) = (allowed.start(), allowed.end());
    (!allowed.contains(&net.prefix_len()))
        .then(|| format!("the service network {net} must have a prefix of {least} to {most}, as API servers want it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn one_network_or_one_of_each_family_is_read() {
        let both = Networks::parse("10.244.0.0/16,fd00:10:244::/56").unwrap();
        assert_eq!((both.primary, both.secondary), (net("10.244.0.0/16"), Some(net("fd00:10:244::/56"))));
        assert_eq!(both.families(), [Family::V4, Family::V6]);
        assert_eq!(both.of(Family::V6), Some(net("fd00:10:244::/56")));
        let six = Networks::parse("fd00:10:244::/56").unwrap();
        assert!(six.primary_family() == Family::V6 && !six.has(Family::V4));
        for bad in [
            "10.244.0.1/16",
            "10.244.0.0",
            "10.244.0.0/33",
            "x/8",
            "",
            "fd00::1/56",
            "fd00::/129",
            "10.0.0.0/16,10.1.0.0/16",
            "fd00::/56,fd01::/56",
            "10.0.0.0/16, fd00::/56",
            "10.0.0.0/16,fd00::/56,fd01::/56",
            "10.0.0.0/16,",
        ] {
            assert_eq!(Networks::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn networks_overlap_within_a_family() {
        for (a, b, shares) in [
            ("10.0.0.0/8", "10.244.0.0/16", true),
            ("0.0.0.0/0", "10.0.0.0/8", true),
            ("10.254.0.0/16", "10.244.0.0/16", false),
            ("fd00::/16", "fd00:10:244::/56", true),
            ("fd00:10:254::/112", "fd00:10:244::/56", false),
            ("::/0", "0.0.0.0/0", false),
        ] {
            assert_eq!((overlap(net(a), net(b)), overlap(net(b), net(a))), (shares, shares), "{a} {b}");
        }
    }

    #[test]
    fn nodes_get_the_usual_part_where_the_network_has_room_for_it() {
        for (pods, prefix, nodes, third) in [
            ("10.244.0.0/16", 24, 256, "10.244.3.0/24"),
            ("10.0.0.0/8", 24, 65536, "10.0.3.0/24"),
            ("fd00:10:244::/56", 64, 256, "fd00:10:244:3::/64"),
            ("fd00:10:244::/48", 64, 65536, "fd00:10:244:3::/64"),
            ("fd00:10::/40", 56, 65536, "fd00:10:0:300::/56"),
            ("fd00:10:244::/64", 72, 256, "fd00:10:244:0:300::/72"),
            ("fd00:10:244::/112", 120, 256, "fd00:10:244::300/120"),
        ] {
            let pods = net(pods);
            assert_eq!((node_prefix(pods), most_nodes(pods)), (prefix, nodes), "{pods}");
            assert_eq!(of_node(pods, 3), net(third));
        }
        assert_eq!(nth(net("fd00:10:254::/112"), 10), "fd00:10:254::a".parse::<IpAddr>().unwrap());
        assert_eq!(nth(net("10.254.0.0/16"), 1), IpAddr::from([10, 254, 0, 1]));
    }
}
