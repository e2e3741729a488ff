#!/bin/sh
# Written by sunshine-installer. Keeps this host's way to the cluster as the cluster's own list of its hosts says, so that
# a host added or removed elsewhere needs nothing done here:
#   apply    routes to the other nodes' pods (network direct) and, without a default route, to services, and the packet filter's and
#            firewalld's leave for all pods
#   balance  the configuration of the API's balancer
#   address  the configuration of what holds the API's virtual address (keepalived)
#   listens  whether the API server of this host takes connections: without, the address goes at once
#   ready    whether it is well: the address goes where it says no, or nothing, three times
#   watch    by the kubeconfig $2: both, again whenever the list changes (ConfigMap kube-public/sunshine-cluster) or the packet filter was emptied
#   stop     takes routes and rules back
list=/etc/kubernetes/sunshine-cluster
run=/run/sunshine-installer

# By nobody, who may do no more than ask. One that refuses connections is gone, one that is busy is not. etcd is left out: where
# it does not answer one of them it answers none, and the address had better stay.
case $1 in
listens) curl -sk -m 3 -o /dev/null https://127.0.0.1:6443/livez; [ $? != 7 ]; exit;;
ready) curl -fsk -m 5 -o /dev/null 'https://127.0.0.1:6443/readyz?exclude=etcd&exclude=etcd-readiness'; exit;;
esac

# What firewalld was told here, a source a line: it keeps that over a restart, so we do too.
told=/var/lib/sunshine-installer/trusted
pods=$(awk '$1 == "pods" {print $2}' "$list" 2>/dev/null)
mkdir -p "$run"
# kubectl keeps what it learns of the API here.
export HOME=$run

# Lines of a node or control plane node: KIND NAME ADDRESS [PODS]; `address` is another one of some host. Networks `direct` and
# `flannel` are of IPv4.
routes() {
  own=$(ip -o -4 addr show | awk '{sub("/.*", "", $4); print $4}')
  awk '$1 == "node" {print $4, $3}' "$list" | while read -r to via; do
    printf '%s\n' "$own" | grep -qxF "$via" || printf '%s %s\n' "$to" "$via"
  done
}
# The kernel looks for a route before kube-proxy's rules put a pod's address in the place of a service's: without any, whatever runs
# on the host itself, flannel among it, reaches no service. Where such packets would leave does not matter.
reach_services() {
  ip -o addr show | awk '$3 ~ /^inet6?$/ {sub("/.*", "", $4); print $4, $2}' >"$run/own"
  device=$(awk 'NR == FNR {device[$1] = $2; next} ($1 == "master" || $1 == "node") && $3 in device {print device[$3]; exit}' "$run/own" "$list")
  awk '$1 == "services" {print $2}' "$list" | while read -r to; do
    family=-4
    case $to in *:*) family=-6;; esac
    if [ -n "$device" ] && [ -z "$(ip $family route show default)" ]; then ip $family route replace "$to" dev "$device" proto 186
    else ip $family route del "$to" proto 186 2>/dev/null; fi
  done
}
rule() { # -C to ask, -I or -A to add, -D to delete
  iptables -w "$1" FORWARD -s "$pods" -j ACCEPT && iptables -w "$1" FORWARD -d "$pods" -j ACCEPT
}
masquerade() { iptables -w -t nat "$1" POSTROUTING -s "$pods" ! -d "$pods" -j MASQUERADE; }

