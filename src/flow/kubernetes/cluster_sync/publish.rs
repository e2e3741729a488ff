//! The list of its hosts that the whole cluster is to know, published by one of them.

use std::sync::Arc;

use serde_json::json;

use crate::flow::pki::Kubeconfig;
use crate::flow::retry::{self, Patience};
use crate::host::{Command, HostError, HostId, Secret};
use crate::plan::{Check, Cx, Made, Step, StepError, StepId, Work};

use super::super::component::{Component, On};
use super::super::drain::Access;
use super::super::endpoint;
use super::super::options::since;
use super::Reader;
use super::list::list;

/// The step after which the cluster has the list, on the host that publishes it.
pub(in crate::flow::kubernetes) fn published(host: &HostId) -> StepId {
    StepId::on(host, PUBLISH)
}

/// The component of the host that publishes, once an API server answers.
pub(in crate::flow::kubernetes) struct Published;

/// The same where no API server is part of the run: by the control host itself, so that no node gets an administrator's key.
pub(in crate::flow::kubernetes) struct PublishedByApi;

impl Component for Published {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.publishes && on.cluster.keeps_list() && !on.waits.api.is_empty()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        vec![publish(on)]
    }
}

impl Component for PublishedByApi {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.publishes && on.cluster.keeps_list() && on.waits.api.is_empty()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let access = Access { pki: on.keys.pki().clone(), cluster: on.cluster.clone(), force: false };
        vec![on.step(PUBLISH, TITLE, TellOfHosts { access: Arc::new(access) })]
    }
}

fn publish(on: &On<'_>) -> Step {
    let url = on.control_plane().map_or_else(|| endpoint::for_nodes(on.cluster), endpoint::of_machine);
    let reader = (on.cluster.minor >= since::ROLES).then(|| on.cluster.distribution.rules().list_reader());
    let makes_namespace = on.cluster.minor < since::KUBE_PUBLIC;
    let publish = Publish { list: list(on.cluster), makes_namespace, reader, kubeconfig: on.keys.admin(&url) };
    on.step(PUBLISH, TITLE, publish).after(on.waits.api.iter().cloned())
}

/// The list in the cluster is this one.
#[derive(Debug)]
struct Publish {
    list: String,
    /// The API server has not made the namespace.
    makes_namespace: bool,
    /// Who gets a role to read it; nobody needs one where there are none.
    reader: Option<Reader>,
    /// The administrator's.
    kubeconfig: Arc<Kubeconfig>,
}

/// `$1` list; the kubeconfig on standard input. Status 70 when the cluster's list is another one.
const SAME: &str = r#"umask 077
export HOME=/run/sunshine-installer
k=$(mktemp) && trap 'rm -f "$k"' EXIT && cat >"$k"
is=$(kubectl --kubeconfig "$k" --request-timeout=10s -n kube-public get configmap sunshine-cluster -o 'jsonpath={.data.hosts}') || exit 1
[ "$is" = "$(printf %s "$1")" ] || exit 70"#;
/// `$1` objects.
const APPLY: &str = r#"set -eu
umask 077
export HOME=/run/sunshine-installer
k=$(mktemp) && trap 'rm -f "$k"' EXIT && cat >"$k"
printf '%s' "$1" | kubectl --kubeconfig "$k" --request-timeout=30s apply -f -"#;

impl Publish {
    fn same(&self, kubeconfig: Secret) -> Command {
        let same = Command::script(SAME).arg(&self.list).secret_stdin(kubeconfig);
        same.label("kubectl get configmap sunshine-cluster")
    }

    fn kubeconfig(&self) -> Result<Secret, StepError> {
        self.kubeconfig
            .content()?
            .ok_or_else(|| StepError::failed(format!("{} has not been made", self.kubeconfig.name())))
    }

