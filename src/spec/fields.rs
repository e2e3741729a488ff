//! The fields of a cluster file. This one table is what files are checked against, what their JSON schema is made of and
//! what orders them when they are written; `file.rs` has the types that they are read into.

use super::values::Format;

/// One field of a map.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
    /// What it is without being written, where that is one value.
    pub(super) default: DefaultValue,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum DefaultValue {
    None,
    Text(&'static str),
    Switch(bool),
    Integer(u64),
}

#[derive(Debug)]
pub(super) enum Kind {
    Text(Format),
    Integer {
        min: u64,
        max: u64,
    },
    Switch,
    Choice(&'static [Choice]),
    List {
        of: &'static Kind,
        /// A list without an item says nothing.
        filled: bool,
    },
    /// Fields, in groups.
    Map(&'static [&'static [Field]]),
    /// Names, each with a value.
    Entries {
        name: Format,
        of: &'static Kind,
    },
    /// Names of a program's options, without their dashes, each with a text.
    Options,
    /// Whatever fields another program has: nothing is known of them here.
    Free,
    /// One path or a list of them.
    Paths,
}

/// A word, and others that mean the same.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) word: &'static str,
    pub(super) aliases: &'static [&'static str],
}

const fn choice(word: &'static str, aliases: &'static [&'static str]) -> Choice {
    Choice { word, aliases }
}

const fn field(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, about, kind, required: false, default: DefaultValue::None }
}

const fn required(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { required: true, ..field(name, kind, about) }
}

const fn text(name: &'static str, format: Format, default: &'static str, about: &'static str) -> Field {
    Field { default: DefaultValue::Text(default), ..field(name, Kind::Text(format), about) }
}

/// The schema that this version reads and writes.
pub(super) const SCHEMA: u64 = 1;

pub(super) const ROOT: Kind = Kind::Map(&[&[
    required("schema", Kind::Integer { min: SCHEMA, max: SCHEMA }, "Version of this format"),
    text(
        "environment",
        Format::Environment,
        "default",
        "Which environment this is about: one cluster's state on the control host",
    ),
    field("defaults", Kind::Map(&[LOGIN]), "How hosts are logged in to that say nothing else themselves"),
    required("hosts", Kind::List { of: &Kind::Map(&[HOST, LOGIN]), filled: true }, "Every host of the cluster"),
    field("etcd", Kind::Map(&[ETCD]), "What the etcd cluster is made with"),
    field("kubernetes", Kind::Map(&[KUBERNETES]), "What the Kubernetes cluster is made with"),
    field("registry", Kind::Map(&[REGISTRY]), "What the registry of container images is made with"),
    field("siteRegistry", Kind::Map(&[SITE_REGISTRY]), "A registry that the site runs itself, which nodes pull from"),
]]);

const HOST: &[Field] = &[
    required("address", Kind::Text(Format::Address), "IPv4 or IPv6 address, or DNS name"),
    required("roles", Kind::List { of: &Kind::Choice(ROLES), filled: true }, "What the host is in the cluster"),
    field(
        "nodeAddress",
        Kind::Text(Format::Ip),
        "By which of its addresses the other hosts reach it, where that is not the one that the control host connects to",
    ),
];

const ROLES: &[Choice] =
    &[choice("etcd", &[]), choice("control-plane", &["master"]), choice("worker", &["node"]), choice("registry", &[])];

const LOGIN: &[Field] = &[
    text("user", Format::User, "root", "User to log in as; one other than root needs sudo"),
    Field {
        default: DefaultValue::Integer(22),
        ..field("port", Kind::Integer { min: 1, max: 65535 }, "Port of the SSH server")
    },
    field("keyFile", Kind::Text(Format::Any), "Private key (OpenSSH or PEM) on the control host"),
    field(
        "passwordFile",
        Kind::Text(Format::Any),
        "File on the control host with the login password in its first line",
    ),
    field("passwordEnv", Kind::Text(Format::Variable), "Environment variable that holds the login password"),
    field(
        "sudoPasswordFile",
        Kind::Text(Format::Any),
        "File on the control host with sudo's password in its first line",
    ),
    field("sudoPasswordEnv", Kind::Text(Format::Variable), "Environment variable that holds sudo's password"),
];

