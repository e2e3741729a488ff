//! The files of an etcd member: `/etc/etcd/etcd.conf` as the CentOS and Fedora packages read it (the EnvironmentFile of
//! `etcd.service`; variables as in etcd's "Configuration flags"), its certificates, and root's login environment.

use std::net::IpAddr;

use crate::flow::pki::{Ask, CertRequest, Material, Pki, Purpose, Usage};
use crate::host::{FileMeta, HostId};
use crate::resource::{FileSpec, Files};

use super::state::{Cluster, Joining, Member};

pub(crate) const DATA_DIR: &str = "/var/lib/etcd/default.etcd";
pub(super) const CONF: &str = "/etc/etcd/etcd.conf";
const PKI: &str = "/etc/etcd/pki";

/// The certificates of one member.
#[derive(Debug, Clone)]
pub(super) struct MemberKeys {
    pub ca: Material,
    pub member: Material,
    /// root's own, for etcdctl.
    pub client: Material,
}

/// A member's certificates.
pub(super) fn member_keys(pki: &Pki, member: &Member, host: &HostId) -> MemberKeys {
    let (dns, ips) = names(member, host);
    let request = CertRequest {
        name: format!("member-{}", member.name),
        common_name: member.name.clone(),
        organizations: Vec::new(),
        dns,
        ips,
        usage: Usage::Both,
    };
    MemberKeys {
        ca: authority(pki),
        member: pki.material(Purpose::Etcd, Ask::Certificate(request)),
        client: client_keys(pki, "root"),
    }
}

/// The certificate that etcd's members and clients trust.
pub(crate) fn authority(pki: &Pki) -> Material {
    pki.material(Purpose::Etcd, Ask::Authority)
}

