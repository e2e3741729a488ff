//! From the text of a cluster file to a [`ClusterSpec`], or to every problem of the file at once.

use crate::flow::FlowError;
use crate::flow::request::{
    CertificateFiles, ClusterSettings, FlannelImages, Network, RegistrySettings, RegistryUser, SiteRegistrySettings,
};
use crate::host::{Auth, Target, TargetDefaults};
use crate::registry::Place;

use super::check::{Lines, check};
use super::cluster::{ClusterSpec, EtcdSpec, KubernetesSpec, Role, SiteRegistry};
use super::components::components;
use super::fields::{ROOT, SCHEMA};
use super::file::{ClusterFile, KubernetesFields, RegistryUserFields, SiteRegistryFields};
use super::logins::{Logins, Surroundings};
use super::problem::{FileProblem, refuse};
use super::validate;
use super::yaml::{self, Content, Value};

/// A cluster file that was read.
#[derive(Debug, Clone)]
pub struct Described {
    pub spec: ClusterSpec,
    /// The file's environment, where it names one.
    pub environment: Option<String>,
    /// How hosts are logged in to that the file does not name.
    pub login: TargetDefaults,
    pub file: ClusterFile,
    pub(super) name: String,
    pub(super) lines: Lines,
}

/// Reads a cluster file; `name` is what messages call it.
///
/// # Errors
/// Every problem of the file: what is not understood, what contradicts itself, references that lead nowhere.
pub fn describe(name: &str, text: &str, around: Surroundings<'_>) -> Result<Described, FlowError> {
    let root = yaml::parse(text).map_err(|problem| refuse(name, vec![problem]))?;
    other_schema(&root).map_err(|problem| refuse(name, vec![problem]))?;
    let checked = check(&root, &ROOT);
    // Not even a map.
    if checked.json.is_null() {
        return Err(refuse(name, checked.problems));
    }
    let (lines, mut problems) = (checked.lines, checked.problems);
    let file: ClusterFile =
        serde_json::from_value(checked.json).map_err(|e| refuse(name, vec![FileProblem::at(1, "", e.to_string())]))?;
    if problems.is_empty() {
        problems.extend(validate::roles(&file, &lines));
    }
    problems.extend(validate::within(&file, &lines));
    let mut logins = Logins::new(around, &lines);
    let login = logins.resolve(&file.defaults.clone().unwrap_or_default(), "defaults", around.given);
    let mut targets = Vec::new();
    for (index, host) in file.hosts.iter().enumerate() {
        let own = logins.resolve(&host.login, &format!("hosts[{index}]"), &login);
        targets.extend(host.address.parse().map(|address| Target {
            user: own.user.unwrap_or_else(|| "root".to_owned()),
            address,
            port: own.port.unwrap_or(22),
            auth: own.auth,
            node_address: host.node_address,
        }));
    }
    let registry = registry(&file, &mut logins);
    let site_registry = file.site_registry.as_ref().and_then(|fields| site_registry(fields, &mut logins));
    let components = file.kubernetes.as_ref().map(|fields| components(fields, &mut logins)).unwrap_or_default();
    problems.append(&mut logins.problems);
    if !problems.is_empty() {
        return Err(refuse(name, problems));
    }
    let mut spec = spec(&file, targets, around)?;
    spec.registry = registry;
    spec.site_registry = site_registry;
    if let Some(kubernetes) = &mut spec.kubernetes {
        kubernetes.settings.components = components;
    }
    Ok(Described { spec, environment: file.environment.clone(), login, file, name: name.to_owned(), lines })
}

/// A file of another schema has other fields: that alone is said.
fn other_schema(root: &yaml::Node) -> Result<(), FileProblem> {
    let Content::Map(fields) = &root.content else { return Ok(()) };
    let schema = fields.iter().find(|(key, _)| key.name == "schema");
    match schema.map(|(key, value)| (key, value.value())) {
        Some((key, Some(Value::Integer(number)))) if u64::try_from(number).ok() != Some(SCHEMA) => {
            let text = format!("{number} is not supported; this version reads schema {SCHEMA}");
            Err(FileProblem::at(key.line, "schema", text))
        }
        _ => Ok(()),
    }
}

