# etcdctl for root, by sunshine-installer: what neither an option nor the environment says is this member's. A function, since
# etcdctl refuses an option beside the environment variable of the same meaning.
if [ "$(id -u)" = 0 ]; then
  etcdctl() (
    endpoints=ENDPOINTS pki=PKI
    asked=' '
    for word; do
      case $word in
      --) break;;
      --endpoints|--discovery-srv|--cacert|--cert|--key) asked="$asked$word ";;
      --*=*) asked="$asked${word%%=*} ";;
      esac
    done
    ours() { case $asked in *" $1 "*) return 1;; esac; }
    if ours --endpoints && ours --discovery-srv; then export ETCDCTL_ENDPOINTS="${ETCDCTL_ENDPOINTS-$endpoints}"; fi
    if [ -n "$pki" ]; then
      if ours --cacert; then export ETCDCTL_CACERT="${ETCDCTL_CACERT-$pki/ca.crt}"; fi
      if ours --cert; then export ETCDCTL_CERT="${ETCDCTL_CERT-$pki/root.crt}"; fi
      if ours --key; then export ETCDCTL_KEY="${ETCDCTL_KEY-$pki/root.key}"; fi
    fi
    # Before 3.4 it speaks API 2 unless told; 3.6 warns of a variable that it no longer knows.
    if [ -z "${ETCDCTL_API-}" ] && command etcdctl --version 2>/dev/null | grep -q '^API version: 2'; then
      export ETCDCTL_API=3
    fi
    exec etcdctl "$@"
  )
fi
