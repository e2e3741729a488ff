//! Images of flannel in a file: read, kept, shown, and refused by line.

use super::super::*;
use super::{WHOLE, environment, folder, problems, read_in};
use crate::flow::request::FlannelImages;
use crate::host::TargetDefaults;

#[test]
fn images_of_flannel_are_read_kept_and_shown() {
    let (_dir, root) = folder();
    let set =
        "kubernetes:\n  flannel: {image: 'site.example:5000/flannel:v1', cniPluginImage: site.example/plugin:v2}\n";
    let described = read_in(&format!("{WHOLE}{set}"), &root, &TargetDefaults::default()).unwrap();
    let images = described.spec.kubernetes.unwrap().settings.flannel;
    let text = |name: &str| Some(name.to_owned());
    let (image, cni_plugin_image) = (text("site.example:5000/flannel:v1"), text("site.example/plugin:v2"));
    assert_eq!(images, FlannelImages { image, cni_plugin_image });

    let environment = environment(&root);
    let mut cluster = crate::flow::kubernetes::Cluster::load(&environment).unwrap().unwrap();
    assert!(!serde_json::to_string(&cluster).unwrap().contains("\"flannel\":"), "earlier versions read it");
    cluster.settings.flannel = images.clone();
    cluster.save(&environment).unwrap();
    let shown = to_yaml(&stored(&environment).unwrap().unwrap());
    // The key of the state is not there to be read.
    let again = read_in(&shown.replace("    keyFile: /k\n", ""), &root, &TargetDefaults::default()).unwrap();
    assert_eq!(again.spec.kubernetes.unwrap().settings.flannel, images, "{shown}");
}

#[test]
fn what_is_no_image_is_refused() {
    let found = problems(&format!("{WHOLE}kubernetes:\n  flannel: {{image: 'a b', pluginImage: x}}\n"));
    for wanted in ["kubernetes.flannel.image: \"a b\" is not the name of an image", "kubernetes.flannel.pluginImage"] {
        assert!(found.iter().any(|problem| problem.contains(wanted)), "{wanted}: {found:#?}");
    }
}
