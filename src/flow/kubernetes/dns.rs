//! The cluster's DNS, as an addon of the bundle brings it: the address that its service asks for.
//!
//! A kubelet gives pods a name server (`clusterDNS`) and a domain to search (`clusterDomain`); without the first the second
//! does nothing (KubeletConfiguration, kubelet.config.k8s.io/v1beta1). So both are written or neither.

use std::net::{IpAddr, Ipv4Addr};

use crate::flow::error::FlowError;
use crate::flow::request::ClusterSettings;

use super::manifest::Manifest;

/// The address of the DNS service among these manifests.
pub(super) fn address(manifests: &[Manifest]) -> Option<Ipv4Addr> {
    manifests.iter().find_map(|manifest| service_address(&String::from_utf8_lossy(manifest.content())))
}

/// The `clusterIP` of a Service with port 53. Manifests are YAML of one key a line, as their projects publish them; an address
/// that is to be filled in first (`clusterIP: __DNS__SERVER__`) is none.
pub(super) fn service_address(text: &str) -> Option<Ipv4Addr> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        if line.starts_with("---") {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line.split(" #").next().unwrap_or_default());
            document.push('\n');
        }
    }
    documents.iter().find_map(|document| {
        let of = |key: &'static str| {
            let lines = document.lines().map(|line| line.trim_start_matches([' ', '-']));
            lines.filter_map(move |line| {
                line.strip_prefix(key)?.strip_prefix(':').map(|v| v.trim().trim_matches(['"', '\'']))
            })
        };
        let serves = document.lines().any(|line| line.trim_end() == "kind: Service") && of("port").any(|p| p == "53");
        of("clusterIP").next().filter(|_| serves)?.parse().ok()
    })
}

/// Whether the domain and the DNS service of a cluster that is to be made can take effect.
pub(super) fn check(manifests: &[Manifest], settings: &ClusterSettings) -> Result<(), FlowError> {
    let Some(address) = address(manifests) else {
        if settings.cluster_domain == ClusterSettings::default().cluster_domain {
            return Ok(());
        }
        return Err(FlowError::request_with_help(
            format!(
                "--cluster-domain {}: it has no effect, for no addon of the bundle is a DNS service with a fixed address",
                settings.cluster_domain
            ),
            "put one into the bundle (`bundle repack --addon dns=FILE`), its Service with a clusterIP; or leave the option away",
        ));
    };
    if !settings.services().iter().any(|services| services.contains(&IpAddr::V4(address))) {
        return Err(FlowError::request_with_help(
            format!("the DNS service of the bundle asks for {address}, which is not in {}", settings.service_cidr),
            "give the network that its address is in with --service-cidr, or change clusterIP in the addon",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DNS: &str = "apiVersion: v1\nkind: ServiceAccount\n---\napiVersion: v1\nkind: Service\nmetadata:\n  name: kube-dns\n\
        spec:\n  clusterIP: ADDRESS\n  ports:\n  - name: dns\n    port: 53\n    protocol: UDP\n";

    fn addon(address: &str) -> Vec<Manifest> {
        vec![Manifest::new("dns.yaml", DNS.replace("ADDRESS", address))]
    }

    #[test]
    fn the_address_is_that_of_the_service_with_port_53() {
        assert_eq!(address(&addon("10.254.0.10")), Some(Ipv4Addr::new(10, 254, 0, 10)));
        assert_eq!(address(&addon("\"10.254.0.10\"  # kept free")), Some(Ipv4Addr::new(10, 254, 0, 10)));
        for other in ["__DNS__SERVER__", "None", "$DNS"] {
            assert_eq!(address(&addon(other)), None, "{other}");
        }
        let web = DNS.replace("ADDRESS", "10.254.0.20").replace("port: 53", "port: 530");
        assert_eq!(address(&[Manifest::new("web.yaml", web)]), None);
    }

    #[test]
    fn a_domain_without_a_dns_service_is_refused() {
        let own = ClusterSettings { cluster_domain: "corp.example".into(), ..ClusterSettings::default() };
        let error = check(&addon("$DNS"), &own).unwrap_err().to_string();
        assert!(error.contains("--cluster-domain corp.example: it has no effect"), "{error}");
        check(&addon("10.254.0.10"), &own).unwrap();
        check(&[], &ClusterSettings::default()).unwrap();
        let error = check(&addon("10.96.0.10"), &own).unwrap_err().to_string();
        assert!(error.contains("10.96.0.10, which is not in 10.254.0.0/16"), "{error}");
    }
}
