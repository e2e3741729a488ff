//! Plans of clusters whose network is flannel by its built-in manifest.

use serde_json::json;

use super::*;
use crate::flow::request::FlannelImages;

const IMAGES: [&str; 2] =
    ["ghcr.io/flannel-io/flannel:v0.28.10", "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel3"];

/// The steps that apply it.
fn applied(site: &Site, operation: Operation) -> Vec<String> {
    let plan = site.try_plan(&[operation]).unwrap();
    let applies = plan.steps.into_iter().filter(|step| step.id.as_str().ends_with("/apply.flannel.yaml"));
    applies.map(|step| format!("{:?}", step.work)).collect()
}

/// As a manifest's bytes are written in the work of its step.
fn bytes(text: &str) -> String {
    format!("{:?}", text.as_bytes()).trim_matches(['[', ']']).to_owned()
}

#[test]
fn the_bundle_s_images_of_flannel_are_enough() {
    let site = Site::new(2).etcd([1], true).bundle(&KUBEADM, &IMAGES, &[]);
    for network in [Network::Auto, Network::Flannel] {
        let settings = ClusterSettings { network, pod_cidr: "10.32.0.0/12".to_owned(), ..usual() };
        let applied = applied(&site, cluster(&[1], &[2], settings));
        assert_eq!(applied.len(), 1);
        for text in [IMAGES[0], IMAGES[1], r#""Network": "10.32.0.0/12""#, "FLANNELD_IFACE"] {
            assert!(applied[0].contains(&bytes(text)), "{text}");
        }
    }
    let one = Site::new(1).etcd([1], true).bundle(&KUBEADM, &IMAGES[..1], &[]).plan(&[cluster(&[1], &[1], usual())]);
    assert!(
        one.contains("flannel's manifest is built in, and the bundle has no image …/flannel-cni-plugin for it"),
        "{one}"
    );
    let none = Site::new(1).etcd([1], true).bundle(&KUBEADM, &[], &[]).plan(&[cluster(&[1], &[1], usual())]);
    assert!(none.contains("the pods' network is a manifest of the bundle, and none is chosen"), "{none}");
}

#[test]
fn flannel_works_by_nftables_where_kube_proxy_does() {
    let site = Site::new(1).etcd([1], true).bundle(&KUBEADM, &IMAGES, &[]).hosts(with_ipv6);
    for (settings, text) in [(usual(), r#""EnableNFTables": true"#), (both_families(), r#"\"EnableNFTables\":true"#)] {
        let applied = applied(&site, cluster(&[1], &[1], settings));
        assert!(applied[0].contains(&bytes(text)), "{text}");
    }
}

#[test]
fn a_manifest_of_the_bundle_and_flannel_s_package_come_first() {
    let site = Site::new(1).etcd([1], true).bundle(&KUBEADM, &IMAGES, &FLANNEL);
    let applied = applied(&site, cluster(&[1], &[1], usual()));
    assert!(applied.len() == 1 && !applied[0].contains(&bytes(IMAGES[0])), "{applied:?}");
    let packages = [&KUBERNETES[..], &["flannel-0.7.1"]].concat();
    let site = Site::new(1).etcd([1], true).bundle(&packages, &IMAGES, &[]);
    let settings = ClusterSettings { network: Network::Flannel, ..usual() };
    assert!(!site.plan(&[cluster(&[1], &[1], settings)]).contains("apply.flannel.yaml"));
}

#[test]
fn a_cluster_keeps_the_one_that_it_was_made_with() {
    let made_with = |builtin: bool| {
        let mut cluster = kubeadm_made(&json!({}), false);
        if builtin {
            cluster["flannel"] =
                json!({"flannel": "old.example/flannel:1", "cni_plugin": "old.example/flannel-cni-plugin:1"});
        }
        cluster
    };
    let again = |builtin: bool, images: &[&str], manifests: &[(&str, MemberKind, &str)], operation: Operation| {
        let site = Site::new(1).etcd([1], true).cluster(&[1], &[1], &made_with(builtin));
        applied(&site.bundle(&KUBEADM, images, manifests), operation)
    };
    let line = || cluster(&[1], &[1], usual());
    let kept = again(true, &[], &FLANNEL, line());
    assert!(kept.len() == 1 && kept[0].contains(&bytes("old.example/flannel:1")), "another manifest replaces it not");
    assert!(again(true, &IMAGES, &[], line())[0].contains(&bytes(IMAGES[0])), "newer images of a bundle do");
    let flannel = FlannelImages { image: Some("site.example/flannel:2".to_owned()), cni_plugin_image: None };
    let named = again(true, &IMAGES, &[], described(&[1], &[1], ClusterSettings { flannel, ..usual() }));
    assert!(named[0].contains(&bytes("site.example/flannel:2")) && named[0].contains(&bytes(IMAGES[1])));
    assert!(again(false, &IMAGES, &[], line()).is_empty(), "it was made with another manifest");
}
