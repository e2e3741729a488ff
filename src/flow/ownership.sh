# Whose is what stands on this host: lines WHAT TAB WHOSE.
t=$(printf '\t')
# recorders WHAT CONDITION: the environments that have such a line in the change record, `-` for one that names none.
recorders() {
  awk -F'\t' '$1 == "format" {more = 3; next} NF > 2 && ('"$2"') {print more ? $(NF - 2) : "-"}' "$d/record" 2>/dev/null |
    sort -u | while IFS= read -r e; do printf '%s\t%s\n' "$1" "$e"; done
}
recorders line 1
recorders node '$1 == "unit" && $2 ~ /^(kubelet|kube-[a-z-]+)\.service$/ || $1 == "file" && $2 ~ /^\/etc\/kubernetes\// ||
  $1 == "package" && $2 ~ /^(kubelet|kubeadm|kubernetes-master|kubernetes-node|docker|docker-ce|moby-engine|containerd|containerd\.io)\.[^.]+$/'
recorders member '$1 == "unit" && $2 == "etcd.service" || $1 == "file" && $2 ~ /^\/etc\/etcd\//'

# The authorities that the kubelet here trusts, each by the sha256 of its certificate: those in the configuration that a running
# kubelet was started with, else where kubeadm and this product put it, else that of the control plane.
authorities() { # PEM on standard input
  awk '/BEGIN CERTIFICATE/ {on = 1; text = ""; next} /END CERTIFICATE/ {if (on) print text; on = 0} on {text = text $0}' |
    while IFS= read -r c; do printf 'authority\t%s\n' "$(printf %s "$c" | base64 -d 2>/dev/null | sha256sum | cut -d ' ' -f 1)"; done
}
value() { tr -d '",' <"$2" | sed -n "s/^[[:space:]]*$1:[[:space:]]*//p" | head -n 1; }
trusted_in() { # KUBECONFIG
  data=$(value certificate-authority-data "$1")
  if [ -n "$data" ]; then printf %s "$data" | base64 -d 2>/dev/null | authorities; return; fi
  file=$(value certificate-authority "$1")
  [ ! -r "$file" ] || authorities <"$file"
}
running=
for p in $(pgrep -x kubelet 2>/dev/null); do
  running=$(tr '\0' '\n' <"/proc/$p/cmdline" 2>/dev/null | awk 'last == "--kubeconfig" {print; exit} sub(/^--kubeconfig=/, "") {print; exit} {last = $0}')
  [ -z "$running" ] || break
done
for config in "$running" /etc/kubernetes/kubelet.conf /etc/kubernetes/kubelet.kubeconfig; do
  [ -n "$config" ] && [ -r "$config" ] || continue
  trusted_in "$config"
  exit 0
done
[ ! -r /etc/kubernetes/pki/ca.crt ] || authorities </etc/kubernetes/pki/ca.crt
exit 0
