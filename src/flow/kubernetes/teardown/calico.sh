# What Calico leaves beside chains and tables, which go with those of Kubernetes: routes with a protocol number of its own, tunnels, sets of
# addresses, folders. That of its dataplanes of iptables and nftables, without BIRD and BPF.

# The last one says that it was there.
calico_folders='/var/run/nodeagent /var/run/calico /var/log/calico /var/lib/calico'
calico_there() { [ -d /var/lib/calico ]; }
calico_links='vxlan[.]calico|vxlan-v6[.]calico|cali[0-9a-f]{11}'
calico_routes() {
  calico_there || return 0
  for v in 4 6; do ip -$v route show proto 80 2>/dev/null; done
}
# Behind its pod and its rules, which hold the sets.
calico_end() {
  borrowed ipset list -n 2>/dev/null | grep '^cali[46]' | while IFS= read -r set; do borrowed ipset destroy "$set"; done
  [ -z "$(calico_routes)" ] || for v in 4 6; do ip -$v route flush proto 80 2>/dev/null; done
}
