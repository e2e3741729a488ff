//! `-K onekey_deploy_ctl`: the command line of the tool that this one succeeds, kept for the scripts written against it
//! (contract, section 1). Every option comes with one dash or two, with its value behind it or behind `=`; a list ends at
//! the next option.

use crate::flow::FlowError;
use crate::flow::request::{ClusterSettings, Network, Operation};
use crate::host::{Auth, Target, TargetDefaults};
use crate::spec::{ClusterSpec, EtcdSpec, Intent, KubernetesSpec, Request, Role, of_all};

use super::credentials::{Credentials, targets, unlock};

/// The word behind `-K`.
pub(crate) const NAME: &str = "onekey_deploy_ctl";

/// The one option whose value must never be shown.
const SUDO_PASSWORD: &str = "ssh-sudo-pw";

const ADD_MASTERS: &str = "add-master-host-list";
const ADD_NODES: &str = "add-node-host-list";
const DEL_MASTERS: &str = "del-master-host-list";
const DEL_NODES: &str = "del-node-host-list";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Etcd,
    Cluster,
}

/// Options by their names, the first being the one that errors and values go by.
const ETCD_OPTIONS: [&[&str]; 5] =
    [&["host-list", "hosts"], &["f", "force-reinstall"], &["ssh-key"], &["ssh-user"], &[SUDO_PASSWORD]];
const CLUSTER_OPTIONS: [&[&str]; 14] = [
    &["master-host-list", "master-hosts"],
    &["node-host-list", "node-hosts"],
    &["etcd-node-list", "enl"],
    &["fm", "force-reinstall-master"],
    &["fn", "force-reinstall-node"],
    &["k8s-cni-module", "cni"],
    &["cluster-oper", "cp"],
    &[ADD_MASTERS, "add-master-hosts"],
    &[ADD_NODES, "add-node-hosts"],
    &[DEL_MASTERS, "del-master-hosts"],
    &[DEL_NODES, "del-node-hosts"],
    &["ssh-key"],
    &["ssh-user"],
    &[SUDO_PASSWORD],
];

impl Kind {
    fn options(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Etcd => &ETCD_OPTIONS,
            Self::Cluster => &CLUSTER_OPTIONS,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Etcd => "-create_etcd_cluster",
            Self::Cluster => "-create_k8s_cluster",
        }
    }
}

