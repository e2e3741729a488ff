# Takes away what Kubernetes made on this host while it ran: pods, mounts, rules, interfaces, the kubelet's own folder.
# Only on a host whose node is the environment's own. $1 look | do, $2 the environments whose lines in the change record count.
ours=$2
recorded() { names "$1" | grep -qxF "$2"; }
docker_is_ours() { is_ours docker || is_ours docker-ce || is_ours moby-engine; }
containerd_is_ours() { is_ours containerd; }
# kubeadm's reset that was killed has left some of these.
kubeadm_made() {
  command -v kubeadm >/dev/null 2>&1 || return 1
  for c in admin super-admin kubelet bootstrap-kubelet controller-manager scheduler; do
    [ ! -e "/etc/kubernetes/$c.conf" ] || return 0
  done
  return 1
}
# Folders that kubeadm makes and its reset leaves; a package's go with it.
folders() {
  for p in /etc/kubernetes/pki/etcd /etc/kubernetes/pki /etc/kubernetes/tmp /etc/kubernetes/manifests /etc/kubernetes; do
    [ ! -d "$p" ] || rpm -qf -- "$p" >/dev/null 2>&1 || "$@" "$p"
  done
}
say_empty() { [ -n "$(ls -A "$1")" ] || echo "remove the empty folder $1"; }
pods() {
  if command -v docker >/dev/null 2>&1; then docker ps -aq --filter label=io.kubernetes.pod.name 2>/dev/null
  elif command -v ctr >/dev/null 2>&1; then ctr -n k8s.io containers ls -q 2>/dev/null; fi
}
remove_pods() {
  if command -v docker >/dev/null 2>&1; then docker rm -f $(pods) >/dev/null 2>&1; return; fi
  for p in $(pods); do
    ctr -n k8s.io tasks rm -f "$p" >/dev/null 2>&1
    ctr -n k8s.io containers rm "$p" >/dev/null 2>&1
  done
}
chains='KUBE-|CNI-|cni0|sunshine|FLANNEL-|cali[-:]'
docker_is_ours && chains="$chains|DOCKER|docker0"
# flanneld's rules have no name but the pods' network, which it wrote down.
flannel=$(recorded unit flanneld.service && sed -n 's/^FLANNEL_NETWORK=//p' /run/flannel/subnet.env 2>/dev/null | sed 's/[.]/[.]/g')
[ -z "$flannel" ] || chains="$chains|-[sd] $flannel "
rules() { for f in iptables ip6tables; do $f-save 2>/dev/null | grep -E -- "$chains"; done; }
hold
nft_tables() { borrowed nft list tables 2>/dev/null | grep -E '^table ((ip|ip6) (kube-proxy|calico)|ip flannel-ipv4|ip6 flannel-ipv6)$'; }
# Those of a runtime that was there before are its containers'.
places='^/var/lib/kubelet/|^(/var)?/run/netns/cni-|^(/var)?/run/calico/'
! docker_is_ours || places="$places|^/run/docker/|^/var/lib/docker/|^/run/containerd/"
! containerd_is_ours || places="$places|^/run/containerd/|^/var/lib/containerd/"
mounts() { P=$places awk '$5 ~ ENVIRON["P"] {print $5}' /proc/self/mountinfo | sort -r; }
# Names have their blanks as \040.
unmount() { mounts | while IFS= read -r m; do umount -l "$(printf %b "$m")" 2>/dev/null; done; }
# Such a folder may be a package's, or a file system of its own: what is in it goes. Where something in it is mounted still, since
# it could not be unmounted, this ends with its name.
content() { find "$1" -mindepth 1 -maxdepth 1 ! -name lost+found 2>/dev/null; }
empty() { content "$1" | while IFS= read -r p; do delete_tree "$p" || exit 1; done || exit 1; }
leftover() {
  for p in /var/lib/kubelet /var/lib/cni /var/lib/dockershim /var/run/kubernetes $(! calico_there || echo "$calico_folders"); do
    [ -z "$(content "$p")" ] || echo "$p"
  done
}

