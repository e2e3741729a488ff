//! A cluster file as YAML text, its fields in the order of the table.

use std::borrow::Cow;

use saphyr::{Mapping, Scalar, Yaml, YamlEmitter};
use serde_json::Value;

use super::fields::{self, Kind, ROOT};
use super::file::ClusterFile;

/// The text of `cluster.yaml`.
pub fn to_yaml(file: &ClusterFile) -> String {
    let json = serde_json::to_value(file).unwrap_or_default();
    let mut text = String::new();
    // Writing to memory does not fail.
    let _ = YamlEmitter::new(&mut text).dump(&node(&json, &ROOT));
    let text = text.strip_prefix("---\n").unwrap_or(&text);
    format!("{text}\n")
}

fn node<'a>(json: &'a Value, kind: &'static Kind) -> Yaml<'a> {
    match (json, kind) {
        (Value::Object(map), Kind::Map(groups)) => {
            let mut fields = Mapping::new();
            for field in fields::all(groups) {
                if let Some(value) = map.get(field.name) {
                    fields.insert(text(field.name), node(value, &field.kind));
                }
            }
            Yaml::Mapping(fields)
        }
        (Value::Object(map), _) => {
            Yaml::Mapping(map.iter().map(|(name, value)| (text(name), node(value, &Kind::Free))).collect())
        }
        (Value::Array(items), Kind::List { of, .. }) => {
            Yaml::Sequence(items.iter().map(|item| node(item, of)).collect())
        }
        (Value::Array(items), _) => Yaml::Sequence(items.iter().map(|item| node(item, &Kind::Free)).collect()),
        (Value::String(value), _) => text(value),
        (Value::Bool(switch), _) => Yaml::Value(Scalar::Boolean(*switch)),
        (Value::Number(number), _) => Yaml::Value(match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Scalar::Integer(whole),
            (None, real) => Scalar::FloatingPoint(real.unwrap_or_default().into()),
        }),
        _ => Yaml::Value(Scalar::Null),
    }
}

fn text(value: &str) -> Yaml<'_> {
    Yaml::Value(Scalar::String(Cow::Borrowed(value)))
}
