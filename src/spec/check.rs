//! A tree held against the table of fields: every problem at once, each with its line, and what is right as JSON with the line
//! of every field.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::fields::{self, Choice, Field, Kind};
use super::problem::FileProblem;
use super::values::{Format, harmless};
use super::yaml::{Content, Key, Node, Value};

/// Names this alike are one a slip of the other.
const ALIKE: f64 = 0.8;

/// Where fields stand, by their path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lines(pub(super) BTreeMap<String, usize>);

impl Lines {
    /// The line of a field, or of what it would be in.
    pub(super) fn of(&self, path: &str) -> usize {
        let mut path = path;
        loop {
            if let Some(line) = self.0.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return self.0.get("").copied().unwrap_or(1),
            }
        }
    }

    pub(super) fn problem(&self, path: &str, text: impl Into<String>) -> FileProblem {
        FileProblem::at(self.of(path), path, text)
    }
}

/// What came of a check. What is wrong is left out of `json`.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) json: Json,
    pub(super) lines: Lines,
    pub(super) problems: Vec<FileProblem>,
}

pub(super) fn check(root: &Node, kind: &'static Kind) -> Checked {
    let mut walk = Walk { lines: Lines::default(), problems: Vec::new() };
    let json = walk.value(root, kind, "").unwrap_or_default();
    Checked { json, lines: walk.lines, problems: walk.problems }
}

pub(super) struct Walk {
    pub(super) lines: Lines,
    pub(super) problems: Vec<FileProblem>,
}

impl Walk {
    pub(super) fn wrong(&mut self, node: &Node, path: &str, text: impl Into<String>) -> Option<Json> {
        self.problems.push(FileProblem::at(node.line, path, text));
        None
    }

    fn value(&mut self, node: &Node, kind: &'static Kind, path: &str) -> Option<Json> {
        self.lines.0.insert(path.to_owned(), node.line);
        match kind {
            Kind::Text(format) => self.text(node, *format, path),
            Kind::Integer { min, max } => match node.value() {
                Some(Value::Integer(n)) if u64::try_from(n).is_ok_and(|n| (*min..=*max).contains(&n)) => {
                    Some(Json::from(n))
                }
                _ => self.wrong(node, path, format!("{} is not a number from {min} to {max}", shown(node))),
            },
            Kind::Switch => match node.value() {
                Some(Value::Switch(switch)) => Some(Json::from(switch)),
                _ => self.wrong(node, path, format!("{} is neither true nor false", shown(node))),
            },
            Kind::Choice(choices) => self.choice(node, choices, path),
            Kind::List { of, filled } => self.list(node, of, *filled, path),
            Kind::Map(groups) => self.map(node, groups, path),
            Kind::Entries { name, of } => self.entries(node, *name, of, path),
            Kind::Options => self.options(node, path),
            Kind::Free => match node.content {
                Content::Map(_) => self.free(node, path),
                _ => self.wrong(node, path, format!("{} is not a map", shown(node))),
            },
            Kind::Paths => match node.content {
                Content::List(_) => self.list(node, &Kind::Text(Format::Any), true, path),
                _ => Some(Json::Array(self.text(node, Format::Any, path).into_iter().collect())),
            },
        }
    }

    fn text(&mut self, node: &Node, format: Format, path: &str) -> Option<Json> {
        let Some(Value::Text(text)) = node.value() else {
            let help = match node.value() {
                Some(Value::Switch(_) | Value::Integer(_) | Value::Real) => "; put it in quotes",
                _ => "",
            };
            return self.wrong(node, path, format!("{} is not text{help}", shown(node)));
        };
        match format.check(text) {
            Ok(()) => Some(Json::from(text)),
            Err(why) => self.wrong(node, path, why),
        }
    }

