//! etcdctl on a member: every script begins alike, `$1` being the endpoints.

/// A script in which `etcdctl` speaks to `$1` with root's certificates (where the cluster has TLS). Before 3.4 etcdctl speaks
/// API 2 unless told; 3.6 warns of a variable that it no longer knows.
macro_rules! etcdctl {
    ($body:literal) => {
        concat!(
            r#"set -eu
export ETCDCTL_ENDPOINTS="$1"
if etcdctl --version 2>/dev/null | grep -q '^API version: 2'; then export ETCDCTL_API=3; fi
case $1 in https:*)
  d=/etc/etcd/pki
  export ETCDCTL_CACERT=$d/ca.crt ETCDCTL_CERT=$d/root.crt ETCDCTL_KEY=$d/root.key;;
esac
"#,
            $body
        )
    };
}
pub(super) use etcdctl;
