//! What a cluster that stands has of the site's settings, held against what it is to have: option by option, field by field. Whatever
//! the site does not speak of stays as others made it. Pure: kubeadm's ConfigMaps and the files of hosts flow in as text.

use std::time::Duration;

use saphyr::{Mapping, Scalar, Yaml, YamlEmitter};
use serde_json::{Map, Value};

/// One option of a program, or one field of its configuration, as it is to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    /// `kube-apiserver`, `kubelet` …
    pub program: &'static str,
    /// Where it is in the configuration; of a list by the name of its member.
    pub path: Vec<String>,
    /// None: not set at all.
    pub wanted: Option<Value>,
    /// The cluster had it before, as far as this product has set it.
    pub known: bool,
}

/// The three documents that settings are made from. Fields are leaves down to `depth` maps within each other.
pub(super) struct Sources<'a> {
    /// What the site sets now.
    pub site: &'a Value,
    /// All that it set before, in runs that came to their end and in others.
    pub former: &'a Value,
    /// What it set in the last one that came to its end.
    pub applied: &'a Value,
    /// What is there where the site sets nothing.
    pub base: &'a Value,
    pub depth: usize,
}

impl Sources<'_> {
    /// What the site sets, and what it sets no more.
    pub(super) fn settings(&self, program: impl Fn(&[String]) -> &'static str) -> Vec<Setting> {
        let site = leaves(self.site, self.depth);
        let is_met = |path: &[String]| site.iter().any(|(other, _)| other.starts_with(path) || path.starts_with(other));
        let gone: Vec<_> = leaves(self.former, self.depth).into_iter().filter(|(path, _)| !is_met(path)).collect();
        let set = site.iter().map(|(path, value)| Setting {
            program: program(path),
            known: get(self.applied, path).is_some_and(|applied| same(applied, value)),
            path: path.clone(),
            wanted: Some(value.clone()),
        });
        let unset = gone.into_iter().map(|(path, _)| Setting {
            program: program(&path),
            wanted: get(self.base, &path).cloned(),
            path,
            known: false,
        });
        set.chain(unset).collect()
    }
}

impl Setting {
    /// Its own name: that of an option, or the path of a field.
    fn name(&self) -> String {
        match self.path.as_slice() {
            [_, of, name] if of == "extraArgs" => format!("--{name}"),
            [_, of, name] if of == "extraVolumes" => format!("volume {name}"),
            path => path.join("."),
        }
    }

    /// The change from what is there; None where there is none.
    pub(super) fn change(&self, is: Option<&Value>) -> Option<String> {
        let same = match (is, &self.wanted) {
            (None, None) => true,
            (Some(is), Some(wanted)) => same(is, wanted),
            // Programs leave out of their files what is nothing.
            (None, Some(wanted)) => self.known && is_nothing(wanted),
            (Some(_), None) => false,
        };
        (!same).then(|| format!("{}: {}: {} -> {}", self.program, self.name(), shown(is), shown(self.wanted.as_ref())))
    }

    /// The option that it is, where it is one.
    pub(super) fn option(&self) -> Option<&str> {
        match self.path.as_slice() {
            [_, of, name] if of == "extraArgs" => Some(name),
            _ => None,
        }
    }
}

/// What is to be changed in a document.
pub(super) fn changes(document: &Value, settings: &[Setting]) -> Vec<String> {
    settings.iter().filter_map(|setting| setting.change(get(document, &setting.path))).collect()
}

/// The document with these settings; all else stays.
pub(super) fn with(mut document: Value, settings: &[Setting]) -> Value {
    let lists = document["apiVersion"].as_str() == Some("kubeadm.k8s.io/v1beta4");
    for setting in settings {
        if setting.change(get(&document, &setting.path)).is_some() {
            set(&mut document, &setting.path, setting.wanted.as_ref(), lists);
        }
    }
    document
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "not set".to_owned(),
        Some(Value::String(text)) => text.clone(),
        // A volume.
        Some(value) => value["hostPath"].as_str().map_or_else(|| value.to_string(), str::to_owned),
    }
}

fn leaves(value: &Value, depth: usize) -> Vec<(Vec<String>, Value)> {
    match value {
        Value::Object(map) if depth > 0 && !map.is_empty() => {
            let under = |(name, value): (&String, &Value)| {
                let within = leaves(value, depth - 1).into_iter();
                let name = name.clone();
                within.map(move |(path, leaf)| ([vec![name.clone()], path].concat(), leaf)).collect::<Vec<_>>()
            };
            map.iter().flat_map(under).collect()
        }
        // Nothing at all is set.
        Value::Object(map) if map.is_empty() => Vec::new(),
        leaf => vec![(Vec::new(), leaf.clone())],
    }
}

