//! `kubeadm join` of a worker node, or of a control plane node beside others, by a token that is made for it and ends with
//! the step.

use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::flow::pki::Pki;
use crate::flow::retry::Patience;
use crate::host::{Command, Host, Secret};
use crate::plan::Made;
use crate::plan::{Check, Cx, Step, StepError, Work};

use super::super::api::Api;
use super::super::component::{Component, On};
use super::super::endpoint;
use super::super::state::Cluster;
use super::super::verify::MasterAnswers;
use super::token::Token;
use super::{KUBELET_CONF, SOCKET, config};

/// Another one is waited for.
const JOIN: Duration = Duration::from_secs(960);
/// The longest until the cluster has the node.
const APPEARS: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(300);

pub(in crate::flow::kubernetes) struct Join;

impl Component for Join {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.runs_pods() && !on.begins()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(machine) = on.machine() else { return Vec::new() };
        let join = JoinOnce {
            node: machine.name.clone(),
            address: machine.address,
            is_control_plane: on.control_plane().is_some(),
            is_worker: on.node().is_some(),
            pki: on.keys.pki().clone(),
            others: on.cluster.control_plane_beside(on.host),
            config: config::join(on, machine),
            ca: on.keys.ca.cert(),
        };
        let step = on.step("kubeadm.join", "join the cluster with kubeadm", join).weight(15);
        let step = step.after_if_present(on.waits.configured.clone());
        if on.control_plane().is_none() {
            return vec![step.after(on.waits.api.iter().cloned())];
        }
        let server = endpoint::of_machine(machine);
        let answers = on.step("kubernetes.answers", "wait for the API", MasterAnswers { server }).weight(2);
        vec![step.after_if_present(on.waits.etcd.iter().cloned()).after(on.waits.before.clone()), answers]
    }
}

/// The label and the taint of control plane nodes (Kubernetes documentation, "Well-Known Labels, Annotations and Taints").
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// How far a host has come.
enum State {
    Missing,
    /// It is a control plane node, and not marked as one.
    Unmarked,
    Joined,
}

/// A node of the cluster.
#[derive(Debug)]
struct JoinOnce {
    node: String,
    address: IpAddr,
    is_control_plane: bool,
    /// It runs pods too.
    is_worker: bool,
    pki: Pki,
    /// The cluster without this host: by its API servers the token is made.
    others: Cluster,
    config: Value,
    ca: Arc<dyn Made>,
}

/// `$1` kubeconfig, `$2` control-plane | worker: whether kubeadm has come to its end here, as far as the host knows.
const ENDED: &str = r#"[ -e "$1" ] && { [ "$2" = worker ] || [ -e /etc/kubernetes/manifests/kube-scheduler.yaml ]; }"#;
/// `$1` socket, `$2` kubeconfig, `$3` node, `$4` control-plane | worker. What a join that was interrupted left is removed first;
/// the cluster's authorities, which are there before a control plane node joins, are kept.
const RUN: &str = exclusive!(
    r#"pki=/etc/kubernetes/pki
! { [ -e "$2" ] && kubectl --kubeconfig "$2" --request-timeout=5s get node "$3" >/dev/null 2>&1; } || exit 0
left=
for p in "$2" /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/manifests/kube-apiserver.yaml; do
  [ ! -e "$p" ] || left=1
done
[ "$4" = control-plane ] || [ ! -e $pki/ca.crt ] || left=1
if [ -n "$left" ]; then
  kept=/run/sunshine-installer/pki
  rm -rf "$kept"
  [ "$4" = worker ] || cp -a $pki "$kept"
  # Without a kubeconfig it would delete all of /var/lib/etcd, as if the member there were its own.
  kubeadm reset -f --skip-phases remove-etcd-member --kubeconfig /run/sunshine-installer/none --cri-socket "$1" >/dev/null 2>&1 || :
  [ "$4" = worker ] || { mkdir -p /etc/kubernetes; rm -rf $pki; mv "$kept" $pki; }
fi
run join --config "$f""#
);

