"""What is in each rpm and image of the lab. Data only: rpms.py, gopack.py and images.py do the work.

debs      the Debian packages it is made of          users    accounts that must exist before its files land
requires  packages besides those Debian's own         folders  folder -> (mode, user, group)
          dependencies lead to                        units    stopped and disabled when it is removed
move      old path -> new path                        remove   paths left out

Of what is compiled from Go modules also:
files     path in the rpm -> (what gorecipes.py calls the build, binary)
overlay   folders of tests/lab/rpms with its unit files and settings"""
from gorecipes import CALICO, CALICO_SERVICES, CNI_PLUGINS, DISTRIBUTION, FLANNEL, FLANNEL_CNI, FLANNEL_ETCD2, KUBERNETES
from gorecipes import RECIPES as BUILDS

GROUPS = {
    "etcd": ["etcd"],
    "docker": ["docker", "containerd", "runc", "tini"],
    "kubernetes": ["kubernetes-master", "kubernetes-node", "kubernetes-client", "kubernetes-kubeadm",
                   "conntrack-tools", "socat", "containernetworking-plugins", "ethtool", "ipset"],
    "extras": ["haproxy", "keepalived", "chrony", "docker-registry"],
    "firewalld": ["firewalld"],
    # Compiled from Go modules, in the layouts of pkgs.k8s.io and of docker's repository.
    "etcd-3.6": ["etcd-3.6.8"],
    "containerd-2": ["containerd.io-2.4.2"],
    "kubeadm-1.36": ["kubelet-1.36.3", "kubeadm-1.36.3", "kubectl-1.36.3", "cri-tools", "kubernetes-cni",
                     "conntrack-tools", "socat", "ethtool", "nftables"],
    "flannel": [],
    "flannel-0.14": [f"flannel-{FLANNEL_ETCD2}"],
    "agnhost": [],
    "oci-conformance": [],
}
# Built only when somebody names them.
ON_DEMAND = {
    "containerd-1.7": ["containerd.io-1.7.27"],
    "kubeadm-1.35": ["kubelet-1.35.4", "kubeadm-1.35.4", "kubectl-1.35.4", "cri-tools", "kubernetes-cni",
                     "conntrack-tools", "socat", "ethtool", "nftables"],
    "kubeadm-1.20": ["kubelet-1.20.2", "kubeadm-1.20.2", "kubectl-1.20.2", "cri-tools", "kubernetes-cni",
                     "conntrack-tools", "socat", "ethtool"],
    "registry": [f"docker-distribution-{DISTRIBUTION}"],
    "calico": [],
    "e2e-1.36": [], "e2e-1.35": [],
}
ALL = {**GROUPS, **ON_DEMAND}


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
    "nftables": {"debs": ["nftables"], "remove": ["/etc/nftables.conf", "/usr/lib/systemd/system/*", "/usr/share/nftables"]},
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

PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


def containerd(version):
    """As docker's repository ships it: runc inside, and the CRI plugin switched off in its settings."""
    build = f"containerd-{version}"
    return {"name": "containerd.io", "version": version, "summary": "An industry-standard container runtime",
            "files": {"/usr/bin/containerd": (build, "containerd"), "/usr/bin/ctr": (build, "ctr"),
                      "/usr/bin/containerd-shim-runc-v2": (build, "containerd-shim-runc-v2"),
                      # Behind the lab's wrapper: see overlay runc.
                      "/usr/libexec/runc/runc": ("runc-1.5.3", "runc")},
            "overlay": ["containerd.io", "runc"], "units": "containerd.service", "requires": ["systemd"],
            "provides": ["containerd", "runc"], "conflicts": ["containerd", "runc"]}


def kubernetes(version, build):
    """kubelet, kubeadm and kubectl as pkgs.k8s.io ships them: no control plane, which comes as images."""
    return {
        f"kubelet-{version}": {
            "name": "kubelet", "version": version, "summary": "Node agent for Kubernetes clusters",
            "files": {"/usr/bin/kubelet": (build, "kubelet")}, "overlay": ["kubelet"], "units": "kubelet.service",
            "folders": {"/var/lib/kubelet": ("0700", "root", "root"), "/etc/kubernetes/manifests": ("0700", "root", "root")},
            "requires": ["iptables", "iproute", "util-linux", "ethtool", "socat", "conntrack-tools", "kubernetes-cni"],
        },
        f"kubeadm-{version}": {
            "name": "kubeadm", "version": version, "summary": "Command-line tool for administering Kubernetes clusters",
            "files": {"/usr/bin/kubeadm": (build, "kubeadm")}, "overlay": ["kubeadm"],
            "requires": ["kubelet", "kubectl", "cri-tools"],
        },
        f"kubectl-{version}": {
            "name": "kubectl", "version": version, "summary": "Command-line tool for Kubernetes clusters",
            "files": {"/usr/bin/kubectl": (build, "kubectl")},
        },
    }


