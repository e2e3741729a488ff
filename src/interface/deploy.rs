//! `deploy`: etcd, then Kubernetes, from conf.ini and install.ini. They are found as `--conf` and `--install-conf` name
//! them, else beside the bundle, else among the bundle's own files. What is found beside the bundle counts only where no other user
//! could have put it there.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use payload::{Bundle, MemberKind};

use crate::flow::request::{Job, RunOptions};
use crate::flow::{FlowError, trusted};
use crate::host::{Target, TargetDefaults};
use crate::spec::{ClusterSpec, EtcdSpec, Intent, KubernetesSpec, Request, Role, operations};

use super::cli::{Global, Source};
use super::credentials::targets;
use super::ini::Sections;

/// The folder beside the bundle where rpms and install.ini lie.
const INSTALL: &str = "install_rpm";

const ETCD: &str = "etcd-cluster";
const MASTER: &str = "k8s-master";
const CLUSTER: &str = "k8s-cluster";

/// Options of `deploy`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DeployArgs {
    /// Which hosts [default: conf/conf.ini beside the bundle, else the bundle's own]
    #[arg(long, value_name = "FILE")]
    pub(crate) conf: Option<Utf8PathBuf>,
    /// Which rpms [default: install_rpm/install.ini beside the bundle, else the bundle's own]
    #[arg(long, value_name = "FILE")]
    pub(crate) install_conf: Option<Utf8PathBuf>,
    #[command(flatten)]
    pub(crate) source: Source,
}

impl DeployArgs {
    /// What the two files ask for.
    pub(crate) fn job(&self, defaults: &TargetDefaults, global: &Global) -> Result<(Job, Option<Bundle>), FlowError> {
        let bundle = self.source.open()?;
        let conf = find("conf.ini", "conf", self.conf.as_deref(), bundle.as_ref())?.ok_or_else(|| {
            FlowError::request_with_help(
                "there is no conf.ini: neither beside the bundle nor in it",
                "name one with --conf, or name hosts with -create_etcd_cluster --host-list …",
            )
        })?;
        let install = find("install.ini", INSTALL, self.install_conf.as_deref(), bundle.as_ref())?;
        let beside = beside().map(|folder| folder.join(INSTALL));
        let named = self.install_conf.as_deref().and_then(Utf8Path::parent).map(Utf8Path::to_owned);
        let folders: Vec<Utf8PathBuf> = named.into_iter().chain(beside).collect();
        let operations = operations(&request(&conf, install.as_ref(), &folders, defaults)?);
        let options = RunOptions { login: defaults.clone(), ..global.options() };
        Ok((Job { operations, options }, bundle))
    }
}

/// Reads one of the files from the first place that has it.
fn find(
    name: &str,
    folder: &str,
    given: Option<&Utf8Path>,
    bundle: Option<&Bundle>,
) -> Result<Option<Sections>, FlowError> {
    if let Some(path) = given {
        return Sections::read(path).map(Some);
    }
    if let Some(dir) = beside() {
        for path in [dir.join(folder).join(name), dir.join(name)] {
            if path.is_file() {
                trusted(&path)?;
                return Sections::read(&path).map(Some);
            }
        }
    }
    let Some(bundle) = bundle else { return Ok(None) };
    let is_it = |m: &&payload::Member| m.kind == MemberKind::Ini && Utf8Path::new(&m.name).file_name() == Some(name);
    let Some(member) = bundle.manifest().members.iter().find(is_it) else { return Ok(None) };
    let text = String::from_utf8_lossy(&bundle.bytes(member)?).into_owned();
    Sections::parse(Utf8Path::new(&format!("{name} of the bundle")), &text).map(Some)
}

/// The folder that the program lies in.
fn beside() -> Option<Utf8PathBuf> {
    let program = std::env::current_exe().ok().and_then(|exe| Utf8PathBuf::from_path_buf(exe).ok())?;
    program.parent().map(Utf8Path::to_owned)
}

/// An rpm that install.ini names, as a path where one of these folders has it.
fn rpm(name: &str, folders: &[Utf8PathBuf]) -> Result<String, FlowError> {
    let is_bare = Utf8Path::new(name).file_name() == Some(name);
    let mut paths = folders.iter().filter(|_| is_bare).map(|folder| folder.join(name));
    let Some(path) = paths.find(|path| path.is_file()) else { return Ok(name.to_owned()) };
    trusted(&path)?;
    Ok(path.into_string())
}

