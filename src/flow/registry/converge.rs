//! A registry brought to what it should be: as `cluster apply` describes it, or as it stands, with new certificates.

use std::collections::BTreeMap;

use crate::flow::clocks;
use crate::flow::error::FlowError;
use crate::flow::etcd;
use crate::flow::names::{self, Reserved};
use crate::flow::problem::Problem;
use crate::flow::request::RegistryCreate;
use crate::flow::rpms;
use crate::flow::scene::{Asked, Flow, Scene, Seen};
use crate::flow::state::Environment;
use crate::host::{Facts, HostId, Target};
use crate::packages::Wanted;
use crate::plan::{Plan, RunHost, RunReport};

use super::certificate::SiteCertificate;
use super::package;
use super::plan::make_plan;
use super::state::{Machine, Registry};
use super::users;

/// Space that the folder of the images should have, in bytes: a few images.
const MIN_DISK: u64 = 1 << 30;

/// Brings a registry to what it should be.
#[derive(Debug)]
pub struct Converge {
    hosts: Vec<Target>,
    /// Nothing: it stays what it is, for this reason.
    request: Result<RegistryCreate, &'static str>,
    /// As it is to be; its hosts are added by the plan.
    after: Option<Registry>,
}

impl Converge {
    /// The registry of these hosts.
    pub fn create(request: RegistryCreate) -> Self {
        Self { hosts: request.hosts.clone(), request: Ok(request), after: None }
    }

    /// The registry that stands, on these hosts of it.
    pub fn refresh(hosts: Vec<Target>, reason: &'static str) -> Self {
        Self { hosts, request: Err(reason), after: None }
    }

    /// The registry as it is to be.
    fn decide(&mut self, seen: &mut Seen<'_>) -> Result<(), FlowError> {
        let Some(registry) = &mut self.after else { return Ok(()) };
        for target in &self.hosts {
            if let Some(facts) = seen.facts.get(&target.id()) {
                let machine = called(machine(target, facts)?, target, registry.certificate.as_ref());
                registry.hosts.insert(target.id(), machine);
            }
        }
        seen.registry = Some(registry.clone());
        Ok(())
    }

    fn ids(&self) -> Vec<HostId> {
        self.hosts.iter().map(Target::id).collect()
    }

    /// A certificate of the site must be for the host, by its address or one of its names.
    fn check_certificate(&self, host: &RunHost) -> Option<Problem> {
        let id = host.host.name();
        let target = self.hosts.iter().find(|target| target.id() == *id)?;
        let site = self.after.as_ref()?.certificate.as_ref()?;
        let machine = machine(target, &host.facts).ok()?;
        let (address, name) = (machine.address.to_string(), machine.name.clone());
        if site.covered([address.as_str(), id.address(), name.as_str()]).is_some() {
            return None;
        }
        let text = format!(
            "the certificate in {} is for {}, and for neither {address} nor {name}",
            site.files.certificate,
            site.names.join(", ")
        );
        Some(Problem::error(id, text, "give a certificate whose subject alternative names have one of them"))
    }

    fn check_host(&self, host: &RunHost, scene: &Scene<'_>) -> Vec<Problem> {
        let name = host.host.name();
        let Some(registry) = &self.after else { return Vec::new() };
        let Some(package) = package::of(scene.bundle, &host.facts) else {
            let text = format!("neither the host nor the bundle has {}, which brings a registry", package::names());
            return vec![Problem::error(name, text, "put its rpm into the bundle: `bundle repack --add FILE`")];
        };
        let mut problems = Vec::new();
        let of_another = |l: &&crate::host::Listening| {
            l.port == registry.port && l.process.as_deref().is_some_and(|process| process != package.process)
        };
        if let Some(taken) = host.facts.listening.iter().find(of_another) {
            let by = taken.process.as_deref().unwrap_or("another program");
            let text = format!("port {} is taken by {by}", registry.port);
            problems.push(Problem::error(name, text, "stop that service, or choose another with registry.port"));
        }
        problems.extend(self.check_certificate(host));
        if host.facts.disk_free_of(&registry.storage).is_some_and(|free| free < MIN_DISK) {
            let text = format!("{} has less than {MIN_DISK} bytes free for images", registry.storage);
            problems.push(Problem::warning(Some(name), text, Some("name a data disk with registry.storage".into())));
        }
        problems
    }
}