    fn choice(&mut self, node: &Node, choices: &'static [Choice], path: &str) -> Option<Json> {
        let found = match node.value() {
            Some(Value::Text(text)) => choices.iter().find(|c| c.word == text || c.aliases.contains(&text)),
            _ => None,
        };
        if let Some(choice) = found {
            return Some(Json::from(choice.word));
        }
        let words: Vec<&str> = choices.iter().map(|c| c.word).collect();
        self.wrong(node, path, format!("{} is not one of {}", shown(node), words.join(", ")))
    }

    fn list(&mut self, node: &Node, of: &'static Kind, filled: bool, path: &str) -> Option<Json> {
        let Content::List(items) = &node.content else {
            return self.wrong(node, path, format!("{} is not a list", shown(node)));
        };
        if filled && items.is_empty() {
            return self.wrong(node, path, "the list is empty");
        }
        let mut values = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let value = self.value(item, of, &format!("{path}[{index}]"));
            // A map that is none leaves its place, so that those behind it keep their numbers.
            let place = matches!(of, Kind::Map(_)).then(|| Json::Object(Map::new()));
            values.extend(value.or(place));
        }
        Some(Json::Array(values))
    }

    fn entries(&mut self, node: &Node, name: Format, of: &'static Kind, path: &str) -> Option<Json> {
        let Content::Map(entries) = &node.content else {
            return self.wrong(node, path, format!("{} is not a map", shown(node)));
        };
        let mut map = Map::new();
        for (key, value) in entries {
            let path = self.entry(key, path, &map);
            if let Err(why) = name.check(&key.name) {
                self.problems.push(FileProblem::at(key.line, path, why));
                continue;
            }
            let value = self.value(value, of, &path);
            self.lines.0.insert(path, key.line);
            map.extend(value.map(|value| (key.name.clone(), value)));
        }
        Some(Json::Object(map))
    }

    fn map(&mut self, node: &Node, groups: &'static [&'static [Field]], path: &str) -> Option<Json> {
        let Content::Map(entries) = &node.content else {
            let names: Vec<&str> = fields::all(groups).map(|f| f.name).collect();
            return self.wrong(node, path, format!("{} has none of the fields {}", shown(node), names.join(", ")));
        };
        let mut map = Map::new();
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (key, value) in entries {
            let path = join(path, &key.name);
            if let Some(line) = seen.insert(&key.name, key.line) {
                self.problems.push(FileProblem::at(key.line, path, format!("is given twice, first in line {line}")));
                continue;
            }
            match fields::all(groups).find(|f| f.name == key.name) {
                Some(field) => {
                    let value = self.value(value, &field.kind, &path);
                    // A field's problems are looked for where its name stands.
                    self.lines.0.insert(path, key.line);
                    map.extend(value.map(|value| (field.name.to_owned(), value)));
                }
                None => self.problems.push(unknown(key, path, fields::all(groups).map(|f| f.name))),
            }
        }
        for field in fields::all(groups).filter(|f| f.required && !seen.contains_key(f.name)) {
            self.problems.push(FileProblem::at(node.line, join(path, field.name), "is missing"));
        }
        Some(Json::Object(map))
    }
}

pub(super) fn join(path: &str, name: &str) -> String {
    // What is no name would garble the path.
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

fn unknown(key: &Key, path: String, known: impl Iterator<Item = &'static str>) -> FileProblem {
    let known: Vec<&str> = known.collect();
    let lower = key.name.to_ascii_lowercase();
    if matches!(lower.as_str(), "password" | "sudopassword" | "passphrase" | "key") {
        let text = "secrets do not belong in this file: put the password into a file of mode 0600 and name that with \
                    passwordFile (sudoPasswordFile), or name an environment variable with passwordEnv \
                    (sudoPasswordEnv); keyFile names a private key";
        return FileProblem::at(key.line, path, text);
    }
    let likeness = |name: &&&str| strsim::jaro_winkler(&lower, &name.to_ascii_lowercase());
    let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).filter(|n| likeness(n) >= ALIKE);
    let text = match nearest {
        Some(name) => format!("is not a field; did you mean {name}?"),
        None => format!("is not a field; there are {}", known.join(", ")),
    };
    FileProblem::at(key.line, path, text)
}