/// What the two files describe; `folders`: where the rpms are looked for first.
fn request(
    conf: &Sections,
    install: Option<&Sections>,
    folders: &[Utf8PathBuf],
    defaults: &TargetDefaults,
) -> Result<Request, FlowError> {
    conf.only(&[ETCD, MASTER, CLUSTER])?;
    if let Some(install) = install {
        install.only(&[ETCD, MASTER, CLUSTER])?;
    }
    let hosts = |section: &str| -> Result<Vec<Target>, FlowError> {
        targets(&conf.hosts(section)?.unwrap_or_default(), defaults)
    };
    let rpms = |section: &str| -> Result<Vec<String>, FlowError> {
        let lines = install.and_then(|i| i.lines(section)).unwrap_or_default();
        lines.into_iter().map(|line| rpm(&line.text, folders)).collect()
    };
    let (members, mut control_plane, workers) = (hosts(ETCD)?, hosts(MASTER)?, hosts(CLUSTER)?);
    if control_plane.is_empty() {
        control_plane.extend(workers.first().cloned());
    }
    if members.is_empty() && control_plane.is_empty() {
        return Err(FlowError::request_with_help(
            "conf.ini names no host",
            "put hosts under [etcd-cluster] and [k8s-cluster], a line each: address:password",
        ));
    }
    let mut spec = ClusterSpec::default();
    if !members.is_empty() {
        spec.etcd = EtcdSpec { rpms: rpms(ETCD)?, ..EtcdSpec::default() };
    }
    if !control_plane.is_empty() {
        spec.kubernetes = Some(KubernetesSpec {
            control_plane_rpms: rpms(MASTER)?,
            worker_rpms: rpms(CLUSTER)?,
            ..KubernetesSpec::default()
        });
    }
    for (role, hosts) in [(Role::Etcd, members), (Role::ControlPlane, control_plane), (Role::Worker, workers)] {
        spec.add(role, hosts)?;
    }
    Ok(Request { spec, intent: Intent::converge() })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::flow::request::Operation;
    use crate::interface::cli::{Cli, Command};
    use crate::interface::onekey;
    use crate::spec::{Surroundings, describe};

    const HOSTS: [&str; 2] = ["root:111111@10.8.14.200", "root:1@1:1@10.8.14.201"];

    /// The operations that a line of today's form asks for.
    fn today(line: &[&str]) -> Operation {
        let cli = Cli::try_parse_from([&["sunshine-installer"], line].concat()).unwrap();
        let defaults = cli.credentials.defaults().unwrap();
        let request = match cli.command {
            Command::Etcd(command) => command.request(&defaults),
            Command::Cluster(command) => command.request(&defaults),
            other => panic!("{other:?}"),
        };
        operations(&request.unwrap().unwrap()).remove(0)
    }

    /// The contract: all interfaces give the same request, to the last character of a password.
    #[test]
    fn the_ini_files_the_k_form_and_the_subcommands_ask_for_the_same() {
        let conf = "[etcd-cluster]\n10.8.14.200:111111\n10.8.14.201:1@1:1\n[k8s-cluster]\n10.8.14.200:111111\n10.8.14.201:1@1:1\n";
        let install = "[etcd-cluster]\netcd-3.4.23-1.el9.x86_64.rpm  # as shipped\n[k8s-cluster]\nnode a.rpm\n[k8s-master]\nmaster.rpm";
        let parse = |text: &str| Sections::parse(Utf8Path::new("x.ini"), text).unwrap();
        let defaults = TargetDefaults::default();
        let from_ini = operations(&request(&parse(conf), Some(&parse(install)), &[], &defaults).unwrap());
        let line = [
            "-create_etcd_cluster",
            "--host-list",
            HOSTS[0],
            HOSTS[1],
            "-f",
            "etcd-3.4.23-1.el9.x86_64.rpm",
            "--create_k8s_cluster",
            "--master-hosts=root:111111@10.8.14.200",
            "-fm",
            "master.rpm",
            "-node-host-list",
            HOSTS[0],
            HOSTS[1],
            "-fn",
            "node a.rpm",
        ]
        .map(str::to_owned);
        let from_line = onekey::parse(&line, |_| None).unwrap().operations(&defaults).unwrap();
        assert_eq!(from_ini, from_line);
        let etcd = ["etcd", "create", "--host", HOSTS[0], HOSTS[1], "--rpm", "etcd-3.4.23-1.el9.x86_64.rpm"];
        let control_plane = ["cluster", "create", "--master", HOSTS[0], "--master-rpm", "master.rpm"];
        let workers = ["--node", HOSTS[0], HOSTS[1], "--node-rpm", "node a.rpm"];
        assert_eq!(from_ini, [today(&etcd), today(&[&control_plane[..], &workers[..]].concat())]);
    }

    const FILE: &str = "\
schema: 1
hosts:
  - {address: 10.8.14.200, passwordEnv: PW1, roles: [etcd, master, node]}
  - {address: 10.8.14.201, passwordEnv: PW2, roles: [etcd, worker]}
etcd: {rpms: [etcd-3.4.23-1.el9.x86_64.rpm]}
kubernetes: {controlPlaneRpms: [master.rpm], workerRpms: [node a.rpm]}
";

    /// The operations that a cluster file asks for, but that it says all of what is set on components, and a line nothing.
    fn from_file(text: &str) -> Vec<Operation> {
        let passwords = |name: &str| match name {
            "PW1" => Some("111111".to_owned()),
            "PW2" => Some("1@1:1".to_owned()),
            _ => None,
        };
        let given = TargetDefaults::default();
        let around = Surroundings { folder: Utf8Path::new("/nowhere"), given: &given, variable: &passwords };
        let mut spec = describe("cluster.yaml", text, around).unwrap().spec;
        if let Some(kubernetes) = &mut spec.kubernetes {
            assert!(std::mem::take(&mut kubernetes.described));
        }
        operations(&Request { spec, intent: Intent::converge() })
    }

    #[test]
    fn a_cluster_file_asks_for_what_the_lines_ask_for() {
        let options = RunOptions::default();
        let job = |operations: Vec<Operation>| Job { operations, options: options.clone() };
        let line = [
            "-create_etcd_cluster",
            "--host-list",
            HOSTS[0],
            HOSTS[1],
            "-f",
            "etcd-3.4.23-1.el9.x86_64.rpm",
            "-create_k8s_cluster",
            "--master-host-list",
            HOSTS[0],
            "-fm",
            "master.rpm",
            "--node-host-list",
            HOSTS[0],
            HOSTS[1],
            "-fn",
            "node a.rpm",
        ]
        .map(str::to_owned);
        let from_line = onekey::parse(&line, |_| None).unwrap().operations(&TargetDefaults::default()).unwrap();
        assert_eq!(job(from_file(FILE)), job(from_line));

        let settings = "\
schema: 1
hosts: [{address: 10.8.14.200, passwordEnv: PW1, roles: [control-plane]}]
kubernetes:
  externalEtcd: [10.8.14.190]
  network: direct
  podCIDR: 10.50.0.0/16
  serviceCIDR: 10.60.0.0/16
  clusterDomain: k8s.example
  apiVIP: 10.8.14.210
  runtime: containerd
  dataRoot: /srv/c
  registryMirrors: [\"https://r.example:5000\"]
  insecureRegistries: [\"r.example:5000\"]
";
        let line = "cluster create --master root:111111@10.8.14.200 --etcd 10.8.14.190 --cni direct --pod-cidr 10.50.0.0/16 \
                    --service-cidr 10.60.0.0/16 --cluster-domain k8s.example --api-vip 10.8.14.210 --runtime containerd \
                    --data-root /srv/c --registry-mirror https://r.example:5000 --insecure-registry r.example:5000";
        let line: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(job(from_file(settings)), job(vec![today(&line)]));
    }

    #[test]
    fn the_order_of_operations_on_a_line_does_not_matter() {
        let line = ["-create_k8s_cluster", "--master-hosts", HOSTS[0], "-create_etcd_cluster", "--hosts", HOSTS[0]];
        let line = line.map(str::to_owned);
        let operations = onekey::parse(&line, |_| None).unwrap().operations(&TargetDefaults::default()).unwrap();
        assert!(matches!(operations[..], [Operation::EtcdCreate(_), Operation::ClusterCreate(_)]), "{operations:?}");
    }

    #[test]
    fn changes_of_a_cluster_ask_for_the_same_by_both_names() {
        let k = |line: &[&str]| {
            let line: Vec<String> = line.iter().map(|w| (*w).to_owned()).collect();
            onekey::parse(&line, |_| None).unwrap().operations(&TargetDefaults::default()).unwrap()
        };
        let head = ["-create_k8s_cluster", "-cp"];
        assert_eq!(
            k(&[&head[..], &["add_nodes", "--add-node-host-list", HOSTS[0], "-fn", "n.rpm"]].concat()),
            [today(&["cluster", "add", "--node", HOSTS[0], "--node-rpm", "n.rpm"])]
        );
        assert_eq!(
            k(&[&head[..], &["del_nodes", "--del-master-hosts", HOSTS[1]]].concat()),
            [today(&["cluster", "remove", "--master", HOSTS[1]])]
        );
    }

    #[test]
    fn rpms_of_install_ini_are_found_in_its_folder_where_no_other_could_have_put_them() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let folder = Utf8PathBuf::from_path_buf(dir.path().join(INSTALL)).unwrap();
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("etcd.rpm"), "").unwrap();
        let found = |name: &str| rpm(name, std::slice::from_ref(&folder));
        assert_eq!(found("etcd.rpm").unwrap(), folder.join("etcd.rpm"));
        assert_eq!(found("other.rpm").unwrap(), "other.rpm", "it may be in the bundle");
        assert_eq!(found("/srv/etcd.rpm").unwrap(), "/srv/etcd.rpm");
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        let error = found("etcd.rpm").unwrap_err();
        assert!(error.to_string().contains("can be written by others (mode 0777)"), "{error}");
    }

    #[test]
    fn the_files_as_shipped_are_read_and_name_no_host() {
        let root = Utf8PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap());
        let conf = Sections::read(&root.join("conf/conf.ini")).unwrap();
        let install = Sections::read(&root.join("install_rpm/install.ini")).unwrap();
        let error = request(&conf, Some(&install), &[], &TargetDefaults::default()).unwrap_err();
        assert_eq!(error.to_string(), "conf.ini names no host");
    }
}