/// Every name and address by which a member is called; the address that the user gave is one of them, its SSH port is not.
fn names(member: &Member, host: &HostId) -> (Vec<String>, Vec<IpAddr>) {
    let mut ips = vec![member.address, IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
    let mut dns = vec![member.name.clone(), "localhost".to_owned()];
    let host = host.address();
    match host.parse::<IpAddr>() {
        Ok(ip) if !ips.contains(&ip) => ips.push(ip),
        Ok(_) => {}
        Err(_) if dns.iter().any(|d| d == host) => {}
        Err(_) => dns.push(host.to_owned()),
    }
    (dns, ips)
}

/// A client's certificate: `root` for etcdctl, `kube-apiserver` for Kubernetes, `flannel` for its package.
pub(crate) fn client_keys(pki: &Pki, name: &str) -> Material {
    client(pki, name, name)
}

/// The control host's own, for the JSON gateway. It has no common name: where etcd asks who a client is, it refuses certificates
/// with one there, since the gateway cannot pass it on.
pub(super) fn gateway_keys(pki: &Pki) -> Material {
    client(pki, "gateway", "")
}

fn client(pki: &Pki, name: &str, common_name: &str) -> Material {
    let request = CertRequest {
        name: format!("client-{name}"),
        common_name: common_name.to_owned(),
        organizations: if common_name.is_empty() { vec!["sunshine-installer".to_owned()] } else { Vec::new() },
        dns: Vec::new(),
        ips: Vec::new(),
        usage: Usage::Client,
    };
    pki.material(Purpose::Etcd, Ask::Certificate(request))
}

/// Everything that etcd itself reads on this member: a change of it means a restart.
pub(super) fn service_files(cluster: &Cluster, member: &Member, keys: Option<&MemberKeys>) -> Files {
    let mut files = vec![etcd_owned(FileSpec::text(CONF, etcd_conf(cluster, member)))];
    if let Some(keys) = keys {
        files.push(FileSpec::made(format!("{PKI}/ca.crt"), keys.ca.cert()));
        files.push(etcd_owned(FileSpec::made(format!("{PKI}/member.crt"), keys.member.cert())));
        files.push(FileSpec::secret(format!("{PKI}/member.key"), keys.member.key(), "etcd"));
    }
    Files(files)
}

fn etcd_owned(mut file: FileSpec) -> FileSpec {
    file.meta = FileMeta { mode: 0o644, owner: Some("root".to_owned()), group: Some("root".to_owned()) };
    file
}

/// What makes `etcdctl` work in root's login shell without typing certificates.
pub(super) fn login_files(cluster: &Cluster, member: &Member, keys: Option<&MemberKeys>) -> Files {
    let pki = if keys.is_some() { PKI } else { "" };
    let profile = include_str!("profile.sh").replacen("ENDPOINTS", &cluster.client_url(member.address), 1).replacen(
        "pki=PKI",
        &format!("pki={pki}"),
        1,
    );
    let mut files = Vec::new();
    if let Some(keys) = keys {
        files.push(FileSpec::made(format!("{PKI}/root.crt"), keys.client.cert()));
        files.push(FileSpec::secret(format!("{PKI}/root.key"), keys.client.key(), "root"));
    }
    files.push(FileSpec::text("/etc/profile.d/sunshine-etcd.sh", profile));
    Files(files)
}

fn etcd_conf(cluster: &Cluster, member: &Member) -> String {
    let (state, initial) = match &member.joining {
        Joining::New(initial) => ("new", initial),
        Joining::Existing(initial) => ("existing", initial),
    };
    let client = cluster.client_url(member.address);
    let local = cluster.client_url(IpAddr::from([127, 0, 0, 1]));
    let peer = cluster.peer_url(member.address);
    let mut conf = format!(
        "# Written by sunshine-installer; the first version, if there was one, is kept in /var/lib/sunshine-installer.\n\
         ETCD_NAME=\"{name}\"\n\
         ETCD_DATA_DIR=\"{DATA_DIR}\"\n\
         ETCD_LISTEN_PEER_URLS=\"{peer}\"\n\
         ETCD_LISTEN_CLIENT_URLS=\"{client},{local}\"\n\
         ETCD_INITIAL_ADVERTISE_PEER_URLS=\"{peer}\"\n\
         ETCD_ADVERTISE_CLIENT_URLS=\"{client}\"\n\
         ETCD_INITIAL_CLUSTER=\"{initial}\"\n\
         ETCD_INITIAL_CLUSTER_STATE=\"{state}\"\n\
         ETCD_INITIAL_CLUSTER_TOKEN=\"{token}\"\n",
        name = member.name,
        token = cluster.token,
    );
    if cluster.flannel {
        // etcd has it switched on by itself before 3.4.
        conf.push_str("ETCD_ENABLE_V2=\"true\"\n");
    }
    if cluster.tls {
        for prefix in ["ETCD", "ETCD_PEER"] {
            conf.push_str(&format!(
                "{prefix}_CERT_FILE=\"{PKI}/member.crt\"\n\
                 {prefix}_KEY_FILE=\"{PKI}/member.key\"\n\
                 {prefix}_TRUSTED_CA_FILE=\"{PKI}/ca.crt\"\n\
                 {prefix}_CLIENT_CERT_AUTH=\"true\"\n"
            ));
        }
    }
    conf
}

#[cfg(test)]
mod tests {
    use crate::resource::Content;

    use super::*;

    fn cluster(tls: bool) -> (Cluster, Member) {
        let address = "10.8.14.200".parse().unwrap();
        let mut cluster = Cluster {
            token: "t".into(),
            tls,
            standing: false,
            flannel: false,
            members: std::collections::BTreeMap::default(),
        };
        let initial = cluster.initial(&[("host0", address)]);
        let member = Member { name: "host0".into(), address, joining: Joining::New(initial) };
        cluster.members.insert("10.8.14.200".into(), member.clone());
        (cluster, member)
    }

    #[test]
    fn certificates_name_the_address_that_the_user_gave_without_its_port() {
        let (_, member) = cluster(true);
        for (host, name) in
            [("10.0.0.9:2222", "10.0.0.9"), ("[fe80::9]:2222", "fe80::9"), ("10.8.14.200", "10.8.14.200")]
        {
            let (dns, ips) = names(&member, &host.into());
            assert_eq!(dns, ["host0", "localhost"]);
            assert!(ips.contains(&name.parse().unwrap()), "{ips:?}");
        }
        assert_eq!(names(&member, &"gate.example:2222".into()).0, ["host0", "localhost", "gate.example"]);
    }

    #[test]
    fn etcd_conf_with_and_without_tls() {
        let (with, member) = cluster(true);
        insta::assert_snapshot!("etcd_conf_tls", etcd_conf(&with, &member));
        let (without, member) = cluster(false);
        insta::assert_snapshot!("etcd_conf_plain", etcd_conf(&without, &member));
        let line = "ETCD_ENABLE_V2=\"true\"\n";
        assert!(!etcd_conf(&with, &member).contains(line));
        assert!(etcd_conf(&Cluster { flannel: true, ..with }, &member).contains(line));
    }

    #[test]
    fn addresses_of_ipv6_stand_in_brackets() {
        let (mut cluster, mut member) = cluster(true);
        member.address = "fd10:8:14::200".parse().unwrap();
        member.joining = Joining::New(cluster.initial(&[("host0", member.address)]));
        let conf = etcd_conf(&cluster, &member);
        for line in [
            "ETCD_LISTEN_PEER_URLS=\"https://[fd10:8:14::200]:2380\"\n",
            "ETCD_LISTEN_CLIENT_URLS=\"https://[fd10:8:14::200]:2379,https://127.0.0.1:2379\"\n",
            "ETCD_INITIAL_CLUSTER=\"host0=https://[fd10:8:14::200]:2380\"\n",
        ] {
            assert!(conf.contains(line), "{conf}");
        }
        cluster.members.insert("[fd10:8:14::200]:2222".into(), member);
        assert!(cluster.endpoints().contains(&"https://[fd10:8:14::200]:2379".to_owned()));
    }

    #[test]
    fn root_logs_in_to_a_working_etcdctl() {
        let (cluster, member) = cluster(false);
        let files = login_files(&cluster, &member, None);
        let Content::Bytes(profile) = &files.0[0].content else { panic!("{files:?}") };
        insta::assert_snapshot!("etcd_profile", String::from_utf8_lossy(profile));
    }

    /// What an `etcdctl` of this version is called with in root's login shell, and finds in its environment.
    fn called(version: &str, line: &str) -> String {
        let (cluster, member) = cluster(true);
        let profile = include_str!("profile.sh")
            .replacen("ENDPOINTS", &cluster.client_url(member.address), 1)
            .replacen("pki=PKI", "pki=/pki", 1)
            // Whoever runs this test.
            .replacen("$(id -u)", "0", 1);
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("etcdctl");
        let text = format!(
            "#!/bin/sh\n[ \"$*\" != --version ] || {{ {version}; }}\nenv | grep ^ETCDCTL_ | sort | tr '\\n' ' '; echo \"$@\"\n"
        );
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let output = std::process::Command::new("/bin/sh")
            .args(["-c", &format!("{profile}\n{line}")])
            .env("PATH", format!("{}:/usr/bin:/bin", dir.path().display()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn options_and_the_environment_override_what_roots_login_shell_says() {
        const NEW: &str = "echo 'Error: unknown flag: --version' >&2; exit 1";
        const OLD: &str = "printf 'etcdctl version: 3.2.18\\nAPI version: 2\\n'; exit";
        let tls = "ETCDCTL_CACERT=/pki/ca.crt ETCDCTL_CERT=/pki/root.crt";
        let (key, ends) = ("ETCDCTL_KEY=/pki/root.key", "ETCDCTL_ENDPOINTS=https://10.8.14.200:2379");
        assert_eq!(called(NEW, "etcdctl member list"), format!("{tls} {ends} {key} member list"));
        assert_eq!(called(OLD, "etcdctl get x"), format!("ETCDCTL_API=3 {tls} {ends} {key} get x"));
        let all = "--endpoints https://a:1 --cacert=/c --cert /d --key=/e get x";
        assert_eq!(called(NEW, &format!("etcdctl {all}")), all);
        assert_eq!(called(NEW, "etcdctl put -- --key x"), format!("{tls} {ends} {key} put -- --key x"));
        assert_eq!(
            called(OLD, "ETCDCTL_API=2 ETCDCTL_ENDPOINTS=http://b etcdctl ls"),
            format!("ETCDCTL_API=2 {tls} ETCDCTL_ENDPOINTS=http://b {key} ls")
        );
    }
}
