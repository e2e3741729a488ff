//! The modules of the program: a lower one never names a higher one, and a component never names another one.

#![allow(clippy::expect_used, reason = "helpers of tests: a panic is how a test fails")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Lowest first.
const MODULES: [&str; 10] =
    ["host", "registry", "deliver", "packages", "plan", "resource", "store", "flow", "spec", "interface"];

/// The components of a cluster: each a file, or a folder, of `src/flow/kubernetes`.
const COMPONENTS: [&str; 13] = [
    "clock",
    "cluster_sync",
    "control_plane",
    "direct",
    "flannel",
    "images",
    "kept_registry",
    "kubeadm",
    "kubelet",
    "manifest",
    "prepare",
    "runtime",
    "vip",
];

fn src() -> PathBuf {
    crate::checkout().join("src")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push(path);
        }
    }
    all
}

/// What a file's code names behind `prefix`; comments do not count.
fn named(file: &Path, prefix: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(file).expect("a source file");
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut all = BTreeSet::new();
    for line in code {
        for rest in line.split(prefix).skip(1) {
            let names = rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap_or_default());
            let several = rest.starts_with('{');
            let word =
                |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
            if several {
                all.extend(names.split(',').map(word));
            } else {
                all.insert(word(names));
            }
        }
    }
    all
}

#[test]
fn a_module_names_lower_modules_only() {
    let folders: BTreeSet<String> = std::fs::read_dir(src())
        .expect("the sources")
        .filter_map(|entry| Some(entry.ok().filter(|e| e.path().is_dir())?.file_name().to_string_lossy().into_owned()))
        .collect();
    assert_eq!(folders, MODULES.map(str::to_owned).into(), "a new module needs its place in the order");
    for (place, module) in MODULES.iter().enumerate() {
        for file in files(&src().join(module)) {
            let higher: Vec<String> = named(&file, "crate::")
                .into_iter()
                .filter(|name| MODULES[place + 1..].contains(&name.as_str()))
                .collect();
            assert!(higher.is_empty(), "{}: {module} must not name {higher:?}", file.display());
        }
    }
}

#[test]
fn a_component_names_no_other_component() {
    let folder = src().join("flow/kubernetes");
    for component in COMPONENTS {
        let file = folder.join(format!("{component}.rs"));
        let all = if file.is_file() { vec![file] } else { files(&folder.join(component)) };
        for file in all {
            let own = named(&file, "super::");
            let others: Vec<&&str> =
                COMPONENTS.iter().filter(|other| **other != component && own.contains(**other)).collect();
            assert!(others.is_empty(), "{}: {component} must not name {others:?}", file.display());
        }
    }
}
