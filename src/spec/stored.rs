//! What an environment's state says of its cluster: as a cluster file, and held against one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::flow::request::{Network, Runtime};
use crate::flow::{Environment, FlowError, Logins, etcd, kubernetes, registry};
use crate::host::{Address, Auth, HostId, Target, TargetDefaults};

use super::cluster::{ClusterSpec, EtcdSpec, Intent, KubernetesSpec, Request, Role, SiteRegistry};
use super::describe::Described;
use super::fields::SCHEMA;
use super::file::{
    ClusterFile, ConfigFields, DnsFields, EtcdFields, FlannelFields, HostFields, KubernetesFields, LoginFields,
    ProgramFields, RegistryFields, RegistryUserFields, SiteRegistryFields,
};
use super::problem::refuse;

/// The cluster that was created, with no secret in it; `None` when the environment has none.
///
/// # Errors
/// When the state cannot be read.
pub fn stored(environment: &Environment) -> Result<Option<ClusterFile>, FlowError> {
    let etcd = etcd::Cluster::load(environment)?;
    let cluster = kubernetes::Cluster::load(environment)?;
    let registry = registry::Registry::load(environment)?;
    let site = registry::SiteRegistry::load(environment)?;
    if etcd.is_none() && cluster.is_none() && registry.is_none() {
        return Ok(None);
    }
    let mut hosts: BTreeMap<HostId, Vec<Role>> = BTreeMap::new();
    let mut add = |host: &HostId, role: Role| hosts.entry(host.clone()).or_default().push(role);
    etcd.iter().flat_map(|c| c.members.keys()).for_each(|host| add(host, Role::Etcd));
    cluster.iter().flat_map(|c| c.control_plane.keys()).for_each(|host| add(host, Role::ControlPlane));
    cluster.iter().flat_map(|c| c.workers.keys()).for_each(|host| add(host, Role::Worker));
    registry.iter().flat_map(|r| r.hosts.keys()).for_each(|host| add(host, Role::Registry));
    let logins = Logins::load(environment)?;
    // By address, as a person would count them.
    let mut hosts: Vec<(HostId, Vec<Role>)> = hosts.into_iter().collect();
    hosts.sort_by_key(|(host, _)| (host.address().parse::<Address>().ok(), host.port()));
    // What another name or address of the host would not lead to by itself.
    let node_address = |host: &HostId| {
        let nodes = cluster.iter().flat_map(|c| c.workers.iter().map(|(host, node)| (host, node.machine.address)));
        let control_plane =
            cluster.iter().flat_map(|c| c.control_plane.iter().map(|(h, machine)| (h, machine.address)));
        let members = etcd.iter().flat_map(|c| c.members.iter().map(|(host, member)| (host, member.address)));
        let mut all = control_plane.chain(nodes).chain(members);
        let (_, address) = all.find(|(of, _)| *of == host)?;
        let is_another = host.address().parse::<IpAddr>().is_ok_and(|named| named != address);
        Some(address).filter(|address| is_another && !address.is_unspecified())
    };
    let host = |(host, roles): (HostId, Vec<Role>)| HostFields {
        roles,
        node_address: node_address(&host),
        login: login(&logins, &host),
        address: host.address().to_owned(),
    };
    Ok(Some(ClusterFile {
        schema: SCHEMA,
        environment: Some(environment.name.clone()),
        defaults: None,
        hosts: hosts.into_iter().map(host).collect(),
        etcd: etcd.as_ref().map(|c| EtcdFields { tls: Some(c.tls), rpms: Vec::new() }),
        kubernetes: cluster.as_ref().map(|c| settings(c, etcd.is_none())),
        registry: registry.map(|r| RegistryFields {
            port: Some(r.port),
            users: r
                .users
                .into_keys()
                .map(|name| RegistryUserFields { name, ..RegistryUserFields::default() })
                .collect(),
            storage: Some(r.storage),
            certificate_file: r.certificate.as_ref().map(|site| site.files.certificate.to_string()),
            key_file: r.certificate.as_ref().map(|site| site.files.key.to_string()),
            ca_file: r.certificate.as_ref().and_then(|site| site.files.ca.as_ref()).map(ToString::to_string),
        }),
        site_registry: site.map(|site| SiteRegistryFields {
            address: match site.prefix.as_str() {
                "" => site.address,
                prefix => format!("{}/{prefix}", site.address),
            },
            ca_file: site.ca_file.map(Into::into),
            user: site.user,
            ..SiteRegistryFields::default()
        }),
    }))
}