/// The member of a list that has this name.
fn is_named(member: &Value, name: &str) -> bool {
    member["name"].as_str() == Some(name)
}

pub(super) fn get<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    let Some((first, rest)) = path.split_first() else { return Some(value) };
    match value {
        Value::Object(map) => get(map.get(first)?, rest),
        Value::Array(list) => {
            let member = list.iter().find(|member| is_named(member, first))?;
            get(member.get("value").unwrap_or(member), rest)
        }
        _ => None,
    }
}

/// `lists`: options are a list of names and values, as kubeadm's API has it from v1beta4 on.
fn set(value: &mut Value, path: &[String], wanted: Option<&Value>, lists: bool) {
    match (value, path) {
        (Value::Object(map), [name]) => {
            match wanted {
                Some(wanted) => map.insert(name.clone(), wanted.clone()),
                None => map.remove(name),
            };
        }
        (Value::Array(list), [name]) => {
            let member = wanted.map(|wanted| match wanted {
                Value::Object(_) => wanted.clone(),
                value => serde_json::json!({"name": name, "value": value}),
            });
            let place = list.iter().position(|member| is_named(member, name)).unwrap_or(list.len());
            list.retain(|member| !is_named(member, name));
            if let Some(member) = member {
                list.insert(place.min(list.len()), member);
            }
        }
        (Value::Object(map), [first, rest @ ..]) if !rest.is_empty() => {
            if map.get(first).is_none_or(|inner| !inner.is_object() && !inner.is_array()) {
                if wanted.is_none() {
                    return;
                }
                let is_list = first == "extraVolumes" || lists && first == "extraArgs";
                map.insert(first.clone(), if is_list { Value::Array(Vec::new()) } else { Map::new().into() });
            }
            let Some(inner) = map.get_mut(first) else { return };
            set(inner, rest, wanted, lists);
            if wanted.is_none() && is_nothing(inner) {
                map.remove(first);
            }
        }
        _ => {}
    }
}

/// What a program leaves out of a file that it writes.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// Whether both say the same: `60s` is `1m0s`, and 1 is 1.0.
fn same(one: &Value, other: &Value) -> bool {
    let durations = |one: &str, other: &str| duration(one).is_some_and(|one| duration(other) == Some(one));
    match (one, other) {
        (Value::String(one), Value::String(other)) => one == other || durations(one, other),
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            let within = |name: &String| match (a.get(name), b.get(name)) {
                (Some(a), Some(b)) => same(a, b),
                (a, b) => a.or(b).is_none_or(is_nothing),
            };
            a.keys().chain(b.keys()).all(within)
        }
        _ => one == other,
    }
}

/// A duration as Go writes it (`time.ParseDuration`), without a sign.
fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit = rest[number..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| number + end);
        let seconds = match &rest[number..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        sum += rest[..number].parse::<f64>().ok()? * seconds;
        rest = &rest[unit..];
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(sum).ok() }
}

/// The first document of a text; None where it is no YAML.
pub(super) fn read(text: &str) -> Option<Value> {
    payload::yaml::documents(text).ok()?.first().map(value)
}

fn value(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Boolean(yes)) => (*yes).into(),
        Yaml::Value(Scalar::Integer(number)) => (*number).into(),
        Yaml::Value(Scalar::FloatingPoint(number)) => number.into_inner().into(),
        Yaml::Value(Scalar::String(text)) => text.as_ref().into(),
        Yaml::Sequence(list) => list.iter().map(value).collect(),
        Yaml::Mapping(map) => {
            let named = |(key, inner): (&Yaml<'_>, &Yaml<'_>)| Some((key.as_str()?.to_owned(), value(inner)));
            Value::Object(map.iter().filter_map(named).collect())
        }
        Yaml::Tagged(_, inner) => value(inner),
        _ => Value::Null,
    }
}

/// A document as YAML text, as kubeadm keeps it; None where it cannot be written.
pub(super) fn text(document: &Value) -> Option<String> {
    let mut text = String::new();
    YamlEmitter::new(&mut text).dump(&yaml(document)).ok()?;
    Some(text.trim_start_matches("---\n").to_owned() + "\n")
}

