//! From parameters to operations: by the same description of a cluster that the other interfaces read.

use camino::Utf8Path;

use crate::flow::FlowError;
use crate::flow::request::{ClusterSettings, Network, Operation};
use crate::host::{Auth, HostId, Target, TargetDefaults, masked};
use crate::interface::credentials::{is_locked, targets};
use crate::interface::login::{self, Login, Secrets, learn};
use crate::spec::{ClusterSpec, EtcdSpec, Intent, KubernetesSpec, Request, Role, operations};

use super::body::{ClusterParams, HostList, WRONG};
use super::ec2::Ec2Params;

/// The operations that a task's parameters ask for, and the logins to keep.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) operations: Vec<Operation>,
    /// For hosts of the environment that the request does not name but the work is about.
    pub(crate) defaults: TargetDefaults,
    /// What the environment's later tasks fall back on; `None` where nothing is kept of the caller.
    pub(crate) kept: Option<Kept>,
    /// Every login of the environment whose password is at hand, for hosts that the work reaches without naming them.
    pub(crate) known: Vec<Target>,
}

/// What earlier tasks of the environment were logged in with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    pub(crate) login: Login,
    pub(crate) secrets: Secrets,
}

/// Where everybody is answered, nobody gets at what lies on the control host.
const NOT_FOR_EVERYBODY: &str =
    "is not used for callers of a listener with --no-auth: start `serve` with --token-file FILE";

/// What to do about hosts whose credentials are not at hand.
pub(crate) const LOGIN_HELP: &str = "name those hosts too, with their passwords or certificate_path. The listener knows the passwords of the tasks that it \
     accepted since it was started (not with --no-auth); those of earlier tasks are kept, sealed, when it is started with \
     `serve --keep-credentials KEYFILE`";

/// Type 1: etcd, then Kubernetes.
///
/// `kept` is what is known of the environment; `None` for a caller who has not shown who it is.
pub(crate) fn create(params: &ClusterParams, kept: Option<Kept>) -> Result<Asked, String> {
    for (name, list) in [("master-host-list", &params.control_plane), ("etcd-host-list", &params.etcd)] {
        if list.0.is_empty() {
            return Err(format!("{WRONG}: {name}: at least one host is wanted"));
        }
    }
    let rpms = Rpms::sort(&params.rpms, kept.is_some())?;
    let mut hosts = Hosts::new(params, kept)?;
    let mut spec = hosts.spec(params)?;
    if params.workers.0.is_empty() {
        spec.add(Role::Worker, spec.hosts(Role::ControlPlane)).map_err(|e| wrong(&e))?;
    }
    spec.etcd = EtcdSpec { rpms: rpms.etcd, ..EtcdSpec::default() };
    spec.kubernetes = Some(KubernetesSpec {
        settings: ClusterSettings {
            network: params.cni.as_deref().map_or(Network::Auto, Network::parse),
            ..ClusterSettings::default()
        },
        control_plane_rpms: rpms.master,
        worker_rpms: rpms.node,
        ..KubernetesSpec::default()
    });
    Ok(hosts.asked(&Request { spec, intent: Intent::converge() }))
}

/// Type 3: hosts join the environment's cluster.
pub(crate) fn add(params: &ClusterParams, kept: Option<Kept>) -> Result<Asked, String> {
    change_of_a_cluster(params)?;
    let rpms = Rpms::sort(&params.rpms, kept.is_some())?;
    let mut hosts = Hosts::new(params, kept)?;
    let mut spec = hosts.spec(params)?;
    spec.name(hosts.others()).map_err(|e| wrong(&e))?;
    spec.etcd = EtcdSpec { rpms: rpms.etcd, ..EtcdSpec::default() };
    spec.kubernetes =
        Some(KubernetesSpec { control_plane_rpms: rpms.master, worker_rpms: rpms.node, ..KubernetesSpec::default() });
    Ok(hosts.asked(&Request { spec, intent: Intent::Add }))
}

/// Type 4: hosts leave it.
pub(crate) fn remove(params: &ClusterParams, kept: Option<Kept>) -> Result<Asked, String> {
    change_of_a_cluster(params)?;
    if !params.rpms.is_empty() {
        return Err(format!("{WRONG}: rpms: nothing is installed when hosts are taken out"));
    }
    let mut hosts = Hosts::new(params, kept)?;
    let mut spec = hosts.spec(params)?;
    spec.name(hosts.others()).map_err(|e| wrong(&e))?;
    spec.kubernetes = Some(KubernetesSpec::default());
    Ok(hosts.asked(&Request { spec, intent: Intent::Remove { force: false, drain_timeout: None } }))
}