fn spec(file: &ClusterFile, targets: Vec<Target>, around: Surroundings<'_>) -> Result<ClusterSpec, FlowError> {
    let etcd = file.etcd.clone().unwrap_or_default();
    let etcd = EtcdSpec { tls: etcd.tls.unwrap_or(true), rpms: around.rpms(&etcd.rpms) };
    let mut spec = ClusterSpec::of_etcd(etcd);
    for (host, target) in file.hosts.iter().zip(targets) {
        for role in &host.roles {
            spec.add(*role, vec![target.clone()])?;
        }
    }
    if !spec.hosts(Role::ControlPlane).is_empty() {
        let fields = file.kubernetes.clone().unwrap_or_default();
        let member = |address: &String| {
            let (user, auth) = ("root".to_owned(), Auth::default());
            Some(Target { user, address: address.parse().ok()?, port: 22, auth, node_address: None })
        };
        spec.kubernetes = Some(KubernetesSpec {
            described: true,
            external_etcd: fields.external_etcd.iter().filter_map(member).collect(),
            control_plane_rpms: around.rpms(&fields.control_plane_rpms),
            worker_rpms: around.rpms(&fields.worker_rpms),
            settings: settings(fields),
        });
    }
    Ok(spec)
}

fn registry(file: &ClusterFile, logins: &mut Logins<'_>) -> RegistrySettings {
    let (fields, usual) = (file.registry.clone().unwrap_or_default(), RegistrySettings::default());
    let user = |(index, user): (usize, &RegistryUserFields)| RegistryUser {
        name: user.name.clone(),
        password: logins.password(
            user.password_file.as_ref(),
            user.password_env.as_ref(),
            &format!("registry.users[{index}]"),
        ),
    };
    RegistrySettings {
        port: fields.port.unwrap_or(usual.port),
        users: fields.users.iter().enumerate().map(user).collect(),
        storage: fields.storage.unwrap_or(usual.storage),
        certificate: fields.certificate_file.as_ref().zip(fields.key_file.as_ref()).map(|(certificate, key)| {
            CertificateFiles {
                certificate: logins.file(certificate, "registry.certificateFile"),
                key: logins.file(key, "registry.keyFile"),
                ca: fields.ca_file.as_ref().map(|ca| logins.file(ca, "registry.caFile")),
            }
        }),
    }
}

fn site_registry(fields: &SiteRegistryFields, logins: &mut Logins<'_>) -> Option<SiteRegistry> {
    let path = "siteRegistry";
    Some(SiteRegistry::Use(SiteRegistrySettings {
        place: Place::parse(&fields.address).ok()?,
        ca_file: fields.ca_file.as_ref().map(|ca| logins.file(ca, "siteRegistry.caFile")),
        user: fields.user.clone(),
        password: logins.password(fields.password_file.as_ref(), fields.password_env.as_ref(), path),
    }))
}

fn settings(fields: KubernetesFields) -> ClusterSettings {
    let usual = ClusterSettings::default();
    let flannel = fields.flannel.unwrap_or_default();
    let stub_domains = fields.dns.unwrap_or_default().stub_domains;
    ClusterSettings {
        network: fields.network.as_deref().map_or(usual.network, Network::parse),
        pod_cidr: fields.pod_cidr.unwrap_or(usual.pod_cidr),
        service_cidr: fields.service_cidr.unwrap_or(usual.service_cidr),
        cluster_domain: fields.cluster_domain.unwrap_or(usual.cluster_domain),
        api_endpoint: fields.api_endpoint,
        api_vip: fields.api_vip,
        distribution: fields.distribution,
        version: fields.version,
        runtime: fields.runtime.unwrap_or(usual.runtime),
        data_root: fields.data_root,
        registry_mirrors: fields.registry_mirrors,
        insecure_registries: fields.insecure_registries,
        keep_registry: fields.keep_registry.unwrap_or(usual.keep_registry),
        // CoreDNS and everybody else compares names in lower case.
        stub_domains: stub_domains.into_iter().map(|(name, servers)| (name.to_ascii_lowercase(), servers)).collect(),
        flannel: FlannelImages { image: flannel.image, cni_plugin_image: flannel.cni_plugin_image },
        components: usual.components,
    }
}
