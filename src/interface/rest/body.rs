//! A POST's body, read strictly: which parameter is wrong is said in the contract's words.

use std::fmt;

use camino::Utf8PathBuf;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use utoipa::ToSchema;

use crate::host::Secret;

/// What every refusal of parameters begins with.
pub(crate) const WRONG: &str = "task_parms error";

/// A request to start a task.
#[derive(Debug)]
pub(crate) struct TaskRequest {
    pub(crate) number: u8,
    pub(crate) params: Value,
}

impl TaskRequest {
    /// Reads a body. The error names what is wrong; the number is 0 when the body did not tell it.
    pub(crate) fn read(body: &[u8]) -> Result<Self, (u8, String)> {
        let raw: Raw = serde_json::from_slice(body)
            .map_err(|e| (0, format!("{WRONG}: the body is not the JSON object that is wanted: {}", valueless(&e))))?;
        let Some(number) = raw.number else {
            return Err((0, format!("{WRONG}: environment_type is missing: 1, 3, 4 or 5")));
        };
        let known = number.as_u64().and_then(|n| u8::try_from(n).ok()).filter(|n| matches!(n, 1 | 3 | 4 | 5));
        let Some(number) = known else {
            return Err((0, format!("{WRONG}: environment_type: 1, 3, 4 or 5 can be started, not {}", shown(&number))));
        };
        match raw.params {
            Some(params) => Ok(Self { number, params }),
            None => Err((number, format!("{WRONG}: environment_params is missing, or is no object"))),
        }
    }

    /// The parameters as the type that this task wants.
    pub(crate) fn params<'a, T: Deserialize<'a>>(&'a self) -> Result<T, String> {
        serde_path_to_error::deserialize(&self.params).map_err(|e| {
            let path = e.path().to_string();
            // A key that does not exist is in it too, whatever was written there.
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_[]".contains(&b);
            let place = if path.bytes().all(plain) { format!("{path}: ") } else { String::new() };
            format!("{WRONG}: {place}{}", valueless(&e.into_inner()))
        })
    }
}

/// A value in a message, where a number is wanted: nothing else of it, it may hold a password.
fn shown(value: &Value) -> String {
    let kind = match value {
        Value::Number(number) => return number.to_string(),
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    kind.to_owned()
}

/// A key in a message: only what looks like one.
fn shown_key(key: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if (1..=40).contains(&key.len()) && key.bytes().all(plain) { format!(" `{key}`") } else { String::new() }
}

/// serde's words without the value that they quote (`invalid type: string "root:PASSWORD@10.8.14.200", expected a list`).
fn valueless(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let (said, expected) = text.rsplit_once(", expected ").map_or((text.as_str(), None), |(s, e)| (s, Some(e)));
    let expected = expected.map(|e| format!(", expected {e}")).unwrap_or_default();
    for wrong in ["invalid type: ", "invalid value: ", "invalid length: "] {
        if let Some(value) = said.strip_prefix(wrong) {
            // "string", "integer", "null": the kind stands in front of the value.
            let kind = value.split(['"', '`']).next().unwrap_or_default().trim_end();
            return format!("{wrong}{kind}{expected}");
        }
    }
    for wrong in ["unknown field", "unknown variant"] {
        if let Some(name) = said.strip_prefix(wrong) {
            return format!("{wrong}{}{expected}", shown_key(name.trim().trim_matches('`')));
        }
    }
    text
}

/// The body's two keys. The predecessor's examples repeat `environment_params`, an object and then a sentence: of several,
/// the object counts.
#[derive(Default)]
struct Raw {
    number: Option<Value>,
    params: Option<Value>,
}

/// Keys of the contract's messages that a client may send back; they start nothing.
const IGNORED: [&str; 6] = [
    "environment_progress",
    "environment_status",
    "environment_result",
    "environment_desc",
    "environment_time",
    "environment_err",
];

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with environment_type and environment_params")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut raw = Raw::default();
        while let Some(key) = map.next_key::<String>()? {
            let value: Value = map.next_value()?;
            match key.as_str() {
                "environment_type" => raw.number = Some(value),
                "environment_params" if value.is_object() && raw.params.is_some() => {
                    return Err(de::Error::custom("environment_params is given twice as an object"));
                }
                "environment_params" if value.is_object() => raw.params = Some(value),
                "environment_params" => {}
                known if IGNORED.contains(&known) => {}
                _ => return Err(de::Error::custom(format!("unknown key{}", shown_key(&key)))),
            }
        }
        Ok(raw)
    }
}

/// Parameters of types 1, 3 and 4
#[derive(Debug, Default, serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClusterParams {
    /// The control plane nodes
    #[serde(rename = "master-host-list", default)]
    pub(crate) control_plane: HostList,
    /// The members of the etcd cluster
    #[serde(rename = "etcd-host-list", default)]
    pub(crate) etcd: HostList,
    /// The nodes; for type 1, without it, the control plane nodes are nodes too
    #[serde(rename = "node-host-list", default)]
    pub(crate) workers: HostList,
    /// The SSH key of hosts without a password: a file of the machine that the listener runs on
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, nullable = false)]
    pub(crate) certificate_path: Option<Utf8PathBuf>,
    /// The user of hosts that name none; root without it
    #[serde(rename = "ssh-user", default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub(crate) ssh_user: Option<String>,
    /// sudo's password, for a user that is not root
    #[serde(rename = "ssh-sudo-pw", default, deserialize_with = "secret")]
    #[schema(value_type = String, format = Password, nullable = false)]
    pub(crate) ssh_sudo_pw: Option<Secret>,
    /// How pods reach each other: flannel, direct, or the name of a network manifest in the bundle
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub(crate) cni: Option<String>,
    /// Packages to install from these files instead of by name
    #[serde(default)]
    pub(crate) rpms: Vec<String>,
}