/// By the first of its address and names that a certificate of the site is for.
fn called(machine: Machine, target: &Target, site: Option<&SiteCertificate>) -> Machine {
    let Some(site) = site else { return machine };
    let address = machine.address.to_string();
    if site.covered([address.as_str()]).is_some() {
        return machine;
    }
    let id = target.id();
    let called = site.covered([id.address(), machine.name.as_str()]).map(str::to_owned);
    Machine { called, ..machine }
}

fn machine(target: &Target, facts: &Facts) -> Result<Machine, FlowError> {
    let address = etcd::member_address(target, facts).ok_or_else(|| FlowError::Failed {
        error: format!("{} has no address that the others could reach", target.id()),
        help: Some("give it an address and a default route".to_owned()),
    })?;
    Ok(Machine { name: facts.hostname.to_ascii_lowercase(), address, called: None })
}

impl Flow for Converge {
    fn title(&self) -> String {
        match &self.request {
            Ok(_) => format!("create the registry on {}", self.ids().join(", ")),
            Err(reason) => (*reason).to_owned(),
        }
    }

    fn targets(&self) -> Vec<Target> {
        self.hosts.clone()
    }

    fn check_request(&mut self, asked: &Asked<'_>) -> Result<Vec<Problem>, FlowError> {
        let known = Registry::load(asked.environment)?;
        let Ok(RegistryCreate { settings, .. }) = &self.request else {
            let site = known.iter().flat_map(|known| &known.certificate);
            let kept = site.map(|site| {
                let text = format!("the registry's certificate is the site's own, from {}", site.files.certificate);
                let help = "a new one is given with `cluster apply`";
                Problem::warning(None, text, Some(help.to_owned()))
            });
            let problems = kept.collect();
            self.after = known;
            return Ok(problems);
        };
        let none = BTreeMap::new();
        let users = users::hashes(&settings.users, known.as_ref().map_or(&none, |known| &known.users))?;
        let mut problems = Vec::new();
        if users.is_empty() {
            let text = format!("the registry has no users: everybody who reaches port {} may push", settings.port);
            problems.push(Problem::warning(None, text, Some("name them with registry.users".to_owned())));
        }
        let hosts = known.map(|known| known.hosts).unwrap_or_default();
        let certificate = settings.certificate.as_ref().map(SiteCertificate::read).transpose()?;
        let (port, storage) = (settings.port, settings.storage.clone());
        self.after = Some(Registry { port, storage, users, certificate, hosts });
        Ok(problems)
    }

    fn packages(&self, scene: &Scene<'_>) -> Result<BTreeMap<HostId, Vec<Wanted>>, FlowError> {
        let of = |host: HostId| {
            let package = package::of(scene.bundle, &scene.hosts.get(&host)?.facts)?;
            Some((host, rpms::by_name([package.name])))
        };
        Ok(self.ids().into_iter().filter_map(of).collect())
    }

    fn preflight(&self, scene: &Scene<'_>) -> Result<Vec<Problem>, FlowError> {
        let ids = self.ids();
        let hosts = ids.iter().filter_map(|host| scene.hosts.get(host));
        let mut problems = names::check(&self.hosts, &Reserved::usual(), scene)?;
        problems.extend(hosts.flat_map(|host| self.check_host(host, scene)));
        problems.extend(clocks::check(scene.hosts));
        Ok(problems)
    }

    /// Operations that run after this one look for conflicts with the registry on their hosts.
    fn observe(&mut self, _: &Scene<'_>, seen: &mut Seen<'_>) -> Result<(), FlowError> {
        self.decide(seen)
    }

    fn plan(&mut self, seen: &mut Seen<'_>) -> Result<Plan, FlowError> {
        self.decide(seen)?;
        let Some(registry) = &self.after else { return Ok(Plan::default()) };
        Ok(make_plan(registry, &self.ids(), seen))
    }
    /// Before the first step: a reset finds what a run that is killed has made.
    fn keep(&self, environment: &Environment) -> Result<(), FlowError> {
        self.after.as_ref().map_or(Ok(()), |registry| registry.save(environment))
    }

    fn finish(&mut self, _: &Scene<'_>, report: &RunReport) -> Result<Vec<String>, FlowError> {
        let Some(registry) = &self.after else { return Ok(Vec::new()) };
        if report.any_failed() {
            return Ok(Vec::new());
        }
        let addresses = registry.addresses().collect::<Vec<_>>().join(" ");
        Ok(vec![
            format!("registry: {addresses}"),
            "registry: `registry login-info` says how to log in and to push".to_owned(),
        ])
    }
}