const TEXTS: Kind = Kind::List { of: &Kind::Text(Format::Any), filled: false };

const ETCD: &[Field] = &[
    Field { default: DefaultValue::Switch(true), ..field("tls", Kind::Switch, "TLS for peers and clients") },
    field(
        "rpms",
        TEXTS,
        "Install from these files, of the control host or by name of the bundle, instead of by package name",
    ),
];

const KUBERNETES: &[Field] = &[
    field(
        "distribution",
        Kind::Choice(DISTRIBUTIONS),
        "Whose packages: kubeadm and upstream's, or services of systemd; without, those of the bundle, of both the newer",
    ),
    field(
        "version",
        Kind::Text(Format::Any),
        "Version of Kubernetes, such as 1.36.3; without, the newest of the bundle",
    ),
    text("network", Format::NetworkName, "auto", "flannel, direct, or the name of a network manifest in the bundle"),
    text(
        "podCIDR",
        Format::Networks,
        "10.244.0.0/16",
        "Addresses of pods; for dual stack a network of each family, A,B",
    ),
    text("serviceCIDR", Format::Networks, "10.254.0.0/16", "Addresses of services, of the same families"),
    text("clusterDomain", Format::DnsName, "cluster.local", "Domain under which services are found"),
    field("apiEndpoint", Kind::Text(Format::HostPort), "Load balancer of the site in front of the control plane nodes"),
    field(
        "apiVIP",
        Kind::Text(Format::Ip),
        "Free address of the control plane's network, for the API; a control plane node holds it",
    ),
    Field {
        default: DefaultValue::Text("auto"),
        ..field(
            "runtime",
            Kind::Choice(RUNTIMES),
            "What runs containers; auto: Docker, containerd from Kubernetes 1.24 on",
        )
    },
    field("dataRoot", Kind::Text(Format::AbsolutePath), "Folder of the container runtime's data"),
    field(
        "registryMirrors",
        Kind::List { of: &Kind::Text(Format::Url), filled: false },
        "Registries that are asked before docker.io",
    ),
    field(
        "insecureRegistries",
        Kind::List { of: &Kind::Text(Format::Registry), filled: false },
        "Registries that are used without TLS",
    ),
    Field {
        default: DefaultValue::Switch(false),
        ..field(
            "keepRegistry",
            Kind::Switch,
            "Control plane nodes serve the cluster's images, read-only, so that nodes can pull them again; containerd only",
        )
    },
    field("flannel", Kind::Map(&[FLANNEL]), "Images for flannel's built-in manifest"),
    field("dns", Kind::Map(&[DNS]), "What the site sets on the cluster's DNS"),
    field("controlPlaneRpms", TEXTS, "Install control plane nodes from these files"),
    field("workerRpms", TEXTS, "Install worker nodes from these files"),
    field(
        "externalEtcd",
        Kind::List { of: &Kind::Text(Format::Address), filled: true },
        "Members of an existing etcd cluster that is used instead of hosts with the role etcd (port 2379, no TLS)",
    ),
    field("apiServer", Kind::Map(&[PROGRAM]), "What the site sets on the API servers; kubeadm's packages only"),
    field("controllerManager", Kind::Map(&[PROGRAM]), "The same for the controller managers"),
    field("scheduler", Kind::Map(&[PROGRAM]), "The same for the schedulers"),
    field("kubelet", Kind::Map(&[CONFIG]), "What the site sets on the kubelets (KubeletConfiguration)"),
    field("kubeProxy", Kind::Map(&[CONFIG]), "What the site sets on kube-proxy (KubeProxyConfiguration)"),
    field(
        "patches",
        Kind::Paths,
        "Patches of kubeadm on the control host, TARGET[SUFFIX][+PATCHTYPE].yaml or .json: files, or their folder",
    ),
    field("auditPolicy", Kind::Text(Format::Any), "Audit policy of the API servers: a file on the control host"),
    Field {
        default: DefaultValue::Switch(false),
        ..field("encryptSecrets", Kind::Switch, "Secrets lie encrypted in etcd, by a key that is made for the cluster")
    },
];