/// An operation's words: each option's values, in order.
#[derive(Debug)]
struct Words {
    kind: Kind,
    values: Vec<(&'static str, Vec<String>)>,
}

/// What the words behind `-K onekey_deploy_ctl` ask for, and those that belong to the program as a whole (`--json`, …).
#[derive(Debug)]
pub(crate) struct Parsed {
    operations: Vec<Words>,
    /// Handed to the parser of today's options.
    pub(crate) global: Vec<String>,
}

/// Splits the words into operations. `is_global` tells how many values a program-wide option has.
pub(crate) fn parse(words: &[String], is_global: impl Fn(&str) -> Option<usize>) -> Result<Parsed, FlowError> {
    let mut parsed = Parsed { operations: Vec::new(), global: Vec::new() };
    let mut globals_due = 0;
    // A program-wide option ends the list before it as any other does.
    let mut list_open = false;
    for word in words {
        if globals_due > 0 {
            globals_due -= 1;
            parsed.global.push(word.clone());
            continue;
        }
        let Some(name) = option_name(word) else {
            take_value(&mut parsed, word, list_open)?;
            continue;
        };
        let (name, value) = name.split_once('=').map_or((name, None), |(n, v)| (n, Some(v)));
        let kind = match name {
            "create_etcd_cluster" => Some(Kind::Etcd),
            "create_k8s_cluster" => Some(Kind::Cluster),
            _ => None,
        };
        list_open = false;
        if let Some(kind) = kind {
            if value.is_some() {
                return Err(FlowError::request(format!("{} takes no value", kind.word())));
            }
            if parsed.operations.iter().any(|o| o.kind == kind) {
                return Err(FlowError::request(format!("{} is given twice", kind.word())));
            }
            parsed.operations.push(Words { kind, values: Vec::new() });
            continue;
        }
        let known = parsed
            .operations
            .last()
            .and_then(|o| o.kind.options().iter().find(|names| names.contains(&name)).map(|names| names[0]));
        match (known, parsed.operations.last_mut()) {
            (Some(option), Some(operation)) => {
                let values = value.map(|v| vec![v.to_owned()]).unwrap_or_default();
                operation.values.push((option, values));
                list_open = true;
            }
            _ => match is_global(name) {
                Some(values) => {
                    let dashes = if name.chars().count() == 1 { "-" } else { "--" };
                    parsed.global.push(format!("{dashes}{}", word.trim_start_matches('-')));
                    globals_due = if value.is_some() { 0 } else { values };
                }
                None => return Err(unknown(word, parsed.operations.last())),
            },
        }
    }
    Ok(parsed)
}

fn option_name(word: &str) -> Option<&str> {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
    (!name.is_empty()).then_some(name)
}

fn take_value(parsed: &mut Parsed, word: &str, list_open: bool) -> Result<(), FlowError> {
    match parsed.operations.last_mut().and_then(|o| o.values.last_mut()).filter(|_| list_open) {
        Some((_, values)) => {
            values.push(word.to_owned());
            Ok(())
        }
        None => Err(FlowError::request_with_help(
            format!("{:?} stands behind no option that takes a value", crate::host::masked(word)),
            format!(
                "-K {NAME} -create_etcd_cluster --host-list HOST… [-create_k8s_cluster --master-host-list HOST… …]"
            ),
        )),
    }
}

fn unknown(word: &str, operation: Option<&Words>) -> FlowError {
    let shown = crate::host::masked(word);
    let Some(operation) = operation else {
        return FlowError::request_with_help(
            format!("{shown}: not an option here"),
            "begin with -create_etcd_cluster or -create_k8s_cluster",
        );
    };
    if operation.values.last().is_some_and(|(name, values)| *name == SUDO_PASSWORD && values.is_empty()) {
        return FlowError::request_with_help(
            format!("--{SUDO_PASSWORD}: what follows begins with `-`, as an option does"),
            format!("write it as --{SUDO_PASSWORD}=PASSWORD, or put it into a file: --{SUDO_PASSWORD}-file FILE"),
        );
    }
    let known: Vec<_> = operation.kind.options().iter().map(|names| format!("--{}", names[0])).collect();
    FlowError::request_with_help(
        format!("{shown}: not an option of {}", operation.kind.word()),
        format!("it has {}", known.join(", ")),
    )
}

impl Words {
    fn list(&self, option: &str) -> Vec<String> {
        self.values.iter().filter(|(name, _)| *name == option).flat_map(|(_, v)| v.clone()).collect()
    }

    fn given(&self, option: &str) -> bool {
        self.values.iter().any(|(name, _)| *name == option)
    }

    fn one(&self, option: &str) -> Result<Option<String>, FlowError> {
        let mut values = self.list(option);
        match (values.len(), self.given(option)) {
            (1, _) => Ok(values.pop()),
            (0, false) => Ok(None),
            _ => Err(FlowError::request(format!("--{option} takes one value"))),
        }
    }

    fn hosts(&self, option: &str, defaults: &TargetDefaults) -> Result<Vec<Target>, FlowError> {
        let list = self.list(option);
        if list.is_empty() && self.given(option) {
            return Err(FlowError::request(format!("--{option} names no host")));
        }
        targets(&list, defaults)
    }

    fn packages(&self) -> KubernetesSpec {
        KubernetesSpec {
            control_plane_rpms: self.list("fm"),
            worker_rpms: self.list("fn"),
            ..KubernetesSpec::default()
        }
    }

    /// Refuses lists that belong to another operation: done silently without them, something else would happen than meant.
    fn refuse(&self, options: &[&str], belongs_to: &str) -> Result<(), FlowError> {
        match options.iter().find(|o| self.given(o)) {
            None => Ok(()),
            Some(option) => Err(FlowError::request(format!("--{option} belongs to {belongs_to}"))),
        }
    }

    fn want_one_of(&self, one: &str, other: &str) -> Result<(), FlowError> {
        if self.given(one) || self.given(other) {
            return Ok(());
        }
        Err(FlowError::request(format!("neither --{one} nor --{other} names a host")))
    }

