"""What the lab compiles from Go modules, pinned. Data only: gobuild.py does the work.

modules   module path -> version; replacements of the first one's go.mod count, local ones become the published modules
programs  name of the binary -> package
tests     name of the binary -> package whose tests it runs (`go test -c`)
values    string variables set at link time
mains     name of the binary -> source of a main package of our own, in which only what the lab needs is linked
copies    file that lies beside the binaries -> (module, its path there)
cgo, tags as the upstream project builds it
debian    command or file that the build needs -> the Debian package that brings it
staging   version of the modules that a go.mod of Kubernetes replaces by folders of its own tree
unserved  packages that are replaced by empty ones: code for one cloud that no module proxy has, or that nobody needs here"""

# kubeadm's own lists of images: `kubeadm config images list` must agree, which rpms.py checks when it packs them.
KUBERNETES = {
    "1.36.3": {"etcd": "3.6.8", "coredns": "1.14.2", "pause": "3.10.2"},
    "1.35.4": {"etcd": "3.6.6", "coredns": "1.13.1", "pause": "3.10.1"},
}
FLANNEL, FLANNEL_CNI = "0.28.10", "0.9.1"
# Speaks etcd's version 2 API, as the flannel of CentOS 7 does, and has a go.mod.
FLANNEL_ETCD2 = "0.14.0"
DISTRIBUTION = "3.1.2"
# The commit of that version. The API is a folder of the same tree and a module by itself, whose versions follow no branch: one
# that fits.
CALICO, CALICO_COMMIT = "3.28.5", "v1.11.0-cni-plugin.0.20250813170300-a0db560f0520"
CALICO_API = "v0.0.0-20240708202104-e3f70b269c2c"
# Those of its services that run where VXLAN connects the hosts: without BIRD.
CALICO_SERVICES = ("allocate-tunnel-addrs", "cni", "felix", "monitor-addresses", "node-status-reporter")
CNI_PLUGINS = ("bandwidth", "bridge", "dhcp", "dummy", "firewall", "host-device", "host-local", "ipvlan", "loopback",
               "macvlan", "portmap", "ptp", "sbr", "static", "tap", "tuning", "vlan", "vrf")
# CoreDNS without its plugins for clouds, whose libraries take twice as long to compile as all the rest.
COREDNS_PLUGINS = ("bind", "bufsize", "cache", "cancel", "chaos", "debug", "erratic", "errors", "file", "forward", "health",
                   "hosts", "kubernetes", "loadbalance", "log", "loop", "metadata", "metrics", "minimal", "nsid", "pprof",
                   "ready", "reload", "rewrite", "root", "template", "whoami")
COREDNS = "github.com/coredns/coredns"


def coredns(version, without=(), more=None):
    plugins = "".join(f"\t_ \"{COREDNS}/plugin/{name}\"\n" for name in COREDNS_PLUGINS if name not in without)
    main = f"package main\n\nimport (\n\t\"{COREDNS}/coremain\"\n{plugins})\n\nfunc main() {{\n\tcoremain.Run()\n}}\n"
    return {"modules": {COREDNS: f"v{version}", **(more or {})}, "mains": {"coredns": main}}


# cmd/registry without its drivers for clouds, whose libraries take longest to compile.
REGISTRY = "github.com/distribution/distribution/v3"
REGISTRY_PARTS = ("auth/htpasswd", "auth/silly", "auth/token", "proxy", "storage/driver/filesystem", "storage/driver/inmemory",
                  "storage/driver/middleware/redirect", "storage/driver/middleware/rewrite")
REGISTRY_MAIN = f"package main\n\nimport (\n\t\"os\"\n\n\t\"{REGISTRY}/registry\"\n" + "".join(
    f"\t_ \"{REGISTRY}/registry/{part}\"\n" for part in REGISTRY_PARTS) + (
    ")\n\nfunc main() {\n\tif registry.RootCmd.Execute() != nil {\n\t\tos.Exit(1)\n\t}\n}\n")
KUBERNETES_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubeadm",
                       "kubectl")


