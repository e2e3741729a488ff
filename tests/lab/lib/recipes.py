"""What is in each rpm of the lab. Data only: rpms.py does the work.

debs      the Debian packages it is made of          users    accounts that must exist before its files land
requires  packages besides those Debian's own         folders  folder -> (mode, user, group)
          dependencies lead to                        units    stopped and disabled when it is removed
move      old path -> new path                        remove   paths left out"""

GROUPS = {
    "etcd": ["etcd"],
    "docker": ["docker", "containerd", "runc", "tini"],
    "kubernetes": ["kubernetes-master", "kubernetes-node", "kubernetes-client", "kubernetes-kubeadm",
                   "conntrack-tools", "socat", "containernetworking-plugins", "ethtool", "ipset"],
    "extras": ["haproxy", "keepalived", "chrony", "docker-registry"],
    "firewalld": ["firewalld"],
}


def account(name, home, uid=""):
    return (f"getent group {name} >/dev/null || groupadd --system {name}\n"
            f"getent passwd {name} >/dev/null || useradd --system --gid {name} --home-dir {home} "
            f"--shell /sbin/nologin --comment '{name} daemon' {uid}{name}")


# What the maintainer scripts of the .debs would do.
USERS = {
    "etcd": account("etcd", "/var/lib/etcd"),
    "kube": account("kube", "/"),
    "haproxy": account("haproxy", "/var/lib/haproxy"),
    "_chrony": account("_chrony", "/var/lib/chrony"),
    "docker-registry": account("docker-registry", "/var/lib/docker-registry"),
    "docker": "getent group docker >/dev/null || groupadd --system docker",
}

RECIPES = {
    "etcd": {
        "debs": ["etcd-server", "etcd-client"], "version": "3.4.23", "users": ["etcd"], "units": "etcd.service",
        "folders": {"/var/lib/etcd": ("0755", "etcd", "etcd")}, "requires": ["systemd", "shadow-utils"],
        "remove": ["/lib/systemd", "/usr/lib/systemd"],
    },
    "docker": {
        "debs": ["docker.io"], "users": ["docker"], "units": "docker.service",
        "folders": {"/etc/docker": ("0755", "root", "root")},
        "requires": ["containerd", "runc", "tini", "iptables", "systemd"],
        "move": {f"/usr/sbin/{name}": f"/usr/bin/{name}" for name in ("dockerd", "docker-proxy")},
        "remove": ["/usr/share/docker.io", "/usr/lib/systemd/system/*", "/usr/lib/udev", "/usr/share/zsh", "/usr/share/fish",
                   "/usr/sbin/ovrouter", "/usr/bin/dnet"],
    },
    "containerd": {"debs": ["containerd"], "requires": ["runc"], "units": "containerd.service"},
    "runc": {"debs": ["runc"], "move": {"/usr/sbin/runc": "/usr/libexec/runc/runc"}},
    "tini": {"debs": ["tini"]},
    "conntrack-tools": {"debs": ["conntrack"]},
    "socat": {"debs": ["socat"]},
    "ethtool": {"debs": ["ethtool"]},
    "ipset": {"debs": ["ipset"]},
    # kubelet looks for the plugins where the upstream archive puts them
    "containernetworking-plugins": {"debs": ["containernetworking-plugins"],
                                    "move": {"/usr/lib/cni": "/opt/cni/bin"}},
    "haproxy": {"debs": ["haproxy"], "users": ["haproxy"], "units": "haproxy.service",
                "folders": {"/var/lib/haproxy": ("0755", "root", "root"),
                            "/var/lib/haproxy/dev": ("0755", "root", "root")}},
    "keepalived": {"debs": ["keepalived"], "units": "keepalived.service"},
    "chrony": {"debs": ["chrony"], "users": ["_chrony"], "units": "chronyd.service",
               "folders": {"/var/lib/chrony": ("0750", "_chrony", "_chrony"),
                           "/var/log/chrony": ("0750", "_chrony", "_chrony")},
               "remove": ["/etc/chrony", "/etc/dhcp", "/etc/network", "/etc/ppp", "/etc/apparmor.d", "/usr/share/chrony",
                          "/usr/lib/NetworkManager", "/usr/lib/networkd-dispatcher", "/usr/lib/systemd/system/*"]},
    "firewalld": {"debs": ["firewalld"], "units": "firewalld.service"},
    "docker-registry": {"debs": ["docker-registry"], "users": ["docker-registry"], "units": "docker-registry.service",
                        "folders": {"/var/lib/docker-registry": ("0750", "docker-registry", "docker-registry")}},
}

# Already on every base host, or of no use there. Without polkit firewalld asks nobody whether root may.
DROPPED = {"adduser", "lsb-base", "init-system-helpers", "golang-go", "cgroupfs-mount", "iproute2", "polkitd", "gir1.2-nm-1.0",
           "libpam-systemd"}

KUBE_LIBS = {"/var/lib/kubelet": ("0700", "root", "root")}
BUILT = {
    "kubernetes-master": {
        "summary": "Kubernetes services for control plane hosts",
        "binaries": ["kube-apiserver", "kube-controller-manager", "kube-scheduler"], "users": ["kube"],
        "units": "kube-apiserver.service kube-controller-manager.service kube-scheduler.service",
        "requires": ["kubernetes-client", "systemd", "shadow-utils"],
        "post": "systemd-tmpfiles --create kubernetes.conf >/dev/null 2>&1 || :",
    },
    "kubernetes-node": {
        "summary": "Kubernetes services for node hosts", "binaries": ["kubelet", "kube-proxy"], "users": ["kube"],
        "units": "kubelet.service kube-proxy.service", "folders": KUBE_LIBS,
        "requires": ["docker", "conntrack-tools", "socat", "iptables", "kubernetes-client", "systemd", "shadow-utils"],
    },
    "kubernetes-client": {"summary": "Kubernetes client tools", "binaries": ["kubectl"]},
    "kubernetes-kubeadm": {"summary": "Kubernetes tool for cluster administration", "binaries": ["kubeadm"],
                           "requires": ["kubernetes-node", "containernetworking-plugins"]},
}
