//! What a cluster is made of, chosen once: distribution, network, runtime, balancer, packages. A cluster that is there keeps
//! its own.

use std::collections::BTreeSet;

use payload::Bundle;

use crate::flow::error::FlowError;
use crate::flow::request::{Network, Runtime};
use crate::flow::rpms;
use crate::host::{HostId, Target};
use crate::packages::Wanted;

use super::converge::Converge;
use super::distro::{Distribution, Rules};
use super::{cluster_sync, runtime, version};

impl Converge {
    /// Whose packages the cluster is made of: once it is there, those that it was made of.
    pub(super) fn distribution(&self, bundle: Option<&Bundle>) -> Distribution {
        self.before.as_ref().map_or_else(|| Distribution::choose(bundle), |known| known.distribution)
    }

    pub(super) fn rules(&self, bundle: Option<&Bundle>) -> &'static dyn Rules {
        self.distribution(bundle).rules()
    }

    pub(super) fn network(&self, bundle: Option<&Bundle>) -> Network {
        match (&self.before, self.settings().network) {
            (Some(known), _) => known.network.clone(),
            (None, Network::Auto) => self.rules(bundle).default_network(bundle),
            (None, asked) => asked,
        }
    }

    pub(super) fn choose_packages(&mut self, bundle: Option<&Bundle>) -> Result<(), FlowError> {
        let rules = self.rules(bundle);
        let (control_plane, mut node) = (rules.control_plane_packages().to_vec(), rules.worker_packages().to_vec());
        self.control_plane_packages = packages(&self.control_plane_rpms, "-fm", &control_plane, bundle)?;
        need(&self.control_plane_packages, control_plane.first(), "-fm")?;
        // A control plane of images needs a runtime as well.
        let runtime = runtime::package(self.containerd(bundle), bundle);
        if rules.runs_control_plane() && self.control_plane_rpms.is_empty() {
            self.control_plane_packages.extend(rpms::by_name([runtime]));
        }
        let first_of_node = node.first().copied();
        node.insert(0, runtime);
        self.worker_packages = packages(&self.worker_rpms, "-fn", &node, bundle)?;
        need(&self.worker_packages, first_of_node.as_ref(), "-fn")?;
        // With a bundle at hand what it lacks would come from the internet, which is not there: said before any host is
        // touched.
        for (wanted, option) in [(&self.control_plane_packages, "-fm"), (&self.worker_packages, "-fn")] {
            let by_name = wanted.iter().filter(|w| matches!(w, Wanted::Name(name) if rules.must_be_at_hand(name)));
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
        let version = || version::named(rules.key_package(), &self.control_plane_packages, bundle);
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
fn packages(files: &[String], option: &str, names: &[&str], bundle: Option<&Bundle>) -> Result<Vec<Wanted>, FlowError> {
    if !files.is_empty() {
        return rpms::from_files(files, option, bundle);
    }
    Ok(rpms::by_name(names.iter().copied()))
}

fn need(wanted: &[Wanted], name: Option<&&str>, option: &str) -> Result<(), FlowError> {
    let Some(name) = name.filter(|name| wanted.iter().all(|w| w.name() != **name)) else { return Ok(()) };
    Err(FlowError::request_with_help(
        format!("the rpms given with {option} lack {name}"),
        format!("add its file to {option}, or leave {option} away to install by name"),
    ))
}