if [ "$1" = look ]; then
  ! kubeadm_made || echo 'remove what kubeadm created'
  [ -z "$(pods)" ] || echo "remove $(pods | wc -l) container(s) of pods"
  [ -z "$(rules)$(nft_tables)" ] || echo "remove the packet filter's rules of Kubernetes"
  [ ! -s "$d/trusted" ] || echo "let firewalld trust the cluster no more"
  for l in cni0 flannel.1 flannel-v6.1 vxlan.calico vxlan-v6.calico; do ip link show "$l" >/dev/null 2>&1 && echo "remove interface $l"; done
  [ -z "$(calico_routes)" ] || echo "remove $(calico_routes | wc -l) route(s) of Calico"
  leftover | sed 's/^/empty /'
  folders say_empty
  exit 0
fi

set -u
# The API's address goes to another host while the API still answers here.
systemctl stop sunshine-vip 2>/dev/null
# What kubeadm wrote goes by kubeadm; etcd is not its own and stays. With a kubeconfig it would ask the API first, for a minute
# where that does not answer any more; and without it kubeadm takes all of /var/lib/etcd for a member of its own, and deletes it. It
# deletes across what it could not unmount.
if kubeadm_made; then
  systemctl stop kubelet 2>/dev/null
  unmount
  for p in /var/lib/kubelet/*; do no_mount "$p" || exit 1; done
  kubeadm reset -f --skip-phases remove-etcd-member --kubeconfig /run/sunshine-installer/none \
    --cri-socket unix:///run/containerd/containerd.sock >/dev/null 2>&1
fi
folders rmdir 2>/dev/null
for u in kubelet kube-proxy; do systemctl stop $u 2>/dev/null; done
[ -z "$(pods)" ] || remove_pods
# It would make its interface again. Docker, which cannot be without it, stops too: hence behind the pods.
if recorded unit flanneld.service; then
  systemctl stop flanneld 2>/dev/null
  rm -f /run/flannel/subnet.env /run/flannel/docker
  rmdir /run/flannel 2>/dev/null
fi
[ -x /usr/local/sbin/sunshine-cluster ] && { systemctl stop sunshine-cluster sunshine-api 2>/dev/null; /usr/local/sbin/sunshine-cluster stop; }
command -v kube-proxy >/dev/null 2>&1 && timeout 30 kube-proxy --cleanup >/dev/null 2>&1
if docker_is_ours; then systemctl stop docker.socket docker 2>/dev/null; fi
if containerd_is_ours; then systemctl stop containerd 2>/dev/null; pkill -KILL -f '^/usr/bin/containerd-shim' 2>/dev/null; fi
unmount
for f in iptables ip6tables; do
  for t in nat filter mangle raw; do
    $f-save -t $t 2>/dev/null | grep -qE -- "$chains" || continue
    $f-save -t $t | grep -vE -- "$chains" | { if docker_is_ours; then sed 's/^:FORWARD DROP/:FORWARD ACCEPT/'; else cat; fi; } | $f-restore -T $t
  done
done
nft_tables | while read -r _ family table; do borrowed nft delete table "$family" "$table"; done
calico_end
release
for l in $(ip -o link show master cni0 2>/dev/null | awk -F': ' '{print $2}' | sed 's/@.*//'); do ip link delete "$l"; done
for l in $(ip -o link | awk -F': ' '{print $2}' | sed 's/@.*//' | grep -E "^(cni0|flannel\.1|flannel-v6\.1|kube-ipvs0|kube-bridge|$calico_links)\$"); do ip link delete "$l"; done
rm -f /run/netns/cni-*
if docker_is_ours || containerd_is_ours; then
  ip link delete docker0 2>/dev/null
  for p in /var/lib/docker /var/lib/containerd; do empty "$p"; done
  delete_tree /run/docker /run/containerd /run/docker.sock || exit 1
  rm -f /etc/docker/key.json
  rmdir /opt/containerd/bin /opt/containerd/lib /opt/containerd 2>/dev/null
  rmdir /etc/cni/net.d /etc/cni 2>/dev/null
fi
if is_ours chrony; then systemctl stop chronyd 2>/dev/null; empty /var/lib/chrony; fi
! recorded dir /root/.kube || delete_tree /root/.kube/cache || exit 1
for p in $(leftover); do empty "$p"; done
# shellcheck disable=SC2086 # a list of folders
rmdir /var/lib/docker /var/lib/containerd /var/lib/kubelet /var/lib/cni /var/lib/dockershim $calico_folders 2>/dev/null
# The kubelet makes it for volume plugins.
rmdir -p /usr/libexec/kubernetes/kubelet-plugins/volume/exec 2>/dev/null
exit 0