def kubernetes(version, programs=None, tests=None):
    major, minor, patch = version.split(".")
    package = "k8s.io/component-base/version"
    return {"modules": {"k8s.io/kubernetes": f"v{version}"}, "staging": f"v0.{minor}.{patch}",
            "programs": programs or {}, "tests": tests or {},
            "values": {f"{package}.gitVersion": f"v{version}", f"{package}.gitMajor": major,
                       f"{package}.gitMinor": minor, f"{package}.gitTreeState": "clean",
                       f"{package}.buildDate": "2023-01-01T00:00:00Z"}}


def etcd(version):
    modules = {f"go.etcd.io/etcd/{part}/v3": f"v{version}" for part in ("server", "etcdctl", "etcdutl")}
    return {"modules": modules, "programs": {"etcd": "go.etcd.io/etcd/server/v3", "etcdctl": "go.etcd.io/etcd/etcdctl/v3",
                                             "etcdutl": "go.etcd.io/etcd/etcdutl/v3"}}


def containerd(module, version):
    programs = {"containerd": "cmd/containerd", "containerd-shim-runc-v2": "cmd/containerd-shim-runc-v2", "ctr": "cmd/ctr"}
    return {"modules": {module: f"v{version}"}, "programs": {name: f"{module}/{path}" for name, path in programs.items()},
            "values": {f"{module}/version.Version": f"v{version}"}}


CALICO_MODULE = "github.com/projectcalico/calico"


def calico():
    module = CALICO_MODULE
    programs = {"calico-node": "node/cmd/calico-node", "calico": "cni-plugin/cmd/calico", "install": "cni-plugin/cmd/install",
                "kube-controllers": "kube-controllers/cmd/kube-controllers", "check-status": "kube-controllers/cmd/check-status"}
    node = "node/filesystem/etc"
    copies = {"calico.yaml": "manifests/calico-vxlan.yaml", "rc.local": f"{node}/rc.local",
              **{f"service-{name}": f"{node}/service/available/{name}/run" for name in CALICO_SERVICES}}
    # Without cgo, which only its dataplane of BPF needs.
    return {"modules": {module: CALICO_COMMIT, "github.com/projectcalico/api": CALICO_API},
            "programs": {name: f"{module}/{path}" for name, path in programs.items()},
            "copies": {name: (module, path) for name, path in copies.items()},
            "values": {"main.VERSION": f"v{CALICO}", f"{module}/node/pkg/lifecycle/startup.VERSION": f"v{CALICO}",
                       f"{module}/node/buildinfo.GitVersion": f"v{CALICO}"}}


