//! flannel's built-in manifest: for a network `flannel` that the bundle has no manifest of. Its images are those that the
//! cluster's description names, or that the bundle has.

use std::collections::BTreeSet;

use payload::Reference;
use serde::{Deserialize, Serialize};

use crate::flow::error::FlowError;
use crate::flow::networks::{Family, Networks};
use crate::flow::request::FlannelImages;

/// The network's name, and the last part of the name of flanneld's image.
pub(super) const NAME: &str = "flannel";
/// The same of the image of its CNI plugin.
const CNI_PLUGIN: &str = "flannel-cni-plugin";

/// The images of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Images {
    flannel: String,
    cni_plugin: String,
}

/// Whether an image of the manifest is named, or is among `there`, full names of images.
pub(super) fn is_meant(asked: &FlannelImages, there: &BTreeSet<String>) -> bool {
    asked.image.is_some() || asked.cni_plugin_image.is_some() || newest(there, NAME).is_some()
}

impl Images {
    /// Those that are asked for, else the newest of `there`, else those that the cluster has.
    ///
    /// # Errors
    /// When one of them cannot be told.
    pub(super) fn choose(
        asked: &FlannelImages,
        there: &BTreeSet<String>,
        known: Option<&Self>,
    ) -> Result<Self, FlowError> {
        let lacks = |name: &str, field: &str| {
            FlowError::request_with_help(
                format!("flannel's manifest is built in, and the bundle has no image …/{name} for it"),
                format!(
                    "put that image into the bundle (`bundle repack --add FILE`, or the bundler's --image FILE), \
                     or name the one to use: kubernetes.flannel.{field} in cluster.yaml"
                ),
            )
        };
        let choose = |asked: &Option<String>, name: &str, known: Option<&String>| {
            asked.clone().or_else(|| newest(there, name)).or_else(|| known.cloned())
        };
        Ok(Self {
            flannel: choose(&asked.image, NAME, known.map(|known| &known.flannel))
                .ok_or_else(|| lacks(NAME, "image"))?,
            cni_plugin: choose(&asked.cni_plugin_image, CNI_PLUGIN, known.map(|known| &known.cni_plugin))
                .ok_or_else(|| lacks(CNI_PLUGIN, "cniPluginImage"))?,
        })
    }

    /// The manifest, for these networks of pods. A network of IPv6 is filled in where it is applied, as in any manifest of flannel.
    pub(super) fn manifest(&self, pods: Networks) -> String {
        let text = include_str!("flannel_builtin.yaml");
        let network = pods.of(Family::V4).map_or_else(String::new, |network| format!(r#""Network": "{network}", "#));
        text.replace(r#""Network": "10.244.0.0/16", "#, &network)
            .replace("CNI-PLUGIN-IMAGE", &self.cni_plugin)
            .replace("FLANNEL-IMAGE", &self.flannel)
    }
}

/// The manifest where kube-proxy works by nftables: then flannel does, too. A host may have no modules for iptables.
pub(super) fn by_nftables(manifest: &str) -> String {
    manifest.replace(r#""EnableNFTables": false"#, r#""EnableNFTables": true"#)
}

/// Of the images with this last part of their names the one with the newest tag.
fn newest(there: &BTreeSet<String>, name: &str) -> Option<String> {
    let named = |text: &&String| {
        text.parse::<Reference>().is_ok_and(|image| image.repository().rsplit('/').next() == Some(name))
    };
    let tag =
        |text: &str| text.rsplit_once(':').map_or_else(String::new, |(_, tag)| tag.trim_start_matches('v').to_owned());
    there.iter().filter(named).max_by(|a, b| rpm_version::rpm_evr_compare(&tag(a), &tag(b))).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const FLANNEL: &str = "ghcr.io/flannel-io/flannel:v0.28.10";
    const PLUGIN: &str = "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel3";

    #[test]
    fn images_are_those_asked_for_then_the_newest_of_the_bundle_then_what_the_cluster_has() {
        let (none, bundle) = (FlannelImages::default(), there(&["ghcr.io/flannel-io/flannel:v0.9.0", FLANNEL, PLUGIN]));
        let of_bundle = Images::choose(&none, &bundle, None).unwrap();
        assert_eq!((of_bundle.flannel.as_str(), of_bundle.cni_plugin.as_str()), (FLANNEL, PLUGIN));
        let asked = FlannelImages { image: Some("site.example/flannel:1".to_owned()), ..none.clone() };
        let own = Images::choose(&asked, &bundle, None).unwrap();
        assert_eq!((own.flannel.as_str(), own.cni_plugin.as_str()), ("site.example/flannel:1", PLUGIN));
        assert_eq!(Images::choose(&none, &there(&[]), Some(&own)).unwrap(), own, "a later bundle without them");
        let error = Images::choose(&none, &there(&[FLANNEL]), None).unwrap_err().to_string();
        assert!(error.contains("no image …/flannel-cni-plugin"), "{error}");
    }

    #[test]
    fn the_manifest_has_the_images_and_the_networks() {
        let images = Images { flannel: FLANNEL.to_owned(), cni_plugin: PLUGIN.to_owned() };
        let text = images.manifest(Networks::parse("10.32.0.0/12").unwrap());
        let named = payload::images_named(&text).unwrap();
        assert_eq!(named.into_iter().collect::<BTreeSet<_>>(), there(&[PLUGIN, FLANNEL]));
        assert!(text.contains(r#"{"Network": "10.32.0.0/12", "EnableNFTables": false, "#), "{text}");
        assert!(by_nftables(&text).contains(r#""EnableNFTables": true"#));
        let six = images.manifest(Networks::parse("fd00:10:244::/56").unwrap());
        assert!(!six.contains("\"Network\"") && six.contains("{\"EnableNFTables\""), "{six}");
    }
}