/// A value in a message, nothing that may be a password in it.
pub(super) fn shown(node: &Node) -> String {
    match &node.content {
        Content::List(_) => "a list".to_owned(),
        Content::Map(_) => "a map".to_owned(),
        Content::Scalar { text, plain: true } if text.is_empty() => "nothing".to_owned(),
        Content::Scalar { text, .. } => {
            let text = harmless(text);
            let short: String = text.chars().take(40).collect();
            if short == text { format!("{text:?}") } else { format!("{short:?}…") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields::ROOT;
    use super::super::yaml::parse;
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let mut problems = check(&parse(text).unwrap(), &ROOT).problems;
        problems.sort_by_key(|p| p.line);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_problems_are_named_at_once_with_line_and_field() {
        let text = "\
schema: 1
enviroment: prod
hosts:
  - address: 10.8.14.200
    roles: [etcd, workr]
    password: geheim
  - roles: worker
    port: 70000
  - 10.8.14.202:geheim
  - address: root:geheim@10.8.14.203
    roles: []
etcd:
  tls: yes
  tls: true
kubernetes:
  podCIDR: 10.244.0.0/33
  clusterDomain: 5
  podcidr: x
  release: 1.36
  workerRpms: a.rpm
";
        let found = problems(text);
        let expected = [
            "2: enviroment: is not a field; did you mean environment?",
            r#"5: hosts[0].roles[1]: "workr" is not one of etcd, control-plane, worker"#,
            "6: hosts[0].password: secrets do not belong in this file",
            "7: hosts[1].address: is missing",
            r#"7: hosts[1].roles: "worker" is not a list"#,
            r#"8: hosts[1].port: "70000" is not a number from 1 to 65535"#,
            r#"9: hosts[2]: "10.8.14.202:***" has none of the fields address, roles, nodeAddress, user"#,
            r#"10: hosts[3].address: "root:***@10.8.14.203" is not an IP address or a DNS name"#,
            "11: hosts[3].roles: the list is empty",
            r#"13: etcd.tls: "yes" is neither true nor false"#,
            "14: etcd.tls: is given twice, first in line 13",
            r#"16: kubernetes.podCIDR: "10.244.0.0/33" is not a network such as 10.244.0.0/16, or one of each family"#,
            r#"17: kubernetes.clusterDomain: "5" is not text; put it in quotes"#,
            "18: kubernetes.podcidr: is not a field; did you mean podCIDR?",
            "19: kubernetes.release: is not a field; there are distribution, version, network",
            r#"20: kubernetes.workerRpms: "a.rpm" is not a list"#,
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for wanted in expected {
            assert!(found.iter().any(|f| f.starts_with(wanted)), "{wanted}: {found:#?}");
        }
        assert!(found.iter().all(|f| !f.contains("geheim")), "{found:#?}");
    }

    #[test]
    fn what_is_missing_or_no_map_is_said() {
        assert_eq!(problems("schema: 1\n"), ["1: hosts: is missing"]);
        assert!(problems("- a\n")[0].starts_with("1: a list has none of the fields schema"));
        assert!(problems("hosts:\n").iter().any(|p| p == "1: hosts: nothing is not a list"));
    }

    #[test]
    fn aliases_of_roles_are_read_as_the_roles() {
        let checked = check(&parse("hosts:\n- {address: h, roles: [master, node]}\n").unwrap(), &ROOT);
        assert_eq!(checked.json["hosts"][0]["roles"], serde_json::json!(["control-plane", "worker"]));
        assert_eq!(checked.lines.of("hosts[0].roles[1]"), 2);
        assert_eq!(checked.lines.of("hosts[0].user"), 2);
        assert_eq!(checked.lines.of("kubernetes.podCIDR"), 1);
    }
}
