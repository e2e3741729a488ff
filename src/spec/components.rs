//! What a cluster file sets on Kubernetes' own components: the files that it names are read, and held against the form that
//! they must have, while no host has been touched.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use crate::flow::request::{ComponentSettings, SiteFile};

use super::file::{ConfigFields, KubernetesFields, ProgramFields};
use super::logins::Logins;
use super::yaml::{self, Content, Node, Value};

/// What kubeadm patches, from 1.32 on all of these (`cmd/kubeadm/app/util/patches`). etcd is outside of it here.
const TARGETS: [&str; 5] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubeletconfiguration", "corednsdeployment"];
const TYPES: [&str; 3] = ["strategic", "merge", "json"];
/// More than any patch or policy.
const MAX_FILE: u64 = 1 << 20;

/// The settings that the fields make; what is wrong becomes problems of `files`.
pub(super) fn components(fields: &KubernetesFields, files: &mut Logins<'_>) -> ComponentSettings {
    let args = |program: &Option<ProgramFields>| program.clone().unwrap_or_default().extra_args;
    let config = |program: &Option<ConfigFields>| program.clone().unwrap_or_default().config;
    ComponentSettings {
        api_server_args: args(&fields.api_server),
        controller_manager_args: args(&fields.controller_manager),
        scheduler_args: args(&fields.scheduler),
        kubelet: config(&fields.kubelet),
        kube_proxy: config(&fields.kube_proxy),
        patches: patches(&fields.patches, files),
        audit_policy: fields.audit_policy.as_ref().and_then(|path| {
            let field = "kubernetes.auditPolicy";
            let path = files.file(path, field);
            if path.is_file() { files.checked(read(&path, check_policy), field) } else { None }
        }),
        encrypt_secrets: fields.encrypt_secrets.unwrap_or_default(),
    }
}

fn patches(paths: &[String], files: &mut Logins<'_>) -> Vec<SiteFile> {
    let mut found = Vec::new();
    let mut names = BTreeSet::new();
    for (index, path) in paths.iter().enumerate() {
        let field = format!("kubernetes.patches[{index}]");
        let all = match files.path(path) {
            folder if folder.is_dir() => files.checked(within(&folder), &field).unwrap_or_default(),
            _ => vec![files.file(path, &field)],
        };
        for path in all.iter().filter(|path| path.is_file()) {
            if !names.insert(path.file_name().map(str::to_owned)) {
                files.problem(&field, format!("{path}: another patch has the same file name"));
            } else {
                found.extend(files.checked(read(path, |text| check_patch(path, text)), &field));
            }
        }
    }
    found
}

/// The files of a folder by name. What is hidden is an editor's.
fn within(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, String> {
    let entries = folder.read_dir_utf8().and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|e| format!("{folder}: {e}"))?;
    let mut files: Vec<Utf8PathBuf> =
        entries.iter().filter(|e| !e.file_name().starts_with('.')).map(|e| e.path().to_owned()).collect();
    files.sort();
    match files.iter().find(|path| !path.is_file()) {
        Some(other) => Err(format!("{other}: is no file; kubeadm reads the files of one folder")),
        None if files.is_empty() => Err(format!("{folder}: there is no patch in it")),
        None => Ok(files),
    }
}

fn read(path: &Utf8Path, check: impl Fn(&str) -> Result<(), String>) -> Result<SiteFile, String> {
    let size = path.metadata().map_err(|e| format!("{path}: {e}"))?.len();
    if size > MAX_FILE {
        return Err(format!("{path}: {size} bytes are more than the {MAX_FILE} that such a file may have"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    check(&text).map_err(|why| format!("{path}: {why}"))?;
    Ok(SiteFile { path: path.to_owned(), text })
}

/// The name says what is patched and how: `target[suffix][+patchtype].extension` (Kubernetes documentation, "Customizing
/// components with the kubeadm API"). kubeadm passes over a name that it does not know, without a word at the end.
fn check_patch(path: &Utf8Path, text: &str) -> Result<(), String> {
    let name = path.file_name().unwrap_or_default();
    let Some(stem) = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".json")) else {
        return Err("the name of a patch ends in .yaml or .json".to_owned());
    };
    if stem.starts_with("etcd") {
        return Err("etcd is not made by kubeadm here, so no patch of it would be read".to_owned());
    }
    if !TARGETS.iter().any(|target| stem.starts_with(target)) {
        return Err(format!("the name of a patch begins with one of {}", TARGETS.join(", ")));
    }
    let kind = match stem.split_once('+') {
        Some((_, kind)) if TYPES.contains(&kind) => kind,
        Some(_) => return Err(format!("behind the + of a patch's name stands one of {}", TYPES.join(", "))),
        None => "strategic",
    };
    // What kubeadm reads of a name ends at its first dot.
    if stem.bytes().any(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'+'))) {
        return Err("the name of a patch has letters, digits, `-`, `_` and one `+` before its ending".to_owned());
    }
    let documents = documents(text)?;
    if documents.is_empty() {
        return Err("it is empty".to_owned());
    }
    for (line, document) in documents {
        match (&document.content, kind) {
            (Content::List(_), "json") | (Content::Map(_), "strategic" | "merge") => {}
            (_, "json") => return Err(format!("line {line}: a JSON patch is a list of operations")),
            _ => return Err(format!("line {line}: a patch of this type is a map of fields")),
        }
    }
    Ok(())
}

