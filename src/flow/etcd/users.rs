//! What flannel's certificate may do in etcd: read and write flannel's own keys of the version 2 API, and nothing else (etcd
//! documentation, "Role-based access control" and, for version 2, "Authentication Guide"). A certificate's common name is its user.

use std::sync::Arc;

use crate::flow::retry::{self, Patience};
use crate::host::{Command, Secret};
use crate::plan::{Check, Cx, Made, StepError, Work};

use super::etcdctl::etcdctl;

/// Both APIs ask who it is; root and the API servers may do everything, flannel has its prefix. Runs on one member.
#[derive(Debug)]
pub(super) struct Users {
    /// That member's.
    pub endpoint: String,
    /// root's, by which the control host logs in where a certificate does not count: etcd's JSON gateway.
    pub password: Arc<dyn Made>,
}

/// `$2` look or `do`, which reads root's password. Each API has users of its own. All of them must be there before etcd asks
/// for them, and a user without any right stands for all certificates that name none: that of a member shows whether etcd asks.
const USERS: &str = etcdctl!(
    r#"pki=/etc/etcd/pki prefix=/atomic.io/network
as() { # WHOSE ARGUMENTS…, by API 2
  as=$pki/$1; shift
  ETCDCTL_API=2 etcdctl --ca-file $pki/ca.crt --cert-file "$as.crt" --key-file "$as.key" "$@"
}
two() { as root "$@"; }
has() { printf '%s\n' "$1" | grep -qE "^Roles:(.*[[:space:]])?$2([[:space:]]|\$)"; }
may_3() { has "$(etcdctl user get "$1" 2>/dev/null)" "$2"; }
may_2() { has "$(two user get "$1" 2>/dev/null)" "$2"; }
limited() ( # once for reading, once for writing
  is=$(two role get flannel 2>/dev/null | tr -d '\t ')
  for p in "$prefix" "$prefix/*"; do [ "$(printf '%s\n' "$is" | grep -cxF "$p")" = 2 ] || exit 1; done
)
refused() { printf '%s\n' "$1" | grep -qE 'permission denied|Insufficient credentials'; }
asks_3() { refused "$(ETCDCTL_CERT=$pki/member.crt ETCDCTL_KEY=$pki/member.key etcdctl get x 2>&1)"; }
asks_2() { refused "$(as member ls / 2>&1)"; }
if [ "$2" = look ]; then
  # Before they are there, and for a dry run without root.
  if ! command -v etcdctl >/dev/null || ! [ -r $pki/root.key ]; then
    echo "limit flannel's certificate to $prefix"; exit
  fi
  for u in root kube-apiserver; do
    may_3 $u root || echo "create the user $u"
    may_2 $u root || echo "create the user $u of API 2"
  done
  may_2 flannel flannel && limited || echo "create the user flannel of API 2, who may read and write $prefix"
  asks_2 || echo 'switch on the authentication of API 2'
  asks_3 || echo 'switch on authentication'
  exit
fi
read -r password
loudly() { said=$("$@" 2>&1) || { printf '%s: %s\n' "$*" "$said" >&2; exit 1; }; }
# Nobody needs to know it: the user's certificate is enough.
any() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; echo; }
add_3() { etcdctl user get "$1" >/dev/null 2>&1 || loudly etcdctl user add "$1" --interactive=false; }
add_2() { two user get "$1" >/dev/null 2>&1 || loudly two user add "$1"; }
verb=add
! etcdctl user get root >/dev/null 2>&1 || verb=passwd
printf '%s\n' "$password" | loudly etcdctl user $verb root --interactive=false
any | add_3 kube-apiserver
etcdctl role get root >/dev/null 2>&1 || loudly etcdctl role add root
for u in root kube-apiserver; do may_3 $u root || loudly etcdctl user grant-role $u root; done
# Who is no user is guest, and may do everything unless there is such a role.
for r in guest flannel; do two role get $r >/dev/null 2>&1 || loudly two role add $r; done
for right in read write; do
  for p in "$prefix" "$prefix/*"; do limited || two role grant flannel --path "$p" --$right >/dev/null 2>&1 || :; done
done
for u in root kube-apiserver flannel; do any | add_2 $u; done
may_2 kube-apiserver root || loudly two user grant kube-apiserver --roles root
may_2 flannel flannel || loudly two user grant flannel --roles flannel
if ! asks_2; then
  two role revoke guest --path '/*' --readwrite >/dev/null 2>&1 || :
  asks_2 || loudly two auth enable
fi
asks_3 || loudly etcdctl auth enable"#
);

impl Users {
    fn command(&self, what: &str) -> Command {
        Command::script(USERS).arg(&self.endpoint).arg(what).label("etcdctl, users and roles")
    }
}

impl Work for Users {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let missing = retry::run_ok(cx.host()?, &self.command("look"), Patience::of_step(cx))?.text();
        Ok(Check::from_changes(missing.lines().map(str::to_owned).collect()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let password = self.password.content()?;
        let password = password.ok_or_else(|| StepError::failed(format!("{} is missing", self.password.name())))?;
        let set = self.command("do").secret_stdin(Secret::new(format!("{}\n", password.expose())));
        retry::run_ok(cx.host()?, &set, Patience::of_step(cx))?;
        Ok(())
    }

    fn needs(&self) -> Vec<Arc<dyn Made>> {
        vec![Arc::clone(&self.password)]
    }
}