# firewalld, where it runs, lets the pods and the cluster's hosts through to each other: packets between hosts that are on
# their way to a pod fit no port that could be opened. SOURCES on standard input; $1 add or remove.
tell_firewalld() {
  # shellcheck disable=SC2046 # an option a word
  set -- $(sed "s/^/--$1-source=/")
  [ $# -gt 0 ] || return 0
  firewall-cmd -q --zone=trusted "$@" 2>/dev/null
  firewall-cmd -q --permanent --zone=trusted "$@" 2>/dev/null
}
forget_firewalld() { # also one that does not run now
  [ -s "$told" ] || return 0
  if firewall-cmd -q --state 2>/dev/null; then tell_firewalld remove <"$told"; return; fi
  # shellcheck disable=SC2046
  firewall-offline-cmd -q --zone=trusted $(sed 's/^/--remove-source=/' "$told") 2>/dev/null
}
firewalld() { # $1: who is to be trusted, a source a line
  firewall-cmd -q --state 2>/dev/null || return 0
  touch "$told"
  sort -u "$1" >"$run/trust"
  # In both, now and after a reload.
  firewall-cmd --zone=trusted --list-sources | tr ' ' '\n' | sort >"$run/now"
  firewall-cmd --permanent --zone=trusted --list-sources | tr ' ' '\n' | sort | comm -12 - "$run/now" >"$run/there"
  comm -23 "$run/trust" "$run/there" >"$run/new"
  sort -u "$told" | comm -23 - "$run/trust" >"$run/gone"
  tell_firewalld remove <"$run/gone"
  sort -u "$told" "$run/new" | comm -12 - "$run/trust" >"$told.new" && mv -fT "$told.new" "$told"
  tell_firewalld add <"$run/new"
}
trusted() { printf '%s\n' "$pods"; awk '$1 == "master" || $1 == "node" {print $3} $1 == "address" {print $2}' "$list"; }

# One at a time: the watch and the refilling may want it in the same moment.
apply() (
  flock 9
  trusted >"$run/wanted"
  firewalld "$run/wanted"
  reach_services
  grep -qE '^network (direct|flannel)$' "$list" || return 0
  if grep -qx 'network direct' "$list"; then
    routes >"$run/routes"
    ip route show proto 186 | while read -r to _; do
      grep -q "^$to " "$run/routes" || grep -qx "services $to" "$list" || ip route del "$to" proto 186
    done
    while read -r to via; do ip route replace "$to" via "$via" proto 186; done <"$run/routes"
  fi
  rule -C 2>/dev/null || rule -I
  masquerade -C 2>/dev/null || masquerade -A
) 9>"$run/lock"

# Fails when the configuration was what it should be already. A call that meets a dead control plane node is passed on to another after
# a second (the last retry is the redispatched one): calls still waiting for it when it is marked down are cut off.
balance() {
  {
    cat <<'END'
global
    maxconn 4096
defaults
    mode tcp
    timeout connect 1s
    timeout client 4h
    timeout server 4h
    timeout check 3s
    retries 1
    option redispatch
frontend kubernetes
END
    awk '$1 == "balancer" {print "    bind " $2}' "$list"
    printf '    default_backend masters\nbackend masters\n'
    ask='check check-ssl verify none'
    if grep -qx 'health connect' "$list"; then ask=check
    else printf '    option httpchk GET /healthz\n    http-check expect status 200\n'; fi
    awk -v ask="$ask" '$1 == "master" {
      at = $3 ~ /:/ ? "[" $3 "]" : $3
      print "    server " $2 " " at ":6443 " ask " inter 1s downinter 500ms fall 2 rise 1 on-marked-down shutdown-sessions"
    }' "$list"
  } >"$run/haproxy.new"
  if cmp -s "$run/haproxy.new" "$run/haproxy.cfg"; then rm -f "$run/haproxy.new"; return 1; fi
  mv -fT "$run/haproxy.new" "$run/haproxy.cfg"
}