// Lists are held against each other when they are read, each by its name.
fn wrong(error: &FlowError) -> String {
    format!("{WRONG}: {error}")
}

/// Type 5: instances on EC2, with the account of the control host. The environment's logins are another matter and stay as
/// they are.
pub(crate) fn ec2(params: Ec2Params, kept: Option<Kept>) -> Result<Asked, String> {
    if kept.is_none() {
        return Err(format!("{WRONG}: environment_type 5: the AWS account of the control host {NOT_FOR_EVERYBODY}"));
    }
    let operations = vec![Operation::Ec2Create(Box::new(params.request()?))];
    Ok(Asked { operations, defaults: TargetDefaults::default(), kept, known: Vec::new() })
}

fn change_of_a_cluster(params: &ClusterParams) -> Result<(), String> {
    if [&params.control_plane, &params.etcd, &params.workers].iter().all(|list| list.0.is_empty()) {
        return Err(format!(
            "{WRONG}: at least one host is wanted in master-host-list, etcd-host-list or node-host-list"
        ));
    }
    if params.cni.is_some() {
        return Err(format!("{WRONG}: cni: a cluster's network is chosen when it is created"));
    }
    Ok(())
}

/// Reads host lists with what the request and the environment say about logins.
struct Hosts {
    defaults: TargetDefaults,
    login: Login,
    secrets: Secrets,
    seen: Vec<Target>,
    known_caller: bool,
}

impl Hosts {
    fn new(params: &ClusterParams, kept: Option<Kept>) -> Result<Self, String> {
        let known_caller = kept.is_some();
        let Kept { mut login, mut secrets } = kept.unwrap_or_default();
        if let Some(path) = &params.certificate_path {
            if !known_caller {
                return Err(format!("{WRONG}: certificate_path: a file of the control host {NOT_FOR_EVERYBODY}"));
            }
            check_key(path)?;
            login.key = Some(path.clone());
        }
        if let Some(user) = &params.ssh_user {
            login.user = Some(user.clone());
        }
        if let Some(sudo) = &params.ssh_sudo_pw {
            secrets.sudo = Some(sudo.clone());
        }
        // A password that was kept is for the hosts that it was kept for: `complete` gives it to them.
        let auth = Auth { key: login.key.clone(), sudo_password: params.ssh_sudo_pw.clone(), ..Auth::default() };
        let defaults = TargetDefaults { user: login.user.clone(), port: None, auth };
        Ok(Self { defaults, login, secrets, seen: Vec::new(), known_caller })
    }

    /// The hosts of the three lists with their roles.
    fn spec(&mut self, params: &ClusterParams) -> Result<ClusterSpec, String> {
        let mut spec = ClusterSpec::default();
        for (role, name, list) in [
            (Role::Etcd, "etcd-host-list", &params.etcd),
            (Role::ControlPlane, "master-host-list", &params.control_plane),
            (Role::Worker, "node-host-list", &params.workers),
        ] {
            spec.add(role, self.read(name, list)?).map_err(|e| wrong(&e))?;
        }
        Ok(spec)
    }

    fn read(&mut self, name: &str, list: &HostList) -> Result<Vec<Target>, String> {
        let wrong = |why: String| format!("{WRONG}: {name}: {}", why.replace('\n', "; "));
        if list.0.iter().any(|text| text.trim_matches(',').is_empty()) {
            return Err(wrong("a host is empty".to_owned()));
        }
        let mut hosts = targets(&list.0, &self.defaults).map_err(|e| wrong(e.to_string()))?;
        let bare = |target: &Target| {
            let same = |text: &&String| Target::parse(text, &self.defaults).is_ok_and(|t| t.same_host(target));
            list.0.iter().find(same).is_some_and(|text| !text.contains('@'))
        };
        let known = self.known();
        for target in &mut hosts {
            self.complete(target, bare(target), &known);
        }
        let without: Vec<&Target> =
            hosts.iter().filter(|t| t.auth.password.is_none() && t.auth.key.is_none()).collect();
        if !without.is_empty() {
            let names: Vec<String> = without.iter().map(|t| t.id().to_string()).collect();
            let known = without.iter().any(|t| self.login.hosts.contains_key(&t.id()));
            let help = if known { format!("; {LOGIN_HELP}") } else { String::new() };
            return Err(wrong(format!(
                "{}: neither a password (user:password@address) nor certificate_path is given{help}",
                names.join(", ")
            )));
        }
        for target in &hosts {
            match self.seen.iter().find(|t| t.same_host(target)) {
                Some(same) if !same.same_login(target) => {
                    return Err(wrong(format!("{} is given twice with different credentials", target.id())));
                }
                Some(_) => {}
                None => self.seen.push(target.clone()),
            }
        }
        Ok(hosts)
    }

