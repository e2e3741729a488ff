//! The address by which everything reaches the API: it must survive the loss of a master.
//!
//! One master: that master. Several: a load balancer of the site when `--api-endpoint` names one, else haproxy on every
//! host of the cluster, listening on its loopback and asking all masters whether they are healthy.

use crate::plan::work::{FileSpec, Files};

use super::state::{API_PORT, Cluster};

/// haproxy's port on every host's loopback.
pub(super) const LOCAL_PORT: u16 = 8443;

/// `https://HOST:PORT` for kubeconfigs.
pub(super) fn url(cluster: &Cluster) -> String {
    if let Some(endpoint) = &cluster.settings.api_endpoint {
        return format!("https://{endpoint}");
    }
    match cluster.masters.values().next() {
        Some(master) if cluster.masters.len() == 1 => {
            format!("https://{}", std::net::SocketAddr::new(master.address, API_PORT))
        }
        _ => format!("https://127.0.0.1:{LOCAL_PORT}"),
    }
}

/// Whether every host runs haproxy.
pub(super) fn is_balanced(cluster: &Cluster) -> bool {
    cluster.settings.api_endpoint.is_none() && cluster.masters.len() > 1
}

/// haproxy's configuration: TCP through to the masters, each checked by its `/readyz` (haproxy manual, "httpchk").
pub(super) fn haproxy_files(cluster: &Cluster) -> Files {
    let mut text = format!(
        "# Written by sunshine-installer: the API of all masters on this host's loopback.\n\
         global\n    maxconn 4096\n\
         defaults\n    mode tcp\n    timeout connect 3s\n    timeout client 4h\n    timeout server 4h\n\
         \x20   timeout check 3s\n    retries 2\n    option redispatch\n\
         frontend kubernetes\n    bind 127.0.0.1:{LOCAL_PORT}\n    default_backend masters\n\
         backend masters\n    option httpchk GET /readyz\n    http-check expect status 200\n\
         \x20   default-server inter 2s fall 2 rise 1 check check-ssl verify none on-marked-down shutdown-sessions\n"
    );
    for master in cluster.masters.values() {
        let at = std::net::SocketAddr::new(master.address, API_PORT);
        text.push_str(&format!("    server {} {at}\n", master.name));
    }
    Files(vec![FileSpec::text("/etc/haproxy/haproxy.cfg", text)])
}