/// Hosts: `user:password@address[:port]`, or `[user@]address[:port]` with a key
#[derive(Debug, Default, Clone, ToSchema)]
#[schema(value_type = Vec<String>)]
pub(crate) struct HostList(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for HostList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(HostVisitor)
    }
}

struct HostVisitor;

impl<'de> Visitor<'de> for HostVisitor {
    type Value = HostList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of hosts, each a string")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<HostList, A::Error> {
        let mut hosts = Vec::new();
        while let Some(host) = seq.next_element::<String>()? {
            hosts.push(host);
        }
        Ok(HostList(hosts))
    }
}

/// A value that must not be null when its key is there.
pub(crate) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

// serde's own words for a wrong type would hold the value.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(Some(Secret::new(text))),
        _ => Err(de::Error::custom("a string is wanted")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<TaskRequest, (u8, String)> {
        TaskRequest::read(body.as_bytes())
    }

    #[test]
    fn of_repeated_parameters_the_object_counts() {
        for body in [
            r#"{"environment_type":1,"environment_params":{"ssh-user":"a"},"environment_params":"a sentence"}"#,
            r#"{"environment_params":"a sentence","environment_params":{"ssh-user":"a"},"environment_type":1}"#,
        ] {
            let request = read(body).unwrap();
            assert_eq!(request.params::<ClusterParams>().unwrap().ssh_user.as_deref(), Some("a"));
        }
        let twice = r#"{"environment_type":1,"environment_params":{},"environment_params":{}}"#;
        assert!(read(twice).unwrap_err().1.contains("twice"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, word) in [
            ("", "the body is not"),
            ("null", "the body is not"),
            ("[1]", "the body is not"),
            ("{}", "environment_type is missing"),
            (r#"{"environment_type":2,"environment_params":{}}"#, "not 2"),
            (r#"{"environment_type":1.5,"environment_params":{}}"#, "not 1.5"),
            (r#"{"environment_type":257,"environment_params":{}}"#, "not 257"),
            (r#"{"environment_type":1e400,"environment_params":{}}"#, "out of range"),
            (r#"{"environment_type":1}"#, "environment_params is missing"),
            (r#"{"environment_type":1,"environment_params":null}"#, "environment_params is missing"),
            (r#"{"environment_type":1,"environment_params":{},"x":1}"#, "unknown key `x`"),
        ] {
            let (_, error) = read(body).unwrap_err();
            assert!(error.starts_with(WRONG) && error.contains(word), "{body}: {error}");
        }
        for (params, word) in [
            (r#"{"master-host-list":"a"}"#, "master-host-list: invalid type"),
            (r#"{"etcd-host-list":["a",5]}"#, "etcd-host-list[1]: invalid type"),
            (r#"{"ssh-user":null}"#, "ssh-user: invalid type: null"),
            (r#"{"ssh-sudo-pw":["geheim"]}"#, "ssh-sudo-pw: a string is wanted"),
            (r#"{"master_host_list":["a"]}"#, "unknown field `master_host_list`"),
        ] {
            let request = read(&format!(r#"{{"environment_type":1,"environment_params":{params}}}"#)).unwrap();
            let error = request.params::<ClusterParams>().unwrap_err();
            assert!(error.starts_with(WRONG) && error.contains(word), "{params}: {error}");
            assert!(!error.contains("geheim"), "{error}");
        }
    }

    /// The whole class: whichever value stands at whichever place, its text is not in the answer.
    #[test]
    fn no_message_quotes_a_value() {
        const SECRET: &str = "root:geheim@10.8.14.200, expected x";
        let secret = Value::from(SECRET);
        let values = [secret.clone(), serde_json::json!([secret]), serde_json::json!({SECRET: secret}), 4711.into()];
        let keys = [
            "master-host-list",
            "etcd-host-list",
            "certificate_path",
            "ssh-user",
            "ssh-sudo-pw",
            "cni",
            "rpms",
            "ImageId",
            "MinCount",
            "node_type",
            "SecurityGroupIds",
            SECRET,
        ];
        let mut refused = 0;
        for value in &values {
            for key in keys {
                let body = serde_json::json!({"environment_type": 1, "environment_params": {key: value}}).to_string();
                let request = read(&body).unwrap();
                let errors =
                    [request.params::<ClusterParams>().err(), request.params::<super::super::ec2::Ec2Params>().err()];
                for error in errors.into_iter().flatten() {
                    refused += 1;
                    assert!(!error.contains("geheim") && !error.contains("4711"), "{key}: {error}");
                }
            }
            for body in [
                value.to_string(),
                serde_json::json!({"environment_type": value, "environment_params": {}}).to_string(),
                serde_json::json!({SECRET: value}).to_string(),
            ] {
                let (_, error) = read(&body).unwrap_err();
                assert!(error.starts_with(WRONG) && !error.contains("geheim"), "{error}");
            }
        }
        assert!(refused > 60, "{refused}");
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        let deep =
            format!(r#"{{"environment_type":1,"environment_params":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(&deep).unwrap_err().1.contains("recursion limit"));
    }
}