/// How kubeadm knows the authority again: the SHA-256 of its public key (RFC 7469, SubjectPublicKeyInfo).
fn pin(ca: &str) -> Result<String, StepError> {
    let bad = || StepError::failed("the cluster's authority cannot be read");
    let (_, pem) = x509_parser::pem::parse_x509_pem(ca.as_bytes()).map_err(|_| bad())?;
    let cert = pem.parse_x509().map_err(|_| bad())?;
    Ok(format!("sha256:{}", hex::encode(Sha256::digest(cert.public_key().raw))))
}

fn path(node: &str) -> String {
    format!("/api/v1/nodes/{node}")
}

/// The node as the cluster has it.
fn known(api: &Api<'_>, node: &str) -> Result<Option<Value>, StepError> {
    match api.get(&path(node)) {
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
        Ok(node) => Ok(Some(node)),
    }
}

/// Of a host that was made anew the cluster still has the node, and kubeadm joins none of that name. Another host's is not ours
/// to delete.
fn delete_former(api: &Api<'_>, node: &str, address: IpAddr) -> Result<(), StepError> {
    let Some(former) = known(api, node)? else { return Ok(()) };
    let addresses = former["status"]["addresses"].as_array();
    let internal = addresses.and_then(|all| all.iter().find(|a| a["type"] == "InternalIP"));
    let other = internal.and_then(|a| a["address"].as_str()).filter(|other| *other != address.to_string());
    if let Some(other) = other {
        return Err(StepError::with_help(
            format!("the cluster has a node {node} already, with the address {other}"),
            "give this host a name of its own: hostnamectl set-hostname NAME",
        ));
    }
    match api.delete(&path(node)) {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
    }
}

impl JoinOnce {
    fn role(&self) -> &'static str {
        if self.is_control_plane { "control-plane" } else { "worker" }
    }

    fn api<'a>(&self, cx: &Cx<'a>) -> Result<Api<'a>, StepError> {
        Api::open(&self.pki, &self.others, Patience::of_step(cx)).map_err(|e| StepError::failed(e.to_string()))
    }

    fn has_ended(&self, host: &Host) -> Result<bool, StepError> {
        let look = Command::script(ENDED).args([KUBELET_CONF, self.role()]).label("look for a node of kubeadm");
        Ok(host.run(&look)?.ok())
    }

    fn state(&self, cx: &Cx<'_>) -> Result<State, StepError> {
        if !self.has_ended(cx.host()?)? {
            return Ok(State::Missing);
        }
        Ok(match known(&self.api(cx)?, &self.node)? {
            None => State::Missing,
            Some(node) if self.is_control_plane && node["metadata"]["labels"].get(CONTROL_PLANE).is_none() => {
                State::Unmarked
            }
            Some(_) => State::Joined,
        })
    }

    /// What kubeadm does last on a control plane node, and what a join that was killed before that lacks.
    fn mark(&self, api: &Api<'_>) -> Result<(), StepError> {
        let mut patch = json!({"metadata": {"labels": {CONTROL_PLANE: ""}}});
        if !self.is_worker {
            patch["spec"] = json!({"taints": [{"key": CONTROL_PLANE, "effect": "NoSchedule"}]});
        }
        api.patch(&path(&self.node), &patch)?;
        Ok(())
    }

    fn config(&self, token: &Token) -> Result<Secret, StepError> {
        let not_made = || StepError::failed("the cluster's authority has not been made");
        let ca = self.ca.content()?.ok_or_else(not_made)?;
        let mut config = self.config.clone();
        let discovery = &mut config["discovery"]["bootstrapToken"];
        discovery["token"] = token.text().into();
        discovery["caCertHashes"] = serde_json::json!([pin(ca.expose())?]);
        Ok(Secret::new(format!("{config:#}\n")))
    }
}