RECIPES = {
    # The tests that the OCI distribution specification comes with; they have no versions.
    "oci-conformance": {
        "modules": {"github.com/opencontainers/distribution-spec/conformance": "v0.0.0-20260831232431-97274622c111"},
        "programs": {"oci-conformance": "github.com/opencontainers/distribution-spec/conformance"},
    },
    "runc-1.5.3": {
        "modules": {"github.com/opencontainers/runc": "v1.5.3"}, "programs": {"runc": "github.com/opencontainers/runc"},
        "values": {"main.version": "1.5.3"}, "cgo": True, "tags": "seccomp",
        "debian": {"/usr/include/seccomp.h": "libseccomp-dev", "pkg-config": "pkg-config", "gcc": "gcc"},
    },
    "containerd-2.4.2": containerd("github.com/containerd/containerd/v2", "2.4.2"),
    "containerd-1.7.27": containerd("github.com/containerd/containerd", "1.7.27"),
    f"calico-{CALICO}": calico(),
    # By which calico-node mounts on the host, written in C. Built apart: with cgo all else would need BPF's library.
    f"calico-mountns-{CALICO}": {
        "modules": {CALICO_MODULE: CALICO_COMMIT, "github.com/projectcalico/api": CALICO_API}, "cgo": True, "debian": {"gcc": "gcc"},
        "programs": {"mountns": f"{CALICO_MODULE}/node/cmd/mountns"},
    },
    f"distribution-{DISTRIBUTION}": {
        "modules": {REGISTRY: f"v{DISTRIBUTION}"}, "mains": {"registry": REGISTRY_MAIN},
        "values": {f"{REGISTRY}/version.version": f"v{DISTRIBUTION}"},
    },
    "cri-tools-1.37.0": {
        "modules": {"sigs.k8s.io/cri-tools": "v1.37.0"}, "programs": {"crictl": "sigs.k8s.io/cri-tools/cmd/crictl"},
        "values": {"sigs.k8s.io/cri-tools/pkg/version.Version": "v1.37.0"},
    },
    "cni-1.10.0": {
        "modules": {"github.com/containernetworking/plugins": "v1.10.0"},
        "programs": {name: f"github.com/containernetworking/plugins/plugins/{kind}/{name}" for name in CNI_PLUGINS
                     for kind in ["ipam" if name in ("dhcp", "host-local", "static") else
                                  "meta" if name in ("bandwidth", "firewall", "portmap", "sbr", "tuning", "vrf") else
                                  "main"]},
        "values": {"github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion": "v1.10.0"},
    },
    # flannel's plugin has a module of its own today, which no proxy serves; this is its last version in the plugins' module.
    f"flannel-cni-{FLANNEL_CNI}": {
        "modules": {"github.com/containernetworking/plugins": f"v{FLANNEL_CNI}"},
        "programs": {"flannel": "github.com/containernetworking/plugins/plugins/meta/flannel"},
    },
    f"flannel-{FLANNEL}": {
        "modules": {"github.com/flannel-io/flannel": f"v{FLANNEL}"}, "programs": {"flanneld": "github.com/flannel-io/flannel"},
        "values": {"github.com/flannel-io/flannel/pkg/version.Version": f"v{FLANNEL}"}, "cgo": True,
        "debian": {"gcc": "gcc"}, "unserved": ["github.com/flannel-io/flannel/pkg/backend/tencentvpc"],
    },
    # Without the back ends for clouds, and without udp, which needs cgo. With a reflect2 and a client of etcd's version 2 API that
    # today's Go can run.
    f"flannel-{FLANNEL_ETCD2}": {
        "modules": {"github.com/flannel-io/flannel": f"v{FLANNEL_ETCD2}", "github.com/modern-go/reflect2": "v1.0.2",
                    "github.com/coreos/etcd": "v3.3.27+incompatible"},
        "programs": {"flanneld": "github.com/flannel-io/flannel"},
        "values": {"github.com/flannel-io/flannel/version.Version": f"v{FLANNEL_ETCD2}"},
        "unserved": [f"github.com/flannel-io/flannel/backend/{name}" for name in ("alivpc", "awsvpc", "gce", "tencentvpc", "udp")],
    },
}
for _version, _parts in KUBERNETES.items():
    RECIPES[f"kubernetes-{_version}"] = kubernetes(
        _version, {name: f"k8s.io/kubernetes/cmd/{name}" for name in KUBERNETES_PROGRAMS})
    RECIPES[f"agnhost-{_version}"] = kubernetes(_version, {"agnhost": "k8s.io/kubernetes/test/images/agnhost"})
    RECIPES[f"e2e-{_version}"] = kubernetes(_version, tests={"e2e.test": "k8s.io/kubernetes/test/e2e"})
    RECIPES[f"etcd-{_parts['etcd']}"] = etcd(_parts["etcd"])
    RECIPES[f"coredns-{_parts['coredns']}"] = coredns(_parts["coredns"])
# What its servers show where a spec asks for TLS; those of 1.35 do that in all specs of a container's hooks.
RECIPES["agnhost-1.35.4"]["copies"] = {
    f"localhost.{kind}": ("k8s.io/kubernetes", f"test/images/agnhost/porter/localhost.{kind}") for kind in ("crt", "key")}
# That of Kubernetes 1.20, with a reflect2 that today's Go can run (rpms/build-kubernetes says why).
RECIPES["coredns-1.7.0"] = coredns("1.7.0", without=["minimal"], more={"github.com/modern-go/reflect2": "v1.0.2"})