/// The documents of a text, each with its first line. kubeadm parts them likewise.
fn documents(text: &str) -> Result<Vec<(usize, Node)>, String> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut documents, mut begins) = (Vec::new(), 0);
    for part in lines.split(|line| line.trim_end() == "---") {
        let is_filled = part.iter().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
        if is_filled {
            let node = yaml::parse(&part.join("\n"));
            let node = node.map_err(|problem| format!("line {}: {}", begins + problem.line, problem.text))?;
            documents.push((begins + node.line, node));
        }
        begins += part.len() + 1;
    }
    Ok(documents)
}

/// An API server that is given something else does not start.
fn check_policy(text: &str) -> Result<(), String> {
    let documents = documents(text)?;
    let [(_, Node { content: Content::Map(fields), .. })] = documents.as_slice() else {
        return Err("an audit policy is one map of fields".to_owned());
    };
    let field = |name: &str| fields.iter().find(|(key, _)| key.name == name).map(|(_, value)| value);
    let is_text = |name: &str, good: &dyn Fn(&str) -> bool| matches!(field(name).and_then(Node::value), Some(Value::Text(text)) if good(text));
    if !is_text("kind", &|kind| kind == "Policy")
        || !is_text("apiVersion", &|version| version.starts_with("audit.k8s.io/"))
    {
        return Err("it is no audit policy: that has `apiVersion: audit.k8s.io/v1` and `kind: Policy`".to_owned());
    }
    match field("rules").map(|rules| &rules.content) {
        Some(Content::List(rules)) if !rules.is_empty() => Ok(()),
        _ => Err("its rules are no list with a rule".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_known_by_its_name_and_has_the_form_of_its_type() {
        let map = "spec: {}\n";
        for (name, text, wrong) in [
            ("kube-apiserver.yaml", map, ""),
            ("kube-apiserver0+merge.json", "{\"spec\": {}}\n", ""),
            ("kubeletconfiguration+json.yaml", "- {op: add}\n", ""),
            ("kube-scheduler1+strategic.yaml", "---\na: 1\n---\n# more\nb: 2\n", ""),
            ("kube-apiserver.yml", map, "ends in .yaml or .json"),
            ("etcd.yaml", map, "etcd is not made by kubeadm"),
            ("apiserver.yaml", map, "begins with one of kube-apiserver, "),
            ("kube-apiserver+patch.yaml", map, "one of strategic, merge, json"),
            ("kube-apiserver+json.yaml", map, "line 1: a JSON patch is a list"),
            ("kube-apiserver.yaml", "- a\n", "line 1: a patch of this type is a map"),
            ("kube-apiserver.old+json.yaml", "- a\n", "has letters, digits"),
            ("kube-apiserver.yaml", "a: 1\n---\n- b\n", "line 3: a patch of this type is a map"),
            ("kube-apiserver.yaml", "a: 1\n---\nb: [\n", "this is not YAML"),
            ("kube-apiserver.yaml", "# nothing\n", "it is empty"),
        ] {
            let said = check_patch(Utf8Path::new(name), text).err().unwrap_or_default();
            assert!(if wrong.is_empty() { said.is_empty() } else { said.contains(wrong) }, "{name}: {said}");
        }
    }

    #[test]
    fn an_audit_policy_is_one_with_rules() {
        let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";
        check_policy(&format!("{head}rules: [{{level: Metadata}}]\n")).unwrap();
        for (text, wrong) in [
            ("kind: Policy\nrules: [a]\n".to_owned(), "no audit policy"),
            ("apiVersion: v1\nkind: Pod\n".to_owned(), "no audit policy"),
            (format!("{head}rules: []\n"), "no list with a rule"),
            (format!("{head}---\n{head}"), "one map"),
            ("- a\n".to_owned(), "one map"),
        ] {
            let said = check_policy(&text).unwrap_err();
            assert!(said.contains(wrong), "{text}: {said}");
        }
    }
}
