//! `kubeadm join` of a worker node, by a token that a control plane node of the run makes for it, and that ends with the step.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::host::{Command, HostId, Secret};
use crate::plan::Made;
use crate::plan::{Check, Cx, Step, StepError, Work};

use super::super::component::{Component, On};
use super::{KUBELET_CONF, SOCKET, config};

/// Another one is waited for.
const JOIN: Duration = Duration::from_secs(960);

pub(in crate::flow::kubernetes) struct Join;

impl Component for Join {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.node().is_some() && on.control_plane().is_none()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let (Some(node), Some(control_plane)) = (on.node(), on.cluster.masters.keys().next()) else {
            return Vec::new();
        };
        let join = JoinOnce {
            node: node.machine.name.clone(),
            control_plane: control_plane.clone(),
            config: config::join(on, &node.machine),
            ca: on.keys.ca.cert(),
        };
        let join = on.step("kubeadm.join", "join the cluster with kubeadm", join).weight(15);
        vec![join.after(on.waits.api.iter().cloned())]
    }
}

/// A node of the cluster.
#[derive(Debug)]
struct JoinOnce {
    node: String,
    /// Makes the token.
    control_plane: HostId,
    config: Value,
    ca: Arc<dyn Made>,
}

/// `$1` node, `$2` kubeconfig.
const JOINED: &str = r#"export HOME=/run/sunshine-installer
[ -e "$2" ] && kubectl --kubeconfig "$2" --request-timeout=5s get node "$1" >/dev/null 2>&1"#;
const TOKEN: &str =
    "export HOME=/run/sunshine-installer; kubeadm --kubeconfig /root/.kube/config token create --ttl 30m";
/// The token on standard input. One that cannot be deleted ends by itself.
const END: &str =
    "export HOME=/run/sunshine-installer; read -r t; kubeadm --kubeconfig /root/.kube/config token delete \"${t%%.*}\"";
/// `$1` socket, `$2` kubeconfig, `$3` node. What a join that was interrupted left is removed first.
const RUN: &str = exclusive!(
    r#"! { [ -e "$2" ] && kubectl --kubeconfig "$2" --request-timeout=5s get node "$3" >/dev/null 2>&1; } || exit 0
if [ -e "$2" ] || [ -e /etc/kubernetes/bootstrap-kubelet.conf ] || [ -e /etc/kubernetes/pki/ca.crt ]; then
  kubeadm reset -f --cri-socket "$1" >/dev/null 2>&1 || :
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

impl JoinOnce {
    fn config(&self, token: &str) -> Result<Secret, StepError> {
        let not_made = || StepError::failed("the cluster's authority has not been made");
        let ca = self.ca.content()?.ok_or_else(not_made)?;
        let mut config = self.config.clone();
        let discovery = &mut config["discovery"]["bootstrapToken"];
        discovery["token"] = token.into();
        discovery["caCertHashes"] = serde_json::json!([pin(ca.expose())?]);
        Ok(Secret::new(format!("{config:#}\n")))
    }
}

impl Work for JoinOnce {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let look = Command::script(JOINED).args([self.node.as_str(), KUBELET_CONF]).label("kubectl get node");
        let joined = cx.host()?.run(&look)?.ok();
        Ok(if joined { Check::Satisfied } else { Check::Needed(vec!["run kubeadm join".to_owned()]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let control_plane = cx.other(&self.control_plane)?;
        let token =
            control_plane.run_ok(&Command::script(TOKEN).label("kubeadm token create"))?.text().trim().to_owned();
        let run = Command::script(RUN).args([SOCKET, KUBELET_CONF, &self.node]).secret_stdin(self.config(&token)?);
        let joined = cx.host()?.run_ok(&run.timeout(JOIN).label("kubeadm join"));
        let end = Command::script(END).secret_stdin(Secret::new(format!("{token}\n"))).label("kubeadm token delete");
        drop(control_plane.run(&end));
        joined?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
