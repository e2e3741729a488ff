//! containerd by itself, and its configuration. It may be in use already: what the site has set in `config.toml` stays, where it does
//! not concern Kubernetes.

use payload::Bundle;
use toml_edit::{DocumentMut, Item, TableLike, Value};

use crate::flow::problem::Problem;
use crate::host::{Facts, FileMeta, HostId};
use crate::plan::Step;
use crate::resource::{self, FileSpec, Files, Link, Store};

use super::component::On;
use super::options;
use super::registries;
use super::runtime::{CONTAINERD_IO, ContainerRuntime, major};

pub(super) const CONFIG: &str = "/etc/containerd/config.toml";
const PACKAGES: [&str; 2] = [CONTAINERD_IO, "containerd"];
/// How a file begins that is this product's alone.
const HEAD: &str = "# Written by sunshine-installer.\n";
/// What serves Kubernetes, in versions 2 and 3 of the configuration.
const CRI: [&str; 2] = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"];

/// containerd by itself.
pub(super) struct Containerd;

impl ContainerRuntime for Containerd {
    fn title(&self) -> &'static str {
        "containerd"
    }

    fn packages(&self) -> &'static [&'static str] {
        &PACKAGES
    }

    fn unit(&self) -> &'static str {
        "containerd"
    }

    fn files(&self, on: &On<'_>) -> Files {
        let found = on.facts.files.get(CONFIG);
        let site = site(on.facts);
        let is_2 = version(on.supply.bundle, on.facts) >= Some(2);
        let ours = |version: i64| if version >= 3 { version_3(on) } else { version_2(on) };
        // One that cannot be merged is a problem of its own.
        let merged = site.and_then(|text| merge(text, is_2, &ours).ok());
        let mut file = FileSpec::text(CONFIG, merged.unwrap_or_else(|| ours(if is_2 { 3 } else { 2 })));
        if let Some(mode) = found.filter(|_| site.is_some()).and_then(|found| found.mode) {
            file.meta = FileMeta::mode(mode);
        }
        Files(vec![file])
    }

    fn before(&self, on: &On<'_>) -> Option<Step> {
        // It knows one folder, upstream's; Fedora's and CentOS's package of the plugins has another.
        let link = Link { path: "/opt/cni/bin", to: "/usr/libexec/cni", file: "bridge" };
        Some(on.step("cni.folder", "let containerd find the CNI plugins", link))
    }

    fn kubelet_args(&self, on: &On<'_>) -> Vec<String> {
        options::with_containerd(on)
    }

    /// From 2.0 on surely; some of 1.7 do.
    fn pins_images(&self, on: &On<'_>) -> bool {
        version(on.supply.bundle, on.facts) >= Some(2)
    }

    fn images(&self) -> &'static Store {
        &resource::CONTAINERD
    }
}

/// containerd's (containerd documentation, "CRI plugin config guide", version 2).
fn version_2(on: &On<'_>) -> String {
    let settings = &on.cluster.settings;
    // A JSON string is a basic string of TOML too.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut text = format!("{HEAD}version = 2\n");
    if let Some(root) = &settings.data_root {
        text.push_str(&format!("root = {}\n", quoted(root)));
    }
    let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
    text.push_str(&format!("[{cri}]\n"));
    if let Some(image) = on.pause() {
        text.push_str(&format!("sandbox_image = {}\n", quoted(image)));
    }
    let systemd = on.cgroup_driver() == "systemd";
    text.push_str(&format!(
        "[{cri}.cni]\nbin_dir = \"/opt/cni/bin\"\nconf_dir = \"/etc/cni/net.d\"\n\
         [{cri}.containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n\
         [{cri}.containerd.runtimes.runc.options]\nSystemdCgroup = {systemd}\n\
         [{cri}.registry]\nconfig_path = \"{}\"\n",
        registries::CONTAINERD
    ));
    text
}