    /// The operation's own credentials; for what it leaves open, the program-wide ones.
    fn defaults(&self, shared: &TargetDefaults) -> Result<TargetDefaults, FlowError> {
        let own = Credentials {
            ssh_user: self.one("ssh-user")?,
            ssh_key: self.one("ssh-key")?.map(Into::into),
            ssh_sudo_pw: self.one(SUDO_PASSWORD)?,
            ..Credentials::default()
        };
        let own = own.read()?;
        let auth = Auth {
            key: own.auth.key.or_else(|| shared.auth.key.clone()),
            sudo_password: own.auth.sudo_password.or_else(|| shared.auth.sudo_password.clone()),
            ..shared.auth.clone()
        };
        Ok(TargetDefaults { user: own.user.or_else(|| shared.user.clone()), port: shared.port, auth })
    }
}

impl Parsed {
    /// Credentials for hosts of the environment that no list names: the first operation's.
    pub(crate) fn login(&self, shared: &TargetDefaults) -> Result<TargetDefaults, FlowError> {
        self.operations.first().map_or_else(|| Ok(shared.clone()), |words| words.defaults(shared))
    }

    /// The operations, typed; empty when the ini files are to say what to do.
    pub(crate) fn operations(&self, shared: &TargetDefaults) -> Result<Vec<Operation>, FlowError> {
        Ok(of_all(&self.requests(shared)?))
    }

    /// What the words ask for. etcd and Kubernetes created on one line are one cluster.
    fn requests(&self, shared: &TargetDefaults) -> Result<Vec<Request>, FlowError> {
        let mut requests: Vec<Request> = Vec::new();
        let mut opened: Option<Auth> = None;
        for words in &self.operations {
            let mut defaults = words.defaults(shared)?;
            // Both operations mostly come with the same key: its passphrase is asked for once.
            if let Some(before) = opened.filter(|o| o.key == defaults.auth.key && defaults.auth.passphrase.is_none()) {
                defaults.auth.passphrase = before.passphrase;
            }
            unlock(&mut defaults.auth)?;
            let next = request(words, &defaults)?;
            match requests.pop() {
                Some(before) if before.intent == Intent::converge() && next.intent == before.intent => {
                    requests.push(Request { spec: before.spec.merge(next.spec)?, ..next });
                }
                before => requests.extend(before.into_iter().chain([next])),
            }
            opened = Some(defaults.auth);
        }
        Ok(requests)
    }
}

fn request(words: &Words, defaults: &TargetDefaults) -> Result<Request, FlowError> {
    if words.kind == Kind::Etcd {
        let members = words.hosts("host-list", defaults)?;
        if members.is_empty() {
            return Err(FlowError::request_with_help("-create_etcd_cluster names no host", "--host-list HOST…"));
        }
        let etcd = EtcdSpec { rpms: words.list("f"), ..EtcdSpec::default() };
        let mut spec = ClusterSpec::of_etcd(etcd);
        spec.add(Role::Etcd, members)?;
        return Ok(Request { spec, intent: Intent::converge() });
    }
    match words.one("cluster-oper")?.as_deref() {
        None | Some("create") => create_cluster(words, defaults),
        Some("add_nodes") => add_nodes(words, defaults),
        Some("del_nodes") => del_nodes(words, defaults),
        Some(other) => Err(FlowError::request(format!("-cp {other}: it is create, add_nodes or del_nodes"))),
    }
}

fn create_cluster(words: &Words, defaults: &TargetDefaults) -> Result<Request, FlowError> {
    words.refuse(&[ADD_MASTERS, ADD_NODES], "-cp add_nodes")?;
    words.refuse(&[DEL_MASTERS, DEL_NODES], "-cp del_nodes")?;
    let control_plane = words.hosts("master-host-list", defaults)?;
    if control_plane.is_empty() {
        return Err(FlowError::request_with_help(
            "-create_k8s_cluster names no control plane node",
            "--master-host-list HOST…",
        ));
    }
    let network = words.one("k8s-cni-module")?.map_or(Network::Auto, |word| Network::parse(&word));
    let mut spec = ClusterSpec::default();
    spec.add(Role::ControlPlane, control_plane)?;
    spec.add(Role::Worker, words.hosts("node-host-list", defaults)?)?;
    spec.kubernetes = Some(KubernetesSpec {
        settings: ClusterSettings { network, ..ClusterSettings::default() },
        external_etcd: words.hosts("etcd-node-list", defaults)?,
        ..words.packages()
    });
    Ok(Request { spec, intent: Intent::converge() })
}

fn add_nodes(words: &Words, defaults: &TargetDefaults) -> Result<Request, FlowError> {
    words.refuse(&[DEL_MASTERS, DEL_NODES], "-cp del_nodes")?;
    words.want_one_of(ADD_MASTERS, ADD_NODES)?;
    let mut spec = existing(words, defaults)?;
    spec.add(Role::ControlPlane, words.hosts(ADD_MASTERS, defaults)?)?;
    spec.add(Role::Worker, words.hosts(ADD_NODES, defaults)?)?;
    spec.kubernetes = Some(words.packages());
    Ok(Request { spec, intent: Intent::Add })
}

fn del_nodes(words: &Words, defaults: &TargetDefaults) -> Result<Request, FlowError> {
    words.refuse(&[ADD_MASTERS, ADD_NODES], "-cp add_nodes")?;
    words.want_one_of(DEL_MASTERS, DEL_NODES)?;
    let mut spec = existing(words, defaults)?;
    spec.add(Role::ControlPlane, words.hosts(DEL_MASTERS, defaults)?)?;
    spec.add(Role::Worker, words.hosts(DEL_NODES, defaults)?)?;
    spec.kubernetes = Some(KubernetesSpec::default());
    Ok(Request { spec, intent: Intent::Remove { force: false, drain_timeout: None } })
}

/// Hosts of the existing cluster, which scripts name beside those that come or go.
fn existing(words: &Words, defaults: &TargetDefaults) -> Result<ClusterSpec, FlowError> {
    let mut spec = ClusterSpec::default();
    spec.name(words.hosts("master-host-list", defaults)?)?;
    spec.name(words.hosts("node-host-list", defaults)?)?;
    Ok(spec)
}

/// What `-K onekey_deploy_ctl --help` prints.
pub(crate) const HELP: &str = "\
sunshine-installer -K onekey_deploy_ctl [OPERATION OPTION…]… [--json] [-v] [--dry-run] …

