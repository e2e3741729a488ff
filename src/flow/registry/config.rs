//! The files of the distribution server ("Configuring a registry" of its documentation).

use serde_json::json;

use crate::flow::pki::{Ask, CertRequest, Material, Pki, Purpose, Usage};
use crate::host::HostId;
use crate::resource::{FileSpec, Files};
use std::net::IpAddr;
use std::sync::Arc;

use super::package::Package;
use super::state::{Machine, Registry};
use super::users::{Htpasswd, NodeLogin};

/// A host's certificate, by every name and address that it is called by; `kind` tells what it is for.
pub(in crate::flow) fn certificate(pki: &Pki, kind: &str, host: &HostId, name: &str, address: IpAddr) -> Material {
    let (mut dns, mut ips) = (vec![name.to_owned()], vec![address]);
    match host.address().parse::<IpAddr>() {
        Ok(ip) if !ips.contains(&ip) => ips.push(ip),
        Ok(_) => {}
        Err(_) if dns.iter().any(|name| name == host.address()) => {}
        Err(_) => dns.push(host.address().to_owned()),
    }
    let (name, common_name) = (format!("{kind}-{name}"), name.to_owned());
    let request = CertRequest { name, common_name, organizations: Vec::new(), dns, ips, usage: Usage::Server };
    pki.material(Purpose::Registry, Ask::Certificate(request))
}

/// The certificate of the authority, on the registry's own host.
pub(super) fn ca_path(package: &Package) -> String {
    format!("{}/ca.crt", package.folder)
}

/// All that the server reads.
pub(super) fn files(registry: &Registry, host: &HostId, machine: &Machine, package: &Package, pki: &Pki) -> Files {
    let folder = package.folder;
    let path = |name: &str| format!("{folder}/{name}");
    let (cert, key) = match &registry.certificate {
        Some(site) => (site.cert(pki), site.key(pki)),
        None => {
            let keys = certificate(pki, "registry", host, &machine.name, machine.address);
            (keys.cert(), keys.key())
        }
    };
    let ca = registry.authority(pki).map(|ca| FileSpec::made(ca_path(package), ca));
    let mut files: Vec<FileSpec> = ca.into_iter().collect();
    files.extend([FileSpec::made(path("tls.crt"), cert), FileSpec::secret(path("tls.key"), key, package.user)]);
    let mut config = json!({
        "version": 0.1,
        "log": {"fields": {"service": "registry"}},
        "storage": {"filesystem": {"rootdirectory": registry.storage}, "delete": {"enabled": true}},
        "http": {
            "addr": format!(":{}", registry.port),
            "tls": {"certificate": path("tls.crt"), "key": path("tls.key")},
        },
    });
    if !registry.users.is_empty() {
        let htpasswd = Htpasswd { users: registry.users.clone(), nodes: NodeLogin::new(pki) };
        files.push(FileSpec::secret(path("htpasswd"), Arc::new(htpasswd), package.user));
        config["auth"] = json!({"htpasswd": {"realm": "registry", "path": path("htpasswd")}});
    }
    // JSON is YAML too.
    files.push(FileSpec::text(package.config(), format!("# Written by sunshine-installer.\n{config:#}\n")));
    Files(files)
}