    /// A host that the environment knows is logged in to as before, where the request says nothing else.
    fn complete(&self, target: &mut Target, bare: bool, known: &[Target]) {
        // An address without a port also means the only host that is known there.
        if let Some(host) = HostId::named(&target.id(), self.login.hosts.keys()) {
            target.port = host.port();
        }
        if let Some(login) = self.login.hosts.get(&target.id())
            && bare
        {
            target.user.clone_from(&login.user);
        }
        target.complete(known);
    }

    /// The environment's other hosts whose passwords are kept: the work may have to reach them too.
    fn others(&self) -> Vec<Target> {
        let new = |target: &Target| self.seen.iter().all(|seen| !seen.same_host(target));
        self.known().into_iter().filter(|target| target.auth.password.is_some() && new(target)).collect()
    }

    fn known(&self) -> Vec<Target> {
        login::targets(&self.login, &self.secrets, &self.defaults.auth)
    }

    fn asked(mut self, request: &Request) -> Asked {
        // Those of this request as it has them: what is given with it need not have been kept.
        let mut known = self.seen.clone();
        known.extend(self.known().into_iter().filter(|target| !self.seen.iter().any(|seen| seen.same_host(target))));
        learn(&mut self.login, &mut self.secrets, &self.seen);
        let kept = self.known_caller.then_some(Kept { login: self.login, secrets: self.secrets });
        Asked { operations: operations(request), defaults: self.defaults, kept, known }
    }
}

fn check_key(path: &Utf8Path) -> Result<(), String> {
    if !path.is_absolute() {
        return Err(format!("{WRONG}: certificate_path: a full path is wanted"));
    }
    let wrong = |why: String| format!("{WRONG}: certificate_path: {path}: {why}");
    let meta = std::fs::metadata(path).map_err(|e| wrong(e.to_string()))?;
    if !meta.is_file() || meta.len() > 1 << 20 {
        return Err(wrong("this is no key file".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    if !text.contains("PRIVATE KEY") {
        return Err(wrong("this is no private key".to_owned()));
    }
    if is_locked(&text) {
        return Err(wrong("the key is encrypted, and there is nobody to ask for its passphrase".to_owned()));
    }
    Ok(())
}

/// One list of packages, sorted by what they are for.
#[derive(Default)]
struct Rpms {
    etcd: Vec<String>,
    master: Vec<String>,
    node: Vec<String>,
}

impl Rpms {
    /// etcd's by their name, a control plane node's and a node's by theirs; everything else, such as a common library, goes to both.
    fn sort(list: &[String], known_caller: bool) -> Result<Self, String> {
        let mut sorted = Self::default();
        for rpm in list {
            if !known_caller && rpm.contains('/') {
                return Err(format!(
                    "{WRONG}: rpms: {:?}: a file of the control host {NOT_FOR_EVERYBODY}, or name a file of the bundle",
                    masked(rpm)
                ));
            }
            let name = Utf8Path::new(rpm).file_name().unwrap_or_default();
            if Utf8Path::new(name).extension() != Some("rpm") {
                return Err(format!("{WRONG}: rpms: {:?} is no rpm file's name", masked(rpm)));
            }
            if name.starts_with("etcd") {
                sorted.etcd.push(rpm.clone());
                continue;
            }
            if !name.starts_with("kubernetes-node") {
                sorted.master.push(rpm.clone());
            }
            if !name.starts_with("kubernetes-master") {
                sorted.node.push(rpm.clone());
            }
        }
        Ok(sorted)
    }
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
