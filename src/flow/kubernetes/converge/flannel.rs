//! The network `flannel` by its built-in manifest.

use payload::Bundle;

use super::super::manifest::{self, Manifest};
use super::super::{flannel_builtin, images};
use super::Converge;
use crate::flow::error::FlowError;
use crate::flow::request::Network;

impl Converge {
    /// Whether there are images for the built-in manifest.
    pub(in crate::flow::kubernetes) fn has_flannel_images(&self) -> bool {
        flannel_builtin::is_meant(&self.settings().flannel, &images::names(&self.images))
    }

    /// The images of flannel's built-in manifest, where it is to be applied: in a new cluster whose network is flannel and whose bundle
    /// has no manifest of that name, and in a cluster that was made with it. Without a bundle what is there stays.
    pub(super) fn builtin_flannel(
        &self,
        network: &Network,
        bundle: Option<&Bundle>,
    ) -> Result<Option<flannel_builtin::Images>, FlowError> {
        let known = self.before.as_ref().and_then(|known| known.flannel.as_ref());
        let is_meant = match &self.before {
            Some(_) => known.is_some() && bundle.is_some(),
            None => !manifest::has_network(bundle, flannel_builtin::NAME),
        };
        if !is_meant || *network != Network::Manifest(flannel_builtin::NAME.to_owned()) {
            return Ok(None);
        }
        let settings = self.settings();
        let asked = self.settings.as_ref().filter(|_| self.described).unwrap_or(&settings);
        flannel_builtin::Images::choose(&asked.flannel, &images::names(&self.images), known).map(Some)
    }

    /// What is applied: the network's manifest first.
    pub(super) fn manifests(&self, network: &Network, bundle: Option<&Bundle>) -> Result<Vec<Manifest>, FlowError> {
        let Some(images) = &self.flannel else { return manifest::in_bundle(bundle, network) };
        let mut manifests = vec![Manifest::of_flannel(images, self.settings().pods())];
        manifests.extend(manifest::in_bundle(bundle, &Network::Auto)?);
        Ok(manifests)
    }
}