GO_RPMS = {
    "etcd-3.6.8": {
        "name": "etcd", "version": "3.6.8", "summary": "A highly-available key value store for shared configuration",
        "files": {f"/usr/bin/{name}": ("etcd-3.6.8", name) for name in ("etcd", "etcdctl", "etcdutl")},
        "overlay": ["etcd"], "users": ["etcd"], "units": "etcd.service",
        "folders": {"/var/lib/etcd": ("0755", "etcd", "etcd")}, "requires": ["systemd", "shadow-utils"],
    },
    "containerd.io-2.4.2": containerd("2.4.2"),
    "containerd.io-1.7.27": containerd("1.7.27"),
    "cri-tools": {
        "name": "cri-tools", "version": "1.37.0", "summary": "Command-line tool for container runtimes",
        "files": {"/usr/bin/crictl": ("cri-tools-1.37.0", "crictl")},
    },
    "kubernetes-cni": {
        "name": "kubernetes-cni", "version": "1.10.0", "summary": "Plugins of the Container Network Interface",
        "files": {f"/opt/cni/bin/{name}": ("cni-1.10.0", name) for name in CNI_PLUGINS},
        "folders": {"/etc/cni/net.d": ("0755", "root", "root")},
    },
    # In the layout of Fedora and EPEL, where it runs as root.
    f"docker-distribution-{DISTRIBUTION}": {
        "name": "docker-distribution", "version": DISTRIBUTION,
        "summary": "Docker toolset to pack, ship, store, and deliver content",
        "files": {"/usr/bin/registry": (f"distribution-{DISTRIBUTION}", "registry")}, "overlay": ["docker-distribution"],
        "units": "docker-distribution.service", "folders": {"/var/lib/registry": ("0755", "root", "root")},
        "requires": ["systemd"],
    },
    # In the layout of CentOS 7: its subnets are in etcd, and Docker's bridge connects the pods.
    f"flannel-{FLANNEL_ETCD2}": {
        "name": "flannel", "version": FLANNEL_ETCD2, "summary": "Etcd address management agent for overlay networks",
        "files": {"/usr/bin/flanneld": (f"flannel-{FLANNEL_ETCD2}", "flanneld")}, "overlay": ["flanneld"],
        "units": "flanneld.service", "requires": ["iptables", "systemd"],
    },
    # Debian's source, compiled for the group kubernetes.
    **kubernetes("1.20.2", "debian"),
}
for _version in KUBERNETES:
    GO_RPMS.update(kubernetes(_version, f"kubernetes-{_version}"))

class Layers(dict):
    """By name; or Debian packages with blanks between, which one group alone needs: they are in no other group's recipe."""

    def __missing__(self, packages):
        return packages.split()


# The layers below a program: Debian packages with all that they need, unpacked.
LAYERS = Layers({
    "net": ["nftables", "iptables", "conntrack", "kmod", "coreutils", "dash"],
    "tools": ["bash", "dash", "coreutils", "grep", "sed", "mawk", "findutils", "hostname", "procps", "curl", "netcat-openbsd",
              "bind9-dnsutils", "iproute2", "iputils-ping", "libc-bin"],
})


def control_plane(version):
    """The images that this version's kubeadm names, and whose list it must print."""
    build, parts, registry = f"kubernetes-{version}", KUBERNETES[version], "registry.k8s.io"
    images = {f"{name}-v{version}": {"refs": [f"{registry}/{name}:v{version}"], "files": {f"/usr/local/bin/{name}": (build, name)}}
              for name in PROGRAMS}
    images[f"kube-proxy-v{version}"] = {"refs": [f"{registry}/kube-proxy:v{version}"], "below": "net",
                                        "files": {"/usr/local/bin/kube-proxy": (build, "kube-proxy")}}
    images[f"coredns-v{parts['coredns']}"] = {
        "refs": [f"{registry}/coredns/coredns:v{parts['coredns']}"], "files": {"/coredns": (f"coredns-{parts['coredns']}", "coredns")},
        "entrypoint": ["/coredns"]}
    images[f"etcd-{parts['etcd']}-0"] = {
        "refs": [f"{registry}/etcd:{parts['etcd']}-0"],
        "files": {f"/usr/local/bin/{name}": (f"etcd-{parts['etcd']}", name) for name in ("etcd", "etcdctl", "etcdutl")}}
    images[f"pause-{parts['pause']}"] = {"refs": [f"{registry}/pause:{parts['pause']}"], "files": {"/pause": ("pause", "pause")},
                                         "entrypoint": ["/pause"], "user": "65535:65535"}
    return images