/// How a host was last logged in to. Whether anything at hand proves who we are does not matter here: an agent might.
fn login(logins: &Logins, host: &HostId) -> LoginFields {
    let agent = TargetDefaults { auth: Auth { agent: true, ..Auth::default() }, ..TargetDefaults::default() };
    let Some(target) = logins.target(host, &agent, &[]) else { return LoginFields::default() };
    LoginFields {
        user: Some(target.user).filter(|user| user != "root"),
        port: Some(target.port).filter(|port| *port != 22),
        key_file: target.auth.key.map(Into::into),
        ..LoginFields::default()
    }
}

fn settings(cluster: &kubernetes::Cluster, external: bool) -> KubernetesFields {
    let settings = cluster.settings.clone();
    let network = match &cluster.network {
        Network::Auto => "auto",
        Network::Flannel => "flannel",
        Network::Direct => "direct",
        Network::Manifest(name) => name,
    };
    let member = |url: &String| {
        let place = url.split_once("://").map_or(url.as_str(), |(_, place)| place);
        let address = place.rsplit_once(':').map_or(place, |(address, _)| address);
        address.trim_matches(['[', ']']).to_owned()
    };
    let components = settings.components;
    let options = |args: BTreeMap<String, String>| {
        let fields = ProgramFields { extra_args: args };
        (fields != ProgramFields::default()).then_some(fields)
    };
    let config = |config: Map<String, Value>| {
        let fields = ConfigFields { config };
        (fields != ConfigFields::default()).then_some(fields)
    };
    KubernetesFields {
        distribution: Some(cluster.distribution),
        version: Some(cluster.version.clone()).filter(|version| !version.is_empty()),
        network: Some(network.to_owned()),
        pod_cidr: Some(settings.pod_cidr),
        service_cidr: Some(settings.service_cidr),
        cluster_domain: Some(settings.cluster_domain),
        api_endpoint: settings.api_endpoint,
        api_vip: settings.api_vip,
        runtime: Some(if cluster.containerd { Runtime::Containerd } else { Runtime::Docker }),
        data_root: settings.data_root,
        registry_mirrors: settings.registry_mirrors,
        insecure_registries: settings.insecure_registries,
        keep_registry: settings.keep_registry.then_some(true),
        flannel: Some(FlannelFields {
            image: settings.flannel.image,
            cni_plugin_image: settings.flannel.cni_plugin_image,
        })
        .filter(|flannel| *flannel != FlannelFields::default()),
        dns: Some(DnsFields { stub_domains: settings.stub_domains }).filter(|dns| *dns != DnsFields::default()),
        control_plane_rpms: Vec::new(),
        worker_rpms: Vec::new(),
        external_etcd: if external { cluster.etcd.endpoints.iter().map(member).collect() } else { Vec::new() },
        api_server: options(components.api_server_args),
        controller_manager: options(components.controller_manager_args),
        scheduler: options(components.scheduler_args),
        kubelet: config(components.kubelet),
        kube_proxy: config(components.kube_proxy),
        patches: components.patches.into_iter().map(|file| file.path.into_string()).collect(),
        audit_policy: components.audit_policy.map(|file| file.path.into_string()),
        encrypt_secrets: components.encrypt_secrets.then_some(true),
    }
}

/// A host of the environment, with the roles that a description does not give it any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    pub host: HostId,
    pub roles: Vec<Role>,
}

impl Leaving {
    /// `10.8.14.202 (etcd, worker)`
    pub fn name(&self) -> String {
        let roles: Vec<&str> = self.roles.iter().map(|role| role.name()).collect();
        format!("{} ({})", self.host, roles.join(", "))
    }
}

/// What a description no longer names of a stored cluster.
pub fn leaving(stored: &ClusterFile, spec: &ClusterSpec) -> Vec<Leaving> {
    let mut leaving = Vec::new();
    for host in &stored.hosts {
        let Some(id) = id(host) else { continue };
        let roles: Vec<Role> = host.roles.iter().copied().filter(|role| !spec.has(&id, *role)).collect();
        if !roles.is_empty() {
            leaving.push(Leaving { host: id, roles });
        }
    }
    leaving
}