fn yaml(value: &Value) -> Yaml<'_> {
    Yaml::Value(match value {
        Value::Null => Scalar::Null,
        Value::Bool(yes) => Scalar::Boolean(*yes),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Scalar::Integer(number),
            None => Scalar::FloatingPoint(number.as_f64().unwrap_or_default().into()),
        },
        Value::String(text) => Scalar::String(text.as_str().into()),
        Value::Array(list) => return Yaml::Sequence(list.iter().map(yaml).collect()),
        Value::Object(map) => {
            let mut mapping = Mapping::new();
            for (name, inner) in map {
                mapping.insert(Yaml::Value(Scalar::String(name.as_str().into())), yaml(inner));
            }
            return Yaml::Mapping(mapping);
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(site: &Value, former: &Value, base: &Value, depth: usize) -> Vec<Setting> {
        Sources { site, former, applied: former, base, depth }.settings(|_| "kubelet")
    }

    /// ConfigMap as kubeadm writes it, with an option of somebody else, given twice.
    const CONFIG: &str = "apiServer:\n  extraArgs:\n  - name: profiling\n    value: \"true\"\n  - name: issuer\n    value: a\n  \
                          - name: issuer\n    value: b\napiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n";

    #[test]
    fn options_are_changed_added_and_taken_out_and_others_stay() {
        let site = json!({
            "apiServer": {
                "extraArgs": {"profiling": "false"},
                "extraVolumes": {"policy": {"name": "policy", "hostPath": "/p", "mountPath": "/p"}},
            },
            "scheduler": {"extraArgs": {"v": "4"}},
        });
        let is = read(CONFIG).unwrap();
        let set = settings(&site, &json!({}), &json!({}), 3);
        assert_eq!(
            changes(&is, &set),
            [
                "kubelet: --profiling: true -> false",
                "kubelet: volume policy: not set -> /p",
                "kubelet: --v: not set -> 4"
            ]
        );
        let changed = with(is.clone(), &set);
        insta::assert_snapshot!("options_of_v1beta4", text(&changed).unwrap());
        assert_eq!(read(&text(&changed).unwrap()).unwrap(), changed);
        assert!(changes(&changed, &set).is_empty());
        // What the site sets no more goes, and what it never set stays.
        let back = settings(&json!({}), &site, &json!({}), 3);
        let without = with(changed, &back);
        assert_eq!(without["apiServer"]["extraArgs"].as_array().unwrap().len(), 2);
        assert_eq!((without.get("scheduler"), without["apiServer"].get("extraVolumes")), (None, None));
        assert!(changes(&without, &back).is_empty());
        // A map before v1beta4.
        let old = with(json!({"apiVersion": "kubeadm.k8s.io/v1beta3"}), &set);
        assert_eq!(old["scheduler"], json!({"extraArgs": {"v": "4"}}));
        assert!(old["apiServer"]["extraVolumes"].is_array());
    }

    #[test]
    fn fields_within_each_other() {
        let is =
            json!({"maxPods": 50, "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": true}}});
        let site = json!({"maxPods": 60, "evictionHard": {"memory.available": "100Mi"}});
        let former =
            json!({"maxPods": 50, "authentication": {"anonymous": {"enabled": false}}, "nodeStatusMaxImages": 10});
        let set = settings(&site, &former, &json!({"nodeStatusMaxImages": -1}), usize::MAX);
        assert_eq!(
            changes(&is, &set),
            [
                "kubelet: evictionHard.memory.available: not set -> 100Mi",
                "kubelet: maxPods: 50 -> 60",
                "kubelet: authentication.anonymous.enabled: false -> not set",
                "kubelet: nodeStatusMaxImages: not set -> -1"
            ]
        );
        assert_eq!(
            with(is, &set),
            json!({
                "maxPods": 60, "authentication": {"webhook": {"enabled": true}}, "nodeStatusMaxImages": -1,
                "evictionHard": {"memory.available": "100Mi"},
            })
        );
    }

    #[test]
    fn what_is_written_otherwise_is_no_change() {
        let site = json!({"period": "90s", "qps": 5, "protect": false, "list": ["1h"], "failSwapOn": false});
        let is = json!({"period": "1m30s", "qps": 5.0, "list": ["60m"]});
        let known = settings(&site, &site, &json!({}), usize::MAX);
        assert_eq!(changes(&is, &known), [""; 0], "kubeadm leaves out what is nothing");
        let new = settings(&site, &json!({}), &json!({}), usize::MAX);
        assert_eq!(changes(&is, &new).len(), 2, "a field that was never set may be true by itself");
        assert!(same(&json!({"name": "x", "readOnly": false}), &json!({"name": "x"})));
        assert!(!same(&json!({"name": "x", "readOnly": true}), &json!({"name": "x"})));
        for (one, other) in [("1s", "1ms"), ("5", "5s"), ("x", "y"), ("", "0s"), ("1h", "1hour")] {
            assert!(!same(&one.into(), &other.into()), "{one} {other}");
        }
    }

    #[test]
    fn text_is_read_again_as_it_was() {
        let document =
            json!({"a": "no", "b": "0x1", "c": [], "d": {"e": "1.5", "f": 1.5}, "g": "a: b", "h": null, "i": ""});
        assert_eq!(read(&text(&document).unwrap()).unwrap(), document);
        assert_eq!(read("{"), None);
    }
}