impl Work for JoinOnce {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        Ok(match self.state(cx)? {
            State::Joined => Check::Satisfied,
            State::Unmarked => Check::Needed(vec!["mark it as a control plane node".to_owned()]),
            State::Missing => Check::Needed(vec!["run kubeadm join".to_owned()]),
        })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let (host, api) = (cx.host()?, self.api(cx)?);
        if let State::Unmarked = self.state(cx)? {
            return self.mark(&api);
        }
        delete_former(&api, &self.node, self.address)?;
        let token = Token::make(&api, cx, &self.node)?;
        token.await_signature(&api, cx.interrupt);
        let run = Command::script(RUN).args([SOCKET, KUBELET_CONF, &self.node, self.role()]);
        let joined = host.run_ok(&run.secret_stdin(self.config(&token)?).timeout(JOIN).label("kubeadm join"));
        token.end(&api);
        joined?;
        Ok(())
    }

    /// kubeadm ends when the kubelet has its certificate; the kubelet then makes the node.
    fn verify(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let end = Instant::now() + APPEARS;
        loop {
            match self.check(cx)? {
                Check::Needed(_) if Instant::now() < end && !cx.interrupt.is_set() => thread::sleep(POLL),
                Check::Needed(wanted) => return Err(StepError::NotVerified(wanted)),
                _ => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use camino::Utf8Path;

    use super::*;
    use crate::flow::pki::{CertRequest, Purpose, Usage};
    use crate::flow::state::Environment;
    use crate::flow::wrong_server::{Answer, WrongServer};
    use crate::plan::Interrupt;

    /// What comes of questions to an API that answers so, and the methods of the requests.
    fn asked<T>(
        answer: impl Fn() -> Value + Send + 'static,
        questions: impl FnOnce(&Api<'_>) -> T,
    ) -> (T, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let environment = Environment::open(Utf8Path::from_path(folder.path()).unwrap(), "test").unwrap();
        let authority = environment.pki().authority(Purpose::Kubernetes).unwrap();
        let (name, ips) = ("test".to_owned(), vec![[127, 0, 0, 1].into()]);
        let (organizations, dns) = (Vec::new(), Vec::new());
        let request = CertRequest { common_name: name.clone(), name, organizations, dns, ips, usage: Usage::Server };
        let keys = authority.issue(&request).unwrap();
        let server = WrongServer::start(Some(&keys), move |_| Answer::json(200, &answer()));
        let cluster: Cluster = serde_json::from_value(json!({
            "settings": {"api_endpoint": server.address().to_string()}, "network": "direct",
            "etcd": {"endpoints": [], "tls": false}, "control_plane": {}, "workers": {},
        }))
        .unwrap();
        let api = Api::open(&environment.pki(), &cluster, Patience::SHORT).unwrap();
        let result = questions(&api);
        (result, server.seen().into_iter().map(|request| request.method).collect())
    }

    /// What becomes of the node `host0`, at 10.0.0.1, of a host of this name and address: the methods of the requests.
    fn deleted(address: [u8; 4]) -> (Result<(), String>, Vec<String>) {
        let node = || json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}});
        asked(node, |api| delete_former(api, "host0", address.into()).map_err(|e| e.to_string()))
    }

    #[test]
    fn a_token_s_signature_is_waited_for() {
        let token = Token::new();
        let id = token.text().split_once('.').unwrap().0.to_owned();
        let questions = AtomicUsize::new(0);
        let info = move || match questions.fetch_add(1, Ordering::SeqCst) {
            0 => json!({"data": {"kubeconfig": "", "jws-kubeconfig-other0": "x"}}),
            _ => json!({"data": {"kubeconfig": "", format!("jws-kubeconfig-{id}"): "x"}}),
        };
        let ((), methods) = asked(info, |api| token.await_signature(api, &Interrupt::default()));
        assert_eq!(methods, ["GET", "GET"], "until it is there, and no longer");
    }

    #[test]
    fn only_a_host_s_own_former_node_is_deleted() {
        let (own, asked) = deleted([10, 0, 0, 1]);
        assert_eq!((own, asked), (Ok(()), vec!["GET".to_owned(), "DELETE".to_owned()]));
        let (other, asked) = deleted([10, 0, 0, 2]);
        assert!(other.unwrap_err().contains("has a node host0 already, with the address 10.0.0.1"));
        assert_eq!(asked, ["GET"]);
    }

    #[test]
    fn an_authority_is_pinned_by_its_public_key() {
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let (_, der) = x509_parser::pem::parse_x509_pem(key.public_key_pem().as_bytes()).unwrap();
        let own = hex::encode(Sha256::digest(&der.contents));
        assert_eq!(pin(&cert.pem()).unwrap(), format!("sha256:{own}"));
        assert!(pin("rubbish").is_err());
    }
}