/// containerd's from 2.0 on (containerd documentation, "CRI plugin config guide", version 3).
fn version_3(on: &On<'_>) -> String {
    // A JSON string is a basic string of TOML too.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut text = format!("{HEAD}version = 3\n");
    if let Some(root) = &on.cluster.settings.data_root {
        text.push_str(&format!("root = {}\n", quoted(root)));
    }
    if let Some(image) = on.pause() {
        text.push_str(&format!(
            "[plugins.\"io.containerd.cri.v1.images\".pinned_images]\nsandbox = {}\n",
            quoted(image)
        ));
    }
    let runc = "plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.runc";
    let systemd = on.cgroup_driver() == "systemd";
    text.push_str(&format!(
        "[{runc}]\nruntime_type = \"io.containerd.runc.v2\"\n[{runc}.options]\nSystemdCgroup = {systemd}\n\
         [plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"{}\"\n",
        registries::CONTAINERD
    ));
    text
}

/// The first number of its version.
fn version(bundle: Option<&Bundle>, facts: &Facts) -> Option<u32> {
    PACKAGES.iter().find_map(|package| major(package, bundle, facts))
}

/// The file as a site has it; nothing where it is this product's alone, or not there.
fn site(facts: &Facts) -> Option<&str> {
    let text = facts.files.get(CONFIG)?.text.as_deref()?;
    (!text.starts_with(HEAD)).then_some(text)
}

/// What keeps a site's file from being merged with what Kubernetes needs.
pub(super) fn check(host: &HostId, facts: &Facts) -> Option<Problem> {
    let why = merge(site(facts)?, false, &|version| format!("version = {version}\n")).err()?;
    Some(Problem::error(host, format!("{CONFIG}: {why}"), "change that file, or move it away when nothing needs it"))
}

/// The site's file with what Kubernetes needs, in its own version. `ours` writes that for a version.
///
/// # Errors
/// What both cannot have together.
fn merge(site: &str, is_2: bool, ours: &dyn Fn(i64) -> String) -> Result<String, String> {
    let mut config: DocumentMut = site.parse().map_err(|e: toml_edit::TomlError| e.message().to_owned())?;
    let stated = config.get("version").and_then(Item::as_integer);
    let version = match stated {
        Some(version @ 2..) => version,
        // As packages bring it, with nothing in it that has another name by now.
        _ if !config.contains_key("plugins") => {
            if is_2 {
                3
            } else {
                2
            }
        }
        _ => return Err("it is of version 1; `containerd config migrate` prints it in the present one".to_owned()),
    };
    let registry = CRI.iter().filter_map(|cri| config.get("plugins")?.get(cri)?.get("registry")).next();
    for old in ["mirrors", "configs"] {
        if registry.and_then(|registry| registry.get(old)).is_some() {
            let folder = registries::CONTAINERD;
            return Err(format!("registry.{old} cannot be together with a folder for registries ({folder})"));
        }
    }
    let folders = registry.and_then(|registry| registry.get("config_path")?.as_str()).unwrap_or_default().to_owned();
    let mut needed: DocumentMut = ours(version).parse().map_err(|e: toml_edit::TomlError| e.message().to_owned())?;
    keep_folders(&mut needed, &folders);
    put(config.as_table_mut(), needed.as_table());
    if let Some(disabled) = config.get_mut("disabled_plugins").and_then(Item::as_array_mut) {
        disabled.retain(|name| !name.as_str().is_some_and(|name| name == "cri" || name.contains(".cri")));
    }
    Ok(config.to_string())
}

/// Where the site has its registries described is looked at behind our own folder.
fn keep_folders(needed: &mut DocumentMut, site: &str) {
    let others = site.split(':').filter(|folder| !folder.is_empty() && *folder != registries::CONTAINERD);
    let all: Vec<&str> = std::iter::once(registries::CONTAINERD).chain(others).collect();
    for cri in CRI {
        // `Item::get_mut` makes what it does not find.
        let plugins = needed.get_mut("plugins").and_then(below);
        let plugin = plugins.and_then(|plugins| below(plugins.get_mut(cri)?));
        let registry = plugin.and_then(|plugin| below(plugin.get_mut("registry")?));
        if let Some(registry) = registry {
            registry.insert("config_path", Item::Value(Value::from(all.join(":"))));
        }
    }
}

