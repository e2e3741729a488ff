//! What REST clients send. See [`crate::fuzz`].

use serde_json::Value;

use super::body::{ClusterParams, TaskRequest};
use super::ec2::Ec2Params;
use super::job;
use super::routes::Route;
use crate::fuzz::SECRET;

/// A body, of a caller who may not see the control host: no refusal quotes a value of it.
pub fn rest_body(bytes: &[u8]) {
    if serde_json::from_slice(bytes).is_ok_and(|body| has_a_bare_host(&body)) {
        return;
    }
    let request = match TaskRequest::read(bytes) {
        Ok(request) => request,
        Err((_, why)) => return hides(&why),
    };
    if request.number == 5 {
        let asked = request.params().and_then(|params: Ec2Params| job::ec2(params, None));
        return asked.map(drop).unwrap_or_else(|why| hides(&why));
    }
    let params: ClusterParams = match request.params() {
        Ok(params) => params,
        Err(why) => return hides(&why),
    };
    let asked = match request.number {
        1 => job::create(&params, None),
        3 => job::add(&params, None),
        _ => job::remove(&params, None),
    };
    asked.map(drop).unwrap_or_else(|why| hides(&why));
}

/// Whether the marked password is in a host without the signs that are around a password: that is a host's name, and shown.
fn has_a_bare_host(value: &Value) -> bool {
    match value {
        Value::Array(hosts) => hosts.iter().any(|host| match host {
            Value::String(host) => host.contains(SECRET) && !host.contains([':', '@']),
            other => has_a_bare_host(other),
        }),
        Value::Object(fields) => fields.values().any(has_a_bare_host),
        _ => false,
    }
}

fn hides(why: &str) {
    assert!(!why.contains(SECRET), "{why}");
}

/// The path of a request: an environment's ID is never a path of its own.
pub(crate) fn path(path: &str) {
    if let Ok(Route::Environment(id) | Route::Events(id) | Route::Task(id, _)) = Route::of(path) {
        assert!((1..=64).contains(&id.len()) && !id.contains('/') && !matches!(id.as_str(), "." | ".."), "{id:?}");
    }
}