const FLANNEL: &[Field] = &[
    field("image", Kind::Text(Format::Image), "flanneld's image; without, the bundle's …/flannel"),
    field(
        "cniPluginImage",
        Kind::Text(Format::Image),
        "The image of flannel's CNI plugin; without, the bundle's …/flannel-cni-plugin",
    ),
];

const DNS: &[Field] = &[field(
    "stubDomains",
    Kind::Entries { name: Format::DnsName, of: &Kind::List { of: &Kind::Text(Format::Ip), filled: true } },
    "Domains of the site, each with the addresses of the name servers that pods find it by",
)];

const PROGRAM: &[Field] = &[field("extraArgs", Kind::Options, "Options, without their dashes, and their values")];

const CONFIG: &[Field] = &[field("config", Kind::Free, "Fields of its configuration file")];

const REGISTRY: &[Field] = &[
    Field {
        default: DefaultValue::Integer(5000),
        ..field("port", Kind::Integer { min: 1, max: 65535 }, "Port that the registry listens on, with TLS")
    },
    text("storage", Format::AbsolutePath, "/var/lib/registry", "Folder of the images; the place for a data disk"),
    field(
        "users",
        Kind::List { of: &Kind::Map(&[REGISTRY_USER]), filled: true },
        "Who may push and pull; without, everybody who reaches the port",
    ),
    field(
        "certificateFile",
        Kind::Text(Format::Any),
        "Certificate of the site's own for it (PEM, with those between it and its authority) instead of one that is made",
    ),
    field("keyFile", Kind::Text(Format::Any), "Its private key (PEM, without a passphrase)"),
    field("caFile", Kind::Text(Format::Any), "Authority that signed it; without, one that all hosts trust anyway"),
];

const SITE_REGISTRY: &[Field] = &[
    required(
        "address",
        Kind::Text(Format::RegistryPlace),
        "HOST[:PORT], and behind it what stands before upstream's names there, such as a project of Harbor",
    ),
    field(
        "caFile",
        Kind::Text(Format::Any),
        "Authority that signed its certificate; without, one that all hosts trust anyway",
    ),
    field("user", Kind::Text(Format::Any), "User that nodes pull as; without, they log in as nobody"),
    field(
        "passwordFile",
        Kind::Text(Format::Any),
        "File on the control host with the user's password in its first line; without, the user keeps the one it has",
    ),
    field("passwordEnv", Kind::Text(Format::Variable), "Environment variable that holds the password"),
];

const REGISTRY_USER: &[Field] = &[
    required("name", Kind::Text(Format::RegistryUser), "Name of the user"),
    field(
        "passwordFile",
        Kind::Text(Format::Any),
        "File on the control host with the password in its first line; without, the user keeps the one it has",
    ),
    field("passwordEnv", Kind::Text(Format::Variable), "Environment variable that holds the password"),
];

const DISTRIBUTIONS: &[Choice] = &[choice("kubeadm", &[]), choice("systemd", &[])];

const RUNTIMES: &[Choice] = &[choice("auto", &[]), choice("docker", &[]), choice("containerd", &[])];

/// All fields of a map.
pub(super) fn all(groups: &'static [&'static [Field]]) -> impl Iterator<Item = &'static Field> + Clone {
    groups.iter().flat_map(|group| group.iter())
}