def agnhost(version, tag, *others):
    """The end-to-end suite's image, which is what the suite calls a few others too: their shells and programs are in it."""
    names = [f"registry.k8s.io/e2e-test-images/{name}" for name in (f"agnhost:{tag}", *others)]
    build = f"agnhost-{version}"
    files = {f"/{name}": (build, name) for name in ("agnhost", *BUILDS[build].get("copies", {}))}
    return {f"agnhost-{tag}": {"refs": names, "below": "tools", "files": files,
                               "entrypoint": ["/agnhost"], "command": ["pause"]}}


def calico():
    """Under upstream's names, which its manifest says. Its programs are run by runit, as in upstream's image."""
    build, names = f"calico-{CALICO}", {name: f"docker.io/calico/{name}:v{CALICO}" for name in ("node", "cni", "kube-controllers")}
    plugins = ("bandwidth", "host-local", "loopback", "portmap", "tuning")
    start = ('sh /etc/rc.local && NODENAME=$(cat /var/lib/calico/nodename) && export NODENAME && '
             'exec runsvdir -P /etc/service/enabled')
    return {
        f"calico-node-v{CALICO}": {
            "refs": [names["node"]], "below": "iptables ipset conntrack iproute2 kmod runit procps coreutils dash",
            "files": {"/usr/bin/calico-node": (build, "calico-node"), "/usr/bin/mountns": (f"calico-mountns-{CALICO}", "mountns"),
                      "/etc/rc.local": (build, "rc.local"),
                      **{f"/etc/service/available/{name}/run": (build, f"service-{name}") for name in CALICO_SERVICES}},
            "command": ["sh", "-c", start]},
        f"calico-cni-v{CALICO}": {
            "refs": [names["cni"]],
            "files": {**{f"/opt/cni/bin/{name}": ("cni-1.10.0", name) for name in plugins},
                      "/opt/cni/bin/install": (build, "install"),
                      **{f"/opt/cni/bin/{name}": (build, "calico") for name in ("calico", "calico-ipam")}}},
        f"calico-kube-controllers-v{CALICO}": {
            "refs": [names["kube-controllers"]], "below": "net",
            "files": {f"/usr/bin/{name}": (build, name) for name in ("kube-controllers", "check-status")},
            # What it is about lies in a folder that upstream's image has.
            "command": ["sh", "-c", "mkdir -p /status && exec kube-controllers"]},
    }


# group -> image's file name -> what is in it
IMAGES = {
    "kubeadm-1.36": control_plane("1.36.3"),
    "kubeadm-1.35": control_plane("1.35.4"),
    "kubeadm-1.20": {
        **{f"{name}-v1.20.2": {"refs": [f"k8s.gcr.io/{name}:v1.20.2"], "files": {f"/usr/local/bin/{name}": ("debian", name)}}
           for name in PROGRAMS},
        "kube-proxy-v1.20.2": {"refs": ["k8s.gcr.io/kube-proxy:v1.20.2"], "below": "net",
                               "files": {"/usr/local/bin/kube-proxy": ("debian", "kube-proxy")}},
        "coredns-1.7.0": {"refs": ["k8s.gcr.io/coredns:1.7.0"], "files": {"/coredns": ("coredns-1.7.0", "coredns")},
                          "entrypoint": ["/coredns"]},
        "pause-3.2": {"refs": ["k8s.gcr.io/pause:3.2"], "files": {"/pause": ("pause", "pause")}, "entrypoint": ["/pause"]},
    },
    "flannel": {
        f"flannel-v{FLANNEL}": {"refs": [f"ghcr.io/flannel-io/flannel:v{FLANNEL}"], "below": "net", "entrypoint": ["/opt/bin/flanneld"],
                                "files": {"/opt/bin/flanneld": (f"flannel-{FLANNEL}", "flanneld")}},
        f"flannel-cni-plugin-v{FLANNEL_CNI}": {"refs": [f"ghcr.io/flannel-io/flannel-cni-plugin:v{FLANNEL_CNI}"], "below": "net",
                                               "files": {"/flannel": (f"flannel-cni-{FLANNEL_CNI}", "flannel")}},
    },
    "calico": calico(),
    "agnhost": agnhost("1.36.3", "2.63.0", "glibc-dns-testing:2.0.0", "busybox:1.37.0-1"),
    "e2e-1.35": agnhost("1.35.4", "2.59", "jessie-dnsutils:1.7", "busybox:1.36.1-1"),
}
# group -> programs that are neither in an rpm nor in an image: file name -> (build, binary)
LOOSE = {"oci-conformance": {"oci-conformance": ("oci-conformance", "oci-conformance")},
         # Upstream's own manifest, letter by letter.
         "calico": {"calico.yaml": (f"calico-{CALICO}", "calico.yaml")},
         "e2e-1.36": {"e2e.test": ("e2e-1.36.3", "e2e.test")}, "e2e-1.35": {"e2e.test": ("e2e-1.35.4", "e2e.test")}}
