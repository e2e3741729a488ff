//! What a cluster is made of, chosen once: distribution, network, runtime, balancer, packages. A cluster that is there keeps
//! its own.

use std::collections::BTreeSet;

use payload::{Bundle, MemberKind};

use crate::flow::error::FlowError;
use crate::flow::request::{ClusterCreate, Network, Runtime};
use crate::flow::rpms::{self, Places};
use crate::flow::scene::Asked;
use crate::host::{HostId, Target};
use crate::packages::Wanted;

use super::converge::Converge;
use super::distro::{Distribution, Rules};
use super::state::Cluster;
use super::{cluster_sync, flannel, images, manifest, runtime, version};

impl Converge {
    /// Whose packages the cluster is made of: once it is there, those that it was made of.
    pub(super) fn distribution(&self, bundle: Option<&Bundle>) -> Distribution {
        let settings = self.settings();
        let asked =
            || settings.distribution.unwrap_or_else(|| Distribution::choose(bundle, settings.version.as_deref()));
        self.before.as_ref().map_or_else(asked, |known| known.distribution)
    }

    pub(super) fn rules(&self, bundle: Option<&Bundle>) -> &'static dyn Rules {
        self.distribution(bundle).rules()
    }

    pub(super) fn network(&self, bundle: Option<&Bundle>) -> Network {
        match (&self.before, self.settings().network) {
            (Some(known), _) => known.network.clone(),
            (None, Network::Auto) => self.default_network(bundle),
            (None, Network::Flannel) => self.flannel(bundle),
            (None, asked) => asked,
        }
    }

    /// Whether the network that is asked for can be had.
    pub(super) fn check_network(&self, bundle: Option<&Bundle>) -> Result<(), FlowError> {
        match self.settings.as_ref().map(|settings| &settings.network) {
            Some(Network::Manifest(name)) if !manifest::has_network(bundle, name) => Err(FlowError::request_with_help(
                format!("-cni {name}: no network manifest of that name is in the bundle"),
                "use direct or flannel, or build the bundle with --manifest NAME=FILE",
            )),
            Some(Network::Flannel) if !self.can_have_flannel(bundle) => Err(FlowError::request_with_help(
                "-cni flannel: the bundle has neither the package flannel nor a network manifest of that name, nor images for the \
                 built-in manifest (…/flannel and …/flannel-cni-plugin)",
                "use direct, or put one of them into the bundle: `bundle repack --add FILE`, `--manifest flannel=FILE`",
            )),
            _ => Ok(()),
        }
    }

    fn can_have_flannel(&self, bundle: Option<&Bundle>) -> bool {
        let name = flannel::PACKAGE;
        let made_with_it = self.before.as_ref().is_some_and(|known| known.flannel.is_some());
        made_with_it
            || self.has_flannel_images()
            || rpms::in_bundle(bundle, name)
            || manifest::has_network(bundle, name)
    }

    /// Whether that is the network of flannel's package, whose subnets are in etcd: of this request, before it has been checked.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub(in crate::flow) fn keeps_subnets_in_etcd(create: &ClusterCreate, asked: &Asked<'_>) -> Result<bool, FlowError> {
        let mut converge = Self::create(create.clone());
        converge.before = Cluster::load(asked.environment)?;
        converge.images = images::in_bundle(asked.bundle)?;
        let is_there = asked.bundle.is_none() || rpms::in_bundle(asked.bundle, flannel::PACKAGE);
        Ok(is_there && converge.network(asked.bundle) == Network::Flannel)
    }

    /// A name for both: the package, or the manifest of that name. With kubeadm's packages there is only the latter.
    fn flannel(&self, bundle: Option<&Bundle>) -> Network {
        let name = flannel::PACKAGE;
        let is_package = !self.rules(bundle).runs_control_plane() && rpms::in_bundle(bundle, name);
        if !is_package && (self.has_flannel_images() || manifest::has_network(bundle, name)) {
            return Network::Manifest(name.to_owned());
        }
        Network::Flannel
    }

    /// Where kubeadm's packages are used and the bundle has images of flannel and no network manifest, flannel by its built-in manifest.
    fn default_network(&self, bundle: Option<&Bundle>) -> Network {
        let rules = self.rules(bundle);
        let mut members = bundle.into_iter().flat_map(|bundle| &bundle.manifest().members);
        if rules.runs_control_plane() && !members.any(|member| member.kind == MemberKind::NetworkManifest) {
            return self.flannel(bundle);
        }
        rules.default_network(bundle)
    }

    pub(super) fn choose_packages(&mut self, places: Places<'_>) -> Result<(), FlowError> {
        let bundle = places.bundle;
        let rules = self.rules(bundle);
        let (control_plane, mut node) = (rules.control_plane_packages().to_vec(), rules.worker_packages().to_vec());
        let version = self.version_asked(bundle)?;
        let packages = |files: &[String], option: &str, names: &[&str]| -> Result<Vec<Wanted>, FlowError> {
            Ok(in_version(packages(files, option, names, places)?, rules, version.as_deref()))
        };
        self.control_plane_packages = packages(&self.control_plane_rpms, "-fm", &control_plane)?;
        need(&self.control_plane_packages, control_plane.first(), "-fm")?;
        // A control plane of images needs a runtime as well.
        let runtime = runtime::package(self.containerd(bundle), bundle);
        if rules.runs_control_plane() && self.control_plane_rpms.is_empty() {
            self.control_plane_packages.extend(rpms::by_name([runtime]));
        }
        let first_of_node = node.first().copied();
        node.insert(0, runtime);
        self.worker_packages = packages(&self.worker_rpms, "-fn", &node)?;
        need(&self.worker_packages, first_of_node.as_ref(), "-fn")?;
        // With a bundle at hand what it lacks would come from the internet, which is not there: said before any host is
        // touched.
        for (wanted, option) in [(&self.control_plane_packages, "-fm"), (&self.worker_packages, "-fn")] {
            let by_name = wanted.iter().filter(|w| !matches!(w, Wanted::Rpm { .. }) && rules.must_be_at_hand(w.name()));
            for package in by_name {
                if bundle.is_some() && !rpms::in_bundle(bundle, package.name()) {
                    return Err(FlowError::request_with_help(
                        format!("the bundle has no package {}", package.name()),
                        format!("name its rpm with {option}, or put it into the bundle: `bundle repack --add FILE`"),
                    ));
                }
            }
        }
        self.check_address(bundle)
    }

    /// The version that is asked for, of a new cluster; one that is there keeps its own, whatever the bundle brings.
    fn version_asked(&self, bundle: Option<&Bundle>) -> Result<Option<String>, FlowError> {
        if let Some(known) = &self.before {
            return Ok(Some(known.version.clone()).filter(|version| !version.is_empty()));
        }
        let Some(asked) = self.settings().version else { return Ok(None) };
        let key = self.rules(bundle).key_package();
        let all =
            bundle.into_iter().flat_map(|bundle| &bundle.manifest().members).filter_map(|member| member.rpm.as_ref());
        let there: BTreeSet<&str> = all.filter(|id| id.name == key).map(|id| id.version.as_str()).collect();
        if bundle.is_none() || there.contains(asked.as_str()) {
            return Ok(Some(asked));
        }
        let there: Vec<&str> = there.into_iter().collect();
        Err(FlowError::request_with_help(
            format!("the bundle has no {key} {asked}; it has {}", there.join(", ")),
            "leave --kubernetes-version away for the newest of them, or put that version into the bundle",
        ))
    }

    /// The package that the API's address needs, where the distribution wants it at hand.
    fn check_address(&self, bundle: Option<&Bundle>) -> Result<(), FlowError> {
        let needed = if self.settings().api_vip.is_some() {
            Some((cluster_sync::ADDRESS_PACKAGE, "by which control plane nodes hold the address of --api-vip"))
        } else {
            let why = "by which every node reaches several control plane nodes";
            self.balanced(bundle).then_some((cluster_sync::BALANCER_PACKAGE, why))
        };
        let rules = self.rules(bundle);
        let named =
            |package| self.control_plane_packages.iter().chain(&self.worker_packages).any(|w| w.name() == package);
        let at_hand = |package| !rules.must_be_at_hand(package) || rpms::in_bundle(bundle, package) || named(package);
        let Some((package, why)) = needed.filter(|(package, _)| bundle.is_some() && !at_hand(package)) else {
            return Ok(());
        };
        Err(FlowError::request_with_help(
            format!("the bundle has no package {package}, {why}"),
            "put it into the bundle (`bundle repack --add FILE`), or create the cluster with --api-endpoint HOST:PORT",
        ))
    }

    pub(super) fn containerd(&self, bundle: Option<&Bundle>) -> bool {
        let rules = self.rules(bundle);
        let version = || rpms::version(rules.key_package(), &self.control_plane_packages, bundle);
        match (&self.before, self.settings().runtime) {
            (Some(known), _) => known.containerd,
            (None, Runtime::Docker) => false,
            (None, Runtime::Containerd) => true,
            (None, Runtime::Auto) => rules.prefers_containerd(version().and_then(|v| version::minor(&v))),
        }
    }

    /// Whether every node reaches the API by a haproxy of its own: also with one control plane node, when haproxy is at hand,
    /// so that others can come and go later.
    pub(super) fn balanced(&self, bundle: Option<&Bundle>) -> bool {
        let settings = self.settings();
        if settings.api_endpoint.is_some() || settings.api_vip.is_some() {
            return false;
        }
        match &self.before {
            // Hosts that are not in this run would not learn of it.
            Some(known) if self.settings.is_none() => known.balanced,
            Some(known) if known.balanced => true,
            Some(known) if known.standing && !known.distribution.rules().balances_later() => false,
            known => {
                let control_plane = self.control_plane.iter().map(Target::id);
                let all: BTreeSet<HostId> =
                    control_plane.chain(known.iter().flat_map(|k| k.control_plane.keys().cloned())).collect();
                all.len() > 1 || rpms::in_bundle(bundle, cluster_sync::BALANCER_PACKAGE)
            }
        }
    }
}

