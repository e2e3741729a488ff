//! The JSON schema of cluster files (draft 2020-12, <https://json-schema.org/draft/2020-12>), for editors and pipelines.

use serde_json::{Map, Value, json};

use super::fields::{self, DefaultValue, Field, Kind, ROOT};
use super::free::OPTION;

/// The schema.
pub fn schema() -> Value {
    let mut schema = of(&ROOT);
    if let Some(root) = schema.as_object_mut() {
        root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("title".to_owned(), json!("A cluster, as `sunshine-installer cluster apply -f` reads it"));
    }
    schema
}

fn of(kind: &'static Kind) -> Value {
    match kind {
        Kind::Text(format) => {
            let mut text = json!({"type": "string", "minLength": 1});
            if let Some(pattern) = format.pattern() {
                text["pattern"] = json!(pattern);
            }
            text
        }
        Kind::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Switch => json!({"type": "boolean"}),
        Kind::Choice(choices) => {
            let words: Vec<&str> =
                choices.iter().flat_map(|c| [c.word].into_iter().chain(c.aliases.iter().copied())).collect();
            json!({"enum": words})
        }
        Kind::List { of: item, filled } => {
            let mut list = json!({"type": "array", "items": of(item)});
            if *filled {
                list["minItems"] = json!(1);
            }
            list
        }
        Kind::Map(groups) => map(fields::all(groups)),
        Kind::Entries { name, of: value } => {
            let mut map = json!({"type": "object", "additionalProperties": of(value)});
            if let Some(pattern) = name.pattern() {
                map["propertyNames"] = json!({"pattern": pattern});
            }
            map
        }
        Kind::Options => json!({
            "type": "object", "propertyNames": {"pattern": OPTION}, "additionalProperties": {"type": "string"},
        }),
        Kind::Free => json!({"type": "object"}),
        Kind::Paths => {
            let path = json!({"type": "string", "minLength": 1});
            json!({"anyOf": [path, {"type": "array", "items": path, "minItems": 1}]})
        }
    }
}

fn map(fields: impl Iterator<Item = &'static Field> + Clone) -> Value {
    let properties: Map<String, Value> = fields.clone().map(|f| (f.name.to_owned(), property(f))).collect();
    let required: Vec<&str> = fields.filter(|f| f.required).map(|f| f.name).collect();
    let mut map = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        map["required"] = json!(required);
    }
    map
}

fn property(field: &'static Field) -> Value {
    let mut schema = of(&field.kind);
    schema["description"] = json!(field.about);
    match field.default {
        DefaultValue::None => {}
        DefaultValue::Text(text) => schema["default"] = json!(text),
        DefaultValue::Switch(switch) => schema["default"] = json!(switch),
        DefaultValue::Integer(number) => schema["default"] = json!(number),
    }
    schema
}