# Fails when the configuration was what it should be already. The address stays where it is, and goes within a second from a
# host that is gone, within two from one whose API server is. A host alone holds it always: nobody else could.
address() {
  ip -o addr show | awk '$3 ~ /^inet6?$/ {sub("/.*", "", $4); print $4, $2}' >"$run/own"
  awk 'NR == FNR {device[$1] = $2; next}
    $1 == "vip" {vip = $2; router = $3; if (!router) {router = vip; sub(".*[.]", "", router)}}
    $1 == "master" && $3 in device {own = $3; next}
    $1 == "master" {peers = peers "        " $3 "\n"}
    END {
      print "global_defs {\n    vrrp_version 3\n    script_user nobody\n    enable_script_security\n}"
      # A host that has left the cluster holds nothing.
      if (!own) exit
      if (peers) {
        script = "    script \"/usr/local/sbin/sunshine-cluster "
        print "vrrp_script listens {\n" script "listens\"\n    interval 1\n    timeout 5\n    fall 1\n    rise 1\n}"
        print "vrrp_script ready {\n" script "ready\"\n    interval 3\n    timeout 8\n    fall 3\n    rise 1\n}"
      }
      print "vrrp_instance kubernetes {\n    state BACKUP\n    nopreempt\n    interface " device[own]
      # One router per address; 0 is none.
      print "    virtual_router_id " (router + 0 ? router : 1) "\n    priority 100\n    advert_int 0.5"
      # Said again and again: the kernel of a holder that hangs, or that is not heard, answers whoever asks where the address is.
      print "    garp_master_delay 1\n    garp_master_refresh 2"
      if (peers) printf "    unicast_src_ip %s\n    unicast_peer {\n%s    }\n", own, peers
      print "    virtual_ipaddress {\n        " vip (vip ~ /:/ ? "/128" : "/32") " dev " device[own] "\n    }"
      if (peers) print "    track_script {\n        listens\n        ready\n    }"
      print "}"
    }' "$run/own" "$list" >"$run/keepalived.new"
  if cmp -s "$run/keepalived.new" "$run/keepalived.conf"; then rm -f "$run/keepalived.new"; return 1; fi
  mv -fT "$run/keepalived.new" "$run/keepalived.conf"
}

# Also when this host has got its own address, or its interface another name, after the unit was started.
hold() (
  [ -e /etc/systemd/system/sunshine-vip.service ] && systemctl is-active -q sunshine-vip || return 0
  flock 9
  if address; then systemctl reload --no-block sunshine-vip; fi
) 9>"$run/lock"

# A whole list came: kept, so that it also holds after a restart with no API to ask.
take() {
  grep -q '^master ' "$run/list" || return 0
  cmp -s "$run/list" "$list" || { cp "$run/list" "$list.new" && chmod 0644 "$list.new" && mv -fT "$list.new" "$list"; }
  apply
  if systemctl is-enabled -q sunshine-api 2>/dev/null && balance; then systemctl restart --no-block sunshine-api; fi
  hold
}

# firewalld empties the whole packet filter when it starts or is reloaded, as other programs may.
refill() { grep -qE '^network (direct|flannel)$' "$list" || return 0; rule -C 2>/dev/null && masquerade -C 2>/dev/null || apply; }

watch() { # $1: kubeconfig; a node that joins gets it late
  while sleep 3; do refill; hold; done &
  until [ -e "$1" ]; do sleep 1; done
  wait=1
  while :; do
    began=$(date +%s)
    : >"$run/list"
    # The watch is begun anew now and then, in case its connection died unseen.
    kubectl --kubeconfig "$1" --request-timeout=300s -n kube-public \
      get configmap sunshine-cluster -w -o 'jsonpath={.data.hosts}{"END\n"}' 2>/dev/null |
    while IFS= read -r line; do
      if [ "$line" = END ]; then take; : >"$run/list"; else printf '%s\n' "$line" >>"$run/list"; fi
    done
    if [ $(($(date +%s) - began)) -gt 30 ]; then wait=1; elif [ $wait -lt 16 ]; then wait=$((wait * 2)); fi
    sleep $wait
  done
}

stop() {
  for family in -4 -6; do
    ip $family route show proto 186 2>/dev/null | while read -r to _; do ip $family route del "$to" proto 186; done
  done
  rule -D 2>/dev/null
  masquerade -D 2>/dev/null
  forget_firewalld
  rm -rf "$run" "$told"
}

case $1 in
apply) apply;;
balance) balance || :;;
address) address || :;;
watch) watch "$2";;
stop) stop;;
*) exit 2;;
esac
exit 0