fn below(item: &mut Item) -> Option<&mut dyn TableLike> {
    item.as_table_like_mut()
}

/// What is set in `more` is set in `table`, below the tables that both have.
fn put(table: &mut dyn TableLike, more: &dyn TableLike) {
    for (key, item) in more.iter() {
        let below = table.get_mut(key).and_then(Item::as_table_like_mut);
        match (below, item.as_table_like()) {
            (Some(below), Some(more)) => put(below, more),
            _ => match (table.get_mut(key).and_then(Item::as_value_mut), item.as_value()) {
                // What it says already stays to the letter.
                (Some(is), Some(value)) if is.to_string().trim() == value.to_string().trim() => {}
                (Some(is), Some(value)) => {
                    let decor = is.decor().clone();
                    *is = value.clone();
                    *is.decor_mut() = decor;
                }
                _ => drop(table.insert(key, item.clone())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: &str = "\
# Ours, see wiki.
version = 2
disabled_plugins = [\"cri\", \"btrfs\"]
root = \"/srv/containerd\" # big disk

[plugins.'io.containerd.grpc.v1.cri']
  sandbox_image = \"site/pause:1\"
  max_container_log_line_size = 65536
  [plugins.'io.containerd.grpc.v1.cri'.registry]
    config_path = \"/srv/certs.d\"
  [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.nvidia]
    runtime_type = \"io.containerd.runc.v2\"

[metrics]
  address = \"127.0.0.1:1338\"
";

    fn ours(version: i64) -> String {
        let cri = CRI[usize::from(version > 2)];
        format!(
            "{HEAD}version = {version}\n[plugins.\"{cri}\"]\nsandbox_image = \"ours/pause:2\"\n[plugins.\"{cri}\".containerd.runtimes.runc]\n\
             runtime_type = \"io.containerd.runc.v2\"\n[plugins.\"{cri}\".registry]\nconfig_path = \"{}\"\n",
            registries::CONTAINERD
        )
    }

    #[test]
    fn what_the_site_has_set_stays_and_what_kubernetes_needs_counts() {
        let merged = merge(SITE, true, &ours).unwrap();
        for line in [
            "# Ours, see wiki.\nversion = 2",
            "disabled_plugins = [ \"btrfs\"]",
            "root = \"/srv/containerd\" # big disk",
            "sandbox_image = \"ours/pause:2\"",
            "max_container_log_line_size = 65536",
            "config_path = \"/etc/containerd/certs.d:/srv/certs.d\"",
            "runtimes.nvidia]",
            "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]",
            "address = \"127.0.0.1:1338\"",
        ] {
            assert!(merged.contains(line), "{line}:\n{merged}");
        }
        assert_eq!(merge(&merged, true, &ours).unwrap(), merged, "the next run finds the same");
    }

    #[test]
    fn what_a_package_brings_is_of_any_version() {
        let package = "# root = \"/x\"\ndisabled_plugins = [\"cri\"]\n";
        assert!(merge(package, true, &ours).unwrap().contains("version = 3"));
        assert!(merge(package, false, &ours).unwrap().contains("version = 2"));
    }

    #[test]
    fn what_cannot_be_together_is_said() {
        let refused = |text: &str| merge(text, true, &ours).unwrap_err();
        assert!(refused("[plugins.cri]\nx = 1\n").contains("version 1"));
        let mirrors =
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.a]\nendpoint = [\"http://a\"]\n";
        assert!(refused(mirrors).contains("registry.mirrors"));
        assert!(!refused("a = [").is_empty());
    }
}
