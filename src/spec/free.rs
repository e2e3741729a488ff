//! Values of which the table of fields knows no more than their form: options of other programs, and the fields of other
//! programs' configuration files. They are read as they stand, with the line of each.

use serde_json::{Map, Value as Json};

use super::check::{Walk, join, shown};
use super::problem::FileProblem;
use super::yaml::{Content, Key, Node, Value};

/// The name of an option, without the dashes in front of it (ECMA 262).
pub(super) const OPTION: &str = "^[A-Za-z][A-Za-z0-9-]*$";

fn is_option(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

impl Walk {
    /// Options with their values.
    pub(super) fn options(&mut self, node: &Node, path: &str) -> Option<Json> {
        let Content::Map(entries) = &node.content else {
            return self.wrong(node, path, format!("{} is not a map of options", shown(node)));
        };
        let mut options = Map::new();
        for (key, value) in entries {
            let path = self.entry(key, path, &options);
            if !is_option(&key.name) {
                let text = "is not the name of an option: letters, digits and `-`, without the dashes in front";
                self.problems.push(FileProblem::at(key.line, path, text));
                continue;
            }
            match value.value() {
                Some(Value::Text(text)) if !text.chars().any(char::is_control) => {
                    options.insert(key.name.clone(), Json::from(text));
                }
                Some(Value::Text(_)) => {
                    self.wrong(value, &path, "the text has control characters");
                }
                Some(Value::Switch(_) | Value::Integer(_) | Value::Real) => {
                    self.wrong(value, &path, format!("{} is not text; put it in quotes", shown(value)));
                }
                _ => {
                    self.wrong(value, &path, format!("{} is not text", shown(value)));
                }
            }
        }
        Some(Json::Object(options))
    }

    /// A value as it stands.
    pub(super) fn free(&mut self, node: &Node, path: &str) -> Option<Json> {
        self.lines.0.insert(path.to_owned(), node.line);
        match &node.content {
            Content::Scalar { text, .. } => Some(match node.value() {
                Some(Value::Switch(switch)) => Json::from(switch),
                Some(Value::Integer(number)) => Json::from(number),
                // What is not a number to JSON, such as .inf, stays the text that it is.
                Some(Value::Real) => text.parse::<f64>().map_or(Json::from(text.as_str()), Json::from),
                Some(Value::Text(text)) => Json::from(text),
                Some(Value::Nothing) | None => Json::Null,
            }),
            Content::List(items) => {
                let items = items.iter().enumerate();
                Some(Json::Array(items.filter_map(|(at, item)| self.free(item, &format!("{path}[{at}]"))).collect()))
            }
            Content::Map(entries) => {
                let mut map = Map::new();
                for (key, value) in entries {
                    let path = self.entry(key, path, &map);
                    let value = self.free(value, &path);
                    self.lines.0.insert(path, key.line);
                    map.extend(value.map(|value| (key.name.clone(), value)));
                }
                Some(Json::Object(map))
            }
        }
    }

    /// The path of an entry, whose name is the first of its kind in `map`.
    pub(super) fn entry(&mut self, key: &Key, path: &str, map: &Map<String, Json>) -> String {
        let path = join(path, &key.name);
        if map.contains_key(&key.name) {
            let first = self.lines.of(&path);
            self.problems.push(FileProblem::at(
                key.line,
                path.clone(),
                format!("is given twice, first in line {first}"),
            ));
        }
        self.lines.0.insert(path.clone(), key.line);
        path
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::check;
    use super::super::fields::Kind;
    use super::super::yaml::parse;

    fn problems(text: &str, kind: &'static Kind) -> Vec<String> {
        check(&parse(text).unwrap(), kind).problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn options_are_texts_by_name() {
        let checked = check(&parse("v: '4'\nfeature-gates: A=true,B=false\nempty: ''\n").unwrap(), &Kind::Options);
        assert_eq!(checked.json, json!({"v": "4", "feature-gates": "A=true,B=false", "empty": ""}));
        let found = problems("v: 4\n--x: a\nprofiling: false\nlist: [a]\nv: '5'\nw: \"a\\nb\"\n", &Kind::Options);
        let expected = [
            r#"1: v: "4" is not text; put it in quotes"#,
            "2: --x: is not the name of an option",
            r#"3: profiling: "false" is not text; put it in quotes"#,
            "4: list: a list is not text",
            "6: w: the text has control characters",
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, wanted) in found.iter().zip(expected) {
            assert!(found.starts_with(wanted), "{found}");
        }
        assert_eq!(problems("a: x\na: y\n", &Kind::Options), ["2: a: is given twice, first in line 1"]);
        assert_eq!(problems("- a\n", &Kind::Options), ["1: a list is not a map of options"]);
    }

    #[test]
    fn free_fields_are_read_as_they_stand() {
        let text = "maxPods: 50\nfailSwapOn: false\nfactor: 0.5\nevictionHard:\n  memory.available: 100Mi\nlist: [a, 1]\n\
                    quoted: '1'\nnothing:\n";
        let checked = check(&parse(text).unwrap(), &Kind::Free);
        let expected = json!({
            "maxPods": 50, "failSwapOn": false, "factor": 0.5, "evictionHard": {"memory.available": "100Mi"},
            "list": ["a", 1], "quoted": "1", "nothing": null,
        });
        assert_eq!(checked.json, expected);
        assert_eq!(checked.lines.of("evictionHard.memory.available"), 5);
        assert_eq!(problems("a: {b: 1, b: 2}\n", &Kind::Free), ["1: a.b: is given twice, first in line 1"]);
        assert_eq!(problems("text\n", &Kind::Free), [r#"1: "text" is not a map"#]);
    }

    #[test]
    fn paths_are_one_or_many() {
        let paths = |text: &str| check(&parse(text).unwrap(), &Kind::Paths).json;
        assert_eq!(paths("patches\n"), json!(["patches"]));
        assert_eq!(paths("[a.yaml, b.json]\n"), json!(["a.yaml", "b.json"]));
        assert_eq!(problems("[]\n", &Kind::Paths), ["1: the list is empty"]);
        assert_eq!(problems("5\n", &Kind::Paths), [r#"1: "5" is not text; put it in quotes"#]);
    }
}