  -create_etcd_cluster        make an etcd cluster
      --host-list HOST…           its members (also --hosts)
      -f RPM…                     install from these files (also --force-reinstall)
  -create_k8s_cluster         make a Kubernetes cluster; on one line with the other it comes second
      --master-host-list HOST…    control plane nodes (also --master-hosts)
      --node-host-list HOST…      worker nodes (also --node-hosts)
      --etcd-node-list HOST…      an etcd cluster that stands (also -enl)
      -fm RPM…, -fn RPM…          packages of control plane nodes, of worker nodes
      -cni NAME                   flannel, direct, or a network manifest in the bundle
      -cp create|add_nodes|del_nodes
      --add-master-host-list, --add-node-host-list, --del-master-host-list, --del-node-host-list HOST…
  both: --reinstall               the RPM files again, where they are installed already
        --recreate                a new cluster where the environment's is lost: all its hosts were reinstalled
        --ssh-user USER --ssh-key FILE --ssh-sudo-pw PASSWORD

HOST is user:password@address[:port], or [user@]address[:port] with a key. Each option also with one dash or two, and
with =. An RPM that is not on the control host is looked up in the bundle by its file name. A list ends at the next option.
Without operation: conf.ini and install.ini say what to do (--conf, --install-conf).
The options that hold for every command hold here too: sunshine-installer --help lists them.

Examples:
  sunshine-installer -K onekey_deploy_ctl -create_etcd_cluster --host-list root:PASSWORD@10.8.14.200 \\
    -f /home/install_rpm/etcd-3.2.18-1.el7.x86_64.rpm
  sunshine-installer -K onekey_deploy_ctl -create_k8s_cluster -cp add_nodes --add-node-hosts root:PASSWORD@10.8.14.203";

#[cfg(test)]
#[path = "onekey_tests.rs"]
mod tests;