pub(super) fn id(host: &HostFields) -> Option<HostId> {
    Some(HostId::new(&host.address.parse::<Address>().ok()?, host.login.port.unwrap_or(22)))
}

/// The requests that take roles off these hosts, to be run one after the other. `login` finds the way to a host that the description does not name.
///
/// # Errors
/// When nothing would be left of a cluster, or there are no credentials for a host.
pub fn removal(
    leaving: &[Leaving],
    described: &Described,
    stored: &ClusterFile,
    login: &dyn Fn(&HostId) -> Option<Target>,
) -> Result<Vec<Request>, FlowError> {
    let spec = &described.spec;
    for (role, what) in [(Role::Etcd, "etcd member"), (Role::ControlPlane, "control plane node")] {
        if spec.hosts(role).is_empty() && stored.hosts.iter().any(|host| host.roles.contains(&role)) {
            return Err(FlowError::request_with_help(
                format!("{}: no host has the role {role}, and the last {what} cannot be removed", described.name),
                "`cluster reset` resets all hosts of an environment",
            ));
        }
    }
    let mut going = ClusterSpec::of_etcd(EtcdSpec::default());
    going.kubernetes = stored.kubernetes.as_ref().map(|_| KubernetesSpec::default());
    let mut registries = ClusterSpec::default();
    let mut missing = Vec::new();
    for host in leaving {
        let known = spec.all().find(|target| target.id() == host.host).cloned();
        match known.or_else(|| login(&host.host)) {
            Some(target) => {
                for role in &host.roles {
                    let from = if *role == Role::Registry { &mut registries } else { &mut going };
                    from.add(*role, vec![target.clone()])?;
                }
            }
            None => missing.push(host.host.as_str()),
        }
    }
    if !missing.is_empty() {
        return Err(FlowError::request_with_help(
            format!("no credentials for {}, to be removed", missing.join(", ")),
            "give them under `defaults:` of the file, with --ssh-password-file or --ssh-key, or name those hosts with `cluster remove`",
        ));
    }
    // The API servers that stay learn of the etcd members that stay, and the nodes forget a registry.
    let mut requests = Vec::new();
    for mut going in [going, registries].into_iter().filter(|going| going.all().next().is_some()) {
        going.name(spec.all().cloned().collect())?;
        requests.push(Request { spec: going, intent: Intent::Remove { force: false, drain_timeout: None } });
    }
    Ok(requests)
}

/// What a cluster keeps for good once it is there.
const KEPT: [(&str, &[&str]); 3] = [
    ("etcd", &["tls"]),
    ("registry", &["storage"]),
    (
        "kubernetes",
        &[
            "distribution",
            "version",
            "network",
            "podCIDR",
            "serviceCIDR",
            "clusterDomain",
            "apiEndpoint",
            "apiVIP",
            "runtime",
            "dataRoot",
            "externalEtcd",
        ],
    ),
];

/// Refuses a file that writes something else than what the stored cluster keeps for good.
///
/// # Errors
/// Names every such field.
pub fn check_kept(described: &Described, stored: &ClusterFile) -> Result<(), FlowError> {
    let written = serde_json::to_value(&described.file).unwrap_or_default();
    let kept = serde_json::to_value(stored).unwrap_or_default();
    let mut problems = Vec::new();
    for (section, fields) in KEPT.iter().filter(|(section, _)| kept[section].is_object()) {
        for field in *fields {
            let (written, kept) = (&written[section][field], &kept[section][field]);
            if written.is_null() || written == kept || written == "auto" {
                continue;
            }
            let is = if kept.is_null() { "was made without".to_owned() } else { format!("has {kept}") };
            let text = format!("the cluster {is}, which cannot be changed; another cluster is another environment");
            problems.push(described.lines.problem(&format!("{section}.{field}"), text));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(refuse(&described.name, problems)) }
}

/// Fills in what the file leaves open and the stored cluster keeps: whether etcd uses TLS is not to be written again.
pub fn keep(described: &mut Described, stored: &ClusterFile) {
    let open = described.file.etcd.as_ref().is_none_or(|etcd| etcd.tls.is_none());
    if let Some(tls) = stored.etcd.as_ref().and_then(|etcd| etcd.tls).filter(|_| open) {
        described.spec.etcd.tls = tls;
    }
    if described.file.site_registry.is_none() && stored.site_registry.is_some() {
        described.spec.site_registry = Some(SiteRegistry::Forget);
    }
}