/// Packages named, else those of the bundle among the ones that belong to the role.
fn packages(files: &[String], option: &str, names: &[&str], places: Places<'_>) -> Result<Vec<Wanted>, FlowError> {
    if !files.is_empty() {
        return rpms::from_files(files, option, places);
    }
    Ok(rpms::by_name(names.iter().copied()))
}

/// Kubernetes' own packages in this version.
fn in_version(wanted: Vec<Wanted>, rules: &dyn Rules, version: Option<&str>) -> Vec<Wanted> {
    let in_version = |wanted: Wanted| match (wanted, version) {
        (Wanted::Name(name), Some(version)) if rules.has_its_version(&name) => {
            Wanted::Version { name, version: version.to_owned() }
        }
        (wanted, _) => wanted,
    };
    wanted.into_iter().map(in_version).collect()
}

fn need(wanted: &[Wanted], name: Option<&&str>, option: &str) -> Result<(), FlowError> {
    let Some(name) = name.filter(|name| wanted.iter().all(|w| w.name() != **name)) else { return Ok(()) };
    Err(FlowError::request_with_help(
        format!("the rpms given with {option} lack {name}"),
        format!("add its file to {option}, or leave {option} away to install by name"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::constructed::bundle_of_packages;
    use crate::flow::request::ClusterSettings;
    use crate::host::TargetDefaults;

    /// A bundle of these packages, each `NAME VERSION`.
    fn bundle(packages: &[&str]) -> Bundle {
        let packages: Vec<_> = packages.iter().filter_map(|package| package.split_once(' ')).collect();
        bundle_of_packages(&packages.iter().map(|(name, version)| ("", *name, *version)).collect::<Vec<_>>())
    }

    const BOTH: [&str; 12] = [
        "kubeadm 1.36.3",
        "kubelet 1.36.3",
        "kubectl 1.36.3",
        "kubeadm 1.35.4",
        "kubelet 1.35.4",
        "kubectl 1.35.4",
        "cri-tools 1.36.0",
        "kubernetes-cni 1.9.0",
        "containerd.io 2.4.2",
        "kubernetes-master 1.20.2",
        "kubernetes-node 1.20.2",
        "kubernetes-client 1.20.2",
    ];

    fn create(version: Option<&str>) -> Converge {
        let settings = ClusterSettings { version: version.map(str::to_owned), ..ClusterSettings::default() };
        let control_plane = vec![Target::parse("10.0.0.1", &TargetDefaults::default()).unwrap()];
        let (workers, etcd, control_plane_rpms, worker_rpms) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let described = false;
        Converge::create(ClusterCreate {
            control_plane,
            workers,
            etcd,
            control_plane_rpms,
            worker_rpms,
            settings,
            described,
        })
    }

    fn in_version(name: &str, version: &str) -> Wanted {
        Wanted::Version { name: name.into(), version: version.into() }
    }

    #[test]
    fn the_newest_is_chosen_or_the_version_that_is_asked_for() {
        let bundle = bundle(&BOTH);
        let chosen = |version: Option<&str>| {
            let mut create = create(version);
            create.choose_packages(Places { control_host: true, bundle: Some(&bundle) }).unwrap();
            (create.distribution(Some(&bundle)), create.control_plane_packages)
        };
        let (distribution, packages) = chosen(None);
        assert!(distribution == Distribution::Kubeadm && packages.contains(&Wanted::Name("kubeadm".into())));
        let (distribution, packages) = chosen(Some("1.35.4"));
        assert!(distribution == Distribution::Kubeadm && packages.contains(&in_version("kubelet", "1.35.4")));
        assert!(packages.contains(&Wanted::Name("cri-tools".into())), "whose version is its own");
        let (distribution, packages) = chosen(Some("1.20.2"));
        assert!(distribution == Distribution::Systemd && packages.contains(&in_version("kubernetes-master", "1.20.2")));
    }

    #[test]
    fn a_version_that_the_bundle_lacks_is_refused() {
        let bundle = bundle(&BOTH[..9]);
        let refused =
            create(Some("1.34.0")).choose_packages(Places { control_host: true, bundle: Some(&bundle) }).unwrap_err();
        assert_eq!(refused.to_string(), "the bundle has no kubeadm 1.34.0; it has 1.35.4, 1.36.3");
    }
}