    /// The list, with its namespace or the role for nodes to read it where there must be such.
    fn objects(&self) -> String {
        let metadata = json!({"name": "sunshine-cluster", "namespace": "kube-public"});
        let group = "rbac.authorization.k8s.io";
        let map = json!(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"hosts": self.list}});
        let mut items = Vec::new();
        if self.makes_namespace {
            items.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-public"}}));
        }
        items.push(map);
        if let Some(reader) = self.reader {
            items.push(json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata, "rules": [{
                "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["sunshine-cluster"],
                "verbs": ["get", "list", "watch"],
            }]}));
            items.push(json!({
                "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
                "roleRef": {"apiGroup": group, "kind": "Role", "name": "sunshine-cluster"},
                "subjects": [{"apiGroup": group, "kind": reader.kind, "name": reader.name}],
            }));
        }
        json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
    }
}

const PUBLISH: &str = "cluster.publish";
const TITLE: &str = "publish the list of the cluster's hosts";

impl Work for Publish {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        // Before its certificate is made there is no cluster to ask.
        let Some(kubeconfig) = self.kubeconfig.content()? else { return Ok(Check::Needed(vec![TITLE.to_owned()])) };
        let same = cx.host()?.run(&self.same(kubeconfig))?.ok();
        Ok(if same { Check::Satisfied } else { Check::Needed(vec![TITLE.to_owned()]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let apply = Command::script(APPLY).arg(self.objects()).secret_stdin(self.kubeconfig()?);
        let apply = apply.label("kubectl apply configmap sunshine-cluster");
        retry::run_ok(cx.host()?, &apply, Patience::of_step(cx))?;
        Ok(())
    }

    fn needs(&self) -> Vec<Arc<dyn Made>> {
        vec![Arc::clone(&self.kubeconfig) as Arc<dyn Made>]
    }

    fn verify(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        match retry::run_ok(cx.host()?, &self.same(self.kubeconfig()?), Patience::of_step(cx)) {
            Err(HostError::Failed { status: retry::FINAL_STATUS, .. }) => {
                Err(StepError::NotVerified(vec![TITLE.to_owned()]))
            }
            asked => Ok(asked.map(drop)?),
        }
    }
}

/// The list in the cluster, which there is already, is that of these hosts; by the control host.
#[derive(Debug)]
pub(in crate::flow::kubernetes) struct TellOfHosts {
    pub access: Arc<Access>,
}

/// The ConfigMap, in the API.
const LIST: &str = "/api/v1/namespaces/kube-public/configmaps/sunshine-cluster";

impl Work for TellOfHosts {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let is = self.access.api(cx)?.get(LIST)?;
        let same = is["data"]["hosts"].as_str() == Some(list(&self.access.cluster).as_str());
        Ok(if same { Check::Satisfied } else { Check::Needed(vec![TITLE.to_owned()]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        self.access.api(cx)?.patch(LIST, &json!({"data": {"hosts": list(&self.access.cluster)}}))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::pki::Pki;

    #[test]
    fn the_namespace_is_made_where_kubernetes_makes_none_and_a_role_where_there_are_roles() {
        let kinds = |makes_namespace: bool, reader: Option<Reader>| {
            let cluster = serde_json::from_value(json!({
                "settings": {}, "network": "direct", "etcd": {"endpoints": [], "tls": false},
                "control_plane": {}, "workers": {},
            }))
            .unwrap();
            let keys = super::super::super::keys::ClusterKeys::new(Pki::new("".into(), true), &cluster);
            let list = "x".to_owned();
            let publish = Publish { list, makes_namespace, reader, kubeconfig: keys.admin("https://h") };
            let objects: serde_json::Value = serde_json::from_str(&publish.objects()).unwrap();
            let kinds =
                objects["items"].as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap().to_owned());
            kinds.collect::<Vec<_>>()
        };
        let reader = || Some(Reader { kubeconfig: "/x", kind: "User", name: "system:kube-proxy" });
        assert_eq!(kinds(true, None), ["Namespace", "ConfigMap"]);
        assert_eq!(kinds(false, None), ["ConfigMap"]);
        assert_eq!(kinds(false, reader()), ["ConfigMap", "Role", "RoleBinding"]);
    }
}
