//! Whether a manifest is applied and nothing of it was changed since, by one `kubectl get`: `kubectl diff` asks for each object anew and
//! takes seven times as long. It is asked where this does not say yes.
//!
//! `kubectl apply` keeps with each object what was applied last (Kubernetes documentation, "Declarative Management of Kubernetes
//! Objects Using Configuration Files"). Where that is the manifest's object, and every field of it is so in the object that is there,
//! applying it again would change nothing.

use saphyr::{Scalar, Yaml};
use serde_json::{Map, Value};

const LAST: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// `listed` is what `kubectl get -f MANIFEST -o json` prints: the object, or a list of them in the manifest's order.
pub(super) fn is_applied(manifest: &str, listed: &str) -> bool {
    let (Some(wanted), Ok(listed)) = (objects(manifest), serde_json::from_str::<Value>(listed)) else { return false };
    let there = match listed["items"].as_array() {
        Some(items) if listed["kind"] == "List" => items.as_slice(),
        _ => std::slice::from_ref(&listed),
    };
    !wanted.is_empty() && wanted.len() == there.len() && wanted.iter().zip(there).all(|(one, is)| is_so(one, is))
}

fn is_so(wanted: &Value, is: &Value) -> bool {
    let last = is["metadata"]["annotations"][LAST].as_str().unwrap_or_default();
    let Ok(last) = serde_json::from_str::<Value>(last) else { return false };
    without_empty_annotations(last) == without_empty_annotations(wanted.clone()) && holds(is, wanted)
}

/// kubectl writes them where there are none.
fn without_empty_annotations(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut()
        && metadata.get("annotations").is_some_and(|all| *all == Value::Object(Map::new()))
    {
        metadata.remove("annotations");
    }
    object
}

/// Whether every field of `wanted` has its value in `is`, which may have more: defaults, and what controllers fill in. Of a list all items.
fn holds(is: &Value, wanted: &Value) -> bool {
    match (is, wanted) {
        (Value::Object(is), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| is.get(name).is_some_and(|is| holds(is, wanted)))
        }
        (Value::Array(is), Value::Array(wanted)) => {
            is.len() == wanted.len() && is.iter().zip(wanted).all(|(is, wanted)| holds(is, wanted))
        }
        _ => is == wanted,
    }
}

/// The objects of a manifest; none where one of them cannot be told as JSON has it.
fn objects(manifest: &str) -> Option<Vec<Value>> {
    let documents = payload::yaml::documents(manifest).ok()?;
    let all: Option<Vec<Value>> = documents.iter().map(json).collect();
    Some(all?.into_iter().filter(|object| !object.is_null()).collect())
}

fn json(node: &Yaml<'_>) -> Option<Value> {
    Some(match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => Value::from(*value),
        Yaml::Value(Scalar::Integer(value)) => Value::from(*value),
        Yaml::Value(Scalar::FloatingPoint(value)) => Value::from(value.into_inner()),
        Yaml::Value(Scalar::String(value)) => Value::from(value.as_ref()),
        Yaml::Sequence(items) => Value::Array(items.iter().map(json).collect::<Option<_>>()?),
        Yaml::Mapping(fields) => {
            let field = |(name, value): (&Yaml<'_>, &Yaml<'_>)| Some((name.as_str()?.to_owned(), json(value)?));
            Value::Object(fields.iter().map(field).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MANIFEST: &str = "# of a site\nkind: Namespace\nmetadata: {name: net}\n---\n# nothing\n---\nkind: Pod\nmetadata: {name: a, namespace: net}\n\
        spec: {hostNetwork: true, containers: [{name: x, image: 'i:1', args: ['1'], ports: [{containerPort: 53}]}]}\n";

    /// As the API shows them, each with what was applied.
    fn there() -> [Value; 2] {
        let mut space = json!({"kind": "Namespace", "metadata": {"name": "net", "annotations": {}}});
        let mut pod = json!({"kind": "Pod", "metadata": {"name": "a", "namespace": "net", "annotations": {}}, "spec": {
            "hostNetwork": true, "containers": [{"name": "x", "image": "i:1", "args": ["1"], "ports": [{"containerPort": 53}]}]}});
        for object in [&mut space, &mut pod] {
            object["metadata"]["annotations"] = json!({LAST: object.to_string()});
            object["metadata"]["uid"] = "u".into();
            object["status"] = json!({"phase": "Running"});
        }
        pod["spec"]["dnsPolicy"] = "ClusterFirst".into();
        pod["spec"]["containers"][0]["ports"][0]["protocol"] = "TCP".into();
        [space, pod]
    }

    fn said(there: &[Value]) -> bool {
        is_applied(MANIFEST, &json!({"kind": "List", "items": there}).to_string())
    }

    #[test]
    fn a_manifest_whose_objects_are_as_it_says_is_applied() {
        assert!(said(&there()));
        let [space, _] = there();
        assert!(is_applied("kind: Namespace\nmetadata: {name: net}\n", &space.to_string()), "one object is no list");
    }

    #[test]
    fn what_was_changed_or_cannot_be_told_is_not() {
        let with = |change: &dyn Fn(&mut Value)| {
            let mut there = there();
            change(&mut there[1]);
            said(&there)
        };
        assert!(!with(&|pod| pod["spec"]["hostNetwork"] = false.into()), "changed by hand");
        assert!(!with(&|pod| pod["spec"]["containers"][0]["args"] = json!(["1", "2"])), "an item more");
        assert!(!with(&|pod| pod["metadata"]["annotations"] = json!({})), "made by somebody else");
        let without_host_network =
            there()[1]["metadata"]["annotations"][LAST].as_str().unwrap().replace("true", "false");
        assert!(
            !with(&|pod| pod["metadata"]["annotations"][LAST] = without_host_network.as_str().into()),
            "another version"
        );
        assert!(
            !said(&there()[..1]) && !is_applied(MANIFEST, "") && !is_applied("", "{}") && !is_applied("a: [", "{}")
        );
        assert!(!is_applied(
            &MANIFEST.replace("53", "!!tag 53"),
            &json!({"kind": "List", "items": there()}).to_string()
        ));
    }
}
