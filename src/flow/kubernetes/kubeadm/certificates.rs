//! The certificates that kubeadm has made on a control plane node: kubeadm renews them, and what has read the former ones is
//! started anew (Kubernetes documentation, "Certificate Management with kubeadm").

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::flow::pki;
use crate::host::Command;
use crate::plan::{Check, Cx, Step, StepError, Work};

use super::super::component::{Component, On};
use super::SOCKET;

/// kubeadm's certificates live a year: what has a third of it left is renewed by any run.
const DUE: i64 = 122 * 24 * 60 * 60;
/// kubeadm asks the API for its configuration; three pods are started anew, one after the other.
const RENEW: Duration = Duration::from_secs(400);

/// The component of a control plane node that stands, before it is asked whether it answers.
pub(in crate::flow::kubernetes) struct Certificates;

impl Component for Certificates {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.control_plane().is_some() && on.cluster.standing
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let step = on.step("kubeadm.certificates", "renew the certificates that kubeadm made", Renewed).weight(4);
        vec![step.after(on.waits.before.clone())]
    }
}

/// None of kubeadm's certificates is older than ours, or in its last third, and none is used that is no longer there.
#[derive(Debug)]
struct Renewed;

/// `reads PROGRAM FILE…` calls `each` for every program of the control plane with the files of its certificates. Ours is that
/// for etcd, or root's: whoever renews certificates renews it first.
macro_rules! look {
    ($then:literal) => {
        concat!(
            r#"cd /etc/kubernetes/pki 2>/dev/null && [ -e apiserver.crt ] || exit 0
ours=apiserver-etcd-client.crt
[ -e $ours ] || ours=/root/.kube/config
c=../controller-manager.conf s=../scheduler.conf
files="apiserver.crt apiserver-kubelet-client.crt front-proxy-client.crt $c $s ../admin.conf"
[ ! -e ../super-admin.conf ] || files="$files ../super-admin.conf"
# The programs with their ages in seconds, the oldest process first.
now=$(date +%s)
ages=$(ps -eo etimes=,args= | sed -n 's/^ *\([0-9]*\) \(kube-[a-z-]*\) .*/\1 \2/p' | sort -rn)
# Whether a program was started before the last of its certificates was written.
old() {
  age=$(printf '%s\n' "$ages" | sed -n "/ $1\$/{s/ .*//p;q}")
  [ -n "$age" ] || return 1
  shift
  began=$((now - age))
  for written in $(stat -c %Y "$@"); do [ "$written" -le $((began + 1)) ] || return 0; done
  return 1
}
each() {
  "$1" kube-apiserver apiserver.crt apiserver-kubelet-client.crt front-proxy-client.crt
  "$1" kube-controller-manager $c
  "$1" kube-scheduler $s
}
"#,
            $then
        )
    };
}

/// A line `cert NAME NEWER|OLDER BASE64` for each certificate, `old PROGRAM` for each program that has read a former one.
const LOOK: &str = look!(
    r#"for f in $files; do
  case $f in
  *.crt) text=$(base64 -w0 <"$f");;
  *) text=$(sed -n '/^ *client-certificate-data: */{s///p;q}' "$f");;
  esac
  if [ "$ours" -nt "$f" ]; then age=OLDER; else age=NEWER; fi
  printf 'cert %s %s %s\n' "${f#../}" "$age" "$text"
done
tell() { ! old "$@" || printf 'old %s\n' "$1"; }
each tell"#
);

/// `$1` socket, `$2` renew | keep: what is started anew is waited for.
const RENEWED: &str = look!(
    r#"set -eu
[ "$2" = keep ] || kubeadm certs renew all >/dev/null
again() {
  old "$@" || return 0
  id=$(crictl -r "$socket" ps -q --name "^$1\$" | head -n 1)
  [ -n "$id" ] || return 0
  crictl -r "$socket" stop -t 30 "$id" >/dev/null
  end=$(($(date +%s) + 90))
  until [ -n "$(crictl -r "$socket" ps -q --state Running --name "^$1\$")" ]; do
    [ "$(date +%s)" -lt "$end" ] || { echo "the kubelet has not started $1 again" >&2; exit 1; }
    sleep 0.5
  done
}
socket=$1
each again"#
);

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Certificates that are to be renewed, with the reason.
    due: Vec<String>,
    /// Programs that have read former ones.
    old: Vec<String>,
}

pub(super) fn found(text: &str, now: i64) -> Found {
    let mut found = Found::default();
    for line in text.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["cert", name, "OLDER", _] => found.due.push(format!("renew {name}")),
            ["cert", name, _, base64] => {
                let pem = STANDARD.decode(base64).ok().and_then(|pem| String::from_utf8(pem).ok());
                match pem.as_deref().and_then(pki::expires_at) {
                    Some(ends) if ends - now > DUE => {}
                    Some(_) => found.due.push(format!("renew {name}, which ends soon")),
                    None => found.due.push(format!("renew {name}, which cannot be read")),
                }
            }
            ["old", program] => found.old.push(format!("start {program} anew with its certificates")),
            _ => {}
        }
    }
    found
}

impl Renewed {
    fn found(cx: &Cx<'_>) -> Result<Found, StepError> {
        let look = cx.host()?.run_ok(&Command::script(LOOK).label("look for kubeadm's certificates"))?;
        Ok(found(&look.text(), jiff::Timestamp::now().as_second()))
    }
}

impl Work for Renewed {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let Found { due, old } = Self::found(cx)?;
        Ok(Check::from_changes(due.into_iter().chain(old).collect()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let what = if Self::found(cx)?.due.is_empty() { "keep" } else { "renew" };
        let renew = Command::script(RENEWED).args([SOCKET, what]).label("kubeadm certs renew all");
        cx.host()?.run_ok(&renew.timeout(RENEW))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_are_older_than_ours_or_end_soon_are_renewed() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let pem = STANDARD.encode(params.self_signed(&key).unwrap().pem());
        let ends = jiff::civil::date(2030, 1, 1).to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second();
        let text = format!("cert apiserver.crt NEWER {pem}\ncert admin.conf OLDER {pem}\nold kube-scheduler\n");
        let early = found(&text, ends - DUE - 1);
        assert_eq!((early.due, early.old.len()), (vec!["renew admin.conf".to_owned()], 1));
        assert_eq!(found(&text, ends - DUE).due[0], "renew apiserver.crt, which ends soon");
        assert_eq!(found("cert x.conf NEWER !\n", 0).due, ["renew x.conf, which cannot be read"]);
        assert!(found("", 0).due.is_empty(), "a host that kubeadm has not been on");
    }
}
