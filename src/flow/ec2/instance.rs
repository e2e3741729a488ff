//! An instance as EC2 describes it, in types of our own.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// One instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub id: String,
    /// EC2's word: `pending`, `running`, `shutting-down`, `terminated`, `stopping`, `stopped`.
    pub state: String,
    /// Why it is in this state, when EC2 says so.
    pub reason: Option<String>,
    pub instance_type: String,
    pub private_ip: Option<String>,
    pub public_ip: Option<String>,
    pub private_dns: Option<String>,
    pub public_dns: Option<String>,
    /// Both of EC2's checks passed, when last asked.
    #[serde(default)]
    pub checks_passed: bool,
    /// The request that made it: the tag `sunshine-installer:request`.
    pub request: Option<String>,
}

impl Instance {
    /// It is there, or will be again when started.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state.as_str(), "terminated" | "shutting-down")
    }

    /// Where SSH may answer: the private address first, then what the outside knows it by.
    pub(super) fn ways(&self) -> Vec<String> {
        [&self.private_ip, &self.public_dns, &self.public_ip].into_iter().flatten().cloned().collect()
    }

    /// "10.0.0.5" or what else it is known by.
    pub(super) fn address(&self) -> &str {
        self.private_ip.as_deref().or(self.public_ip.as_deref()).unwrap_or("no address yet")
    }
}

/// The contract's object of type 5: `{INSTANCE-ID: {public_dns_name, private_ip_address, public_ip_address,
/// private_dns_name}}`. What an instance does not have is an empty text.
pub(super) fn contract_object(instances: &[Instance]) -> Value {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let rows = instances.iter().map(|i| {
        let row = json!({
            "public_dns_name": text(&i.public_dns),
            "private_ip_address": text(&i.private_ip),
            "public_ip_address": text(&i.public_ip),
            "private_dns_name": text(&i.private_dns),
        });
        (i.id.clone(), row)
    });
    Value::Object(rows.collect::<Map<_, _>>())
}

/// `HOST:PORT`, with an IPv6 address in brackets.
pub(super) fn with_port(host: &str, port: u16) -> String {
    host.parse::<IpAddr>().map_or_else(|_| format!("{host}:{port}"), |ip| SocketAddr::new(ip, port).to_string())
}
