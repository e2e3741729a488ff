"""Packs what gobuild.py compiles: rpms in the layouts of pkgs.k8s.io and docker's repository, and container images under
upstream's names."""
import os
import shutil

import base
import gobuild
import images
import ociimage
from common import HERE, Problem, sh
from gorecipes import RECIPES as BUILDS
from recipes import ALL, GO_RPMS, IMAGES, LAYERS, LOOSE
from rpmpack import pack


def named(group):
    """What a group holds of ours: (rpms, images, loose programs), each as name -> recipe."""
    return ({name: GO_RPMS[name] for name in ALL[group] if name in GO_RPMS}, IMAGES.get(group, {}), LOOSE.get(group, {}))


def builds(group):
    """The builds whose programs a group holds, in the order in which they are compiled."""
    rpms, pictures, loose = named(group)
    found = [part for recipe in [*rpms.values(), *pictures.values()] for part in recipe["files"].values()]
    return list(dict.fromkeys(build for build, _ in [*found, *loose.values()]))


def recipe(group):
    """All data that decides what make() writes, for a hash."""
    return [named(group), LAYERS, {build: BUILDS[build] for build in builds(group) if build in BUILDS}]


def make(group, done, work, debian, unpack):
    """Writes the group's rpms, images and files into `done`. `debian` answers with the folder of Kubernetes 1.20's
    binaries; `unpack` makes a folder of Debian packages with all that they need."""
    rpms, pictures, loose = named(group)
    folders = {build: debian() if build == "debian" else images.pause(work) if build == "pause" else gobuild.ensure(build)
               for build in builds(group)}

    def program(part):
        return os.path.join(folders[part[0]], part[1])

    for name, about in rpms.items():
        shutil.move(rpm(name, about, program, work), done)
    below = {}
    for name, about in pictures.items():
        kind = about.get("below")
        if kind and kind not in below:
            below[kind] = ociimage.layer(system(unpack(LAYERS[kind])))
        tree = os.path.join(work, "images", name)
        lay(tree, about["files"], program)
        layers = [layer for layer in (below.get(kind), ociimage.layer(tree)) if layer]
        ociimage.save(f"{done}/{name}.tar", about["refs"], layers, about.get("entrypoint", ()), about.get("command", ()),
                      about.get("user", ""))
    for name, part in loose.items():
        shutil.copy2(program(part), os.path.join(done, name))
    check_list(pictures, rpms, program)


def rpm(name, about, program, work):
    from rpms import scripts
    tree = os.path.join(work, "trees", name)
    lay(tree, about["files"], program)
    for folder in about.get("overlay", []):
        shutil.copytree(os.path.join(HERE, "rpms", folder), tree, symlinks=True, dirs_exist_ok=True)
    for folder in about.get("folders", {}):
        os.makedirs(tree + folder, exist_ok=True)
    return pack(work, name=about["name"], version=about["version"], summary=about["summary"], tree=tree,
                requires=about.get("requires", []), provides=about.get("provides", []), conflicts=about.get("conflicts", []),
                scripts=scripts(about), attributes=about.get("folders", {}), base=base.ensure())


def lay(tree, files, program):
    for path, part in files.items():
        os.makedirs(os.path.dirname(tree + path), exist_ok=True)
        shutil.copyfile(program(part), tree + path)
        os.chmod(tree + path, 0o755)


def system(tree):
    """Makes unpacked Debian packages a root that programs can run in: what their maintainer scripts would do."""
    for top in ("bin", "sbin", "lib", "lib64"):
        os.makedirs(f"{tree}/usr/{top}", exist_ok=True)
        if not os.path.lexists(f"{tree}/{top}"):
            os.symlink(f"usr/{top}", f"{tree}/{top}")
    links = {"bin/sh": "dash", "bin/nc": "nc.openbsd", "bin/awk": "mawk",
             **{f"sbin/{name}": "xtables-nft-multi" for name in (
                 "iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")}}
    for link, target in links.items():
        path = f"{tree}/usr/{link}"
        if not os.path.lexists(path) and os.path.lexists(os.path.join(os.path.dirname(path), target)):
            os.symlink(target, path)
    for path, text in (("passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("group", "root:x:0:\n"),
                       ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")):
        os.makedirs(f"{tree}/etc", exist_ok=True)
        with open(f"{tree}/etc/{path}", "w", encoding="ascii") as file:
            file.write(text)
    os.makedirs(f"{tree}/tmp", exist_ok=True)
    os.chmod(f"{tree}/tmp", 0o1777)
    return tree


def check_list(pictures, rpms, program):
    """kubeadm must find the very images that it names."""
    for name, about in rpms.items():
        if about["name"] != "kubeadm" or about["version"].startswith("1.20."):
            continue
        wanted = set(sh(program(about["files"]["/usr/bin/kubeadm"]), "config", "images", "list", "--kubernetes-version",
                        f"v{about['version']}").split())
        here = {ref for picture in pictures.values() for ref in picture["refs"]}
        if wanted != here:
            raise Problem(f"{name} names other images than tests/lab/lib/gorecipes.py: {sorted(wanted ^ here)}")
