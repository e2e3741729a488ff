"""The lab's rpms: Debian packages in the layout of CentOS and Fedora, in groups that are built once and kept."""
import contextlib
import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
import time

import base
import gopack
import images
from common import CACHE, HERE, TOOLS, Problem, locked, need_tools, read, say, sh, sweep, write
from progress import clock, run
from recipes import ALL, BUILT, DROPPED, GROUPS, RECIPES, USERS
from rpmpack import pack

FOLDER = os.path.join(CACHE, "rpms")
COMPILE_KUBERNETES = os.path.join(HERE, "rpms/build-kubernetes")
# Kubernetes 1.20 is compiled by Debian's own Go and by nothing newer that the machine may have. Its compiler is looked for
# in the very search path that the build gets: a `go` elsewhere is of no use to it.
KUBERNETES_PATH = "/usr/lib/go/bin:/usr/bin:/bin:/usr/sbin:/sbin"
KUBERNETES_TOOLS = {"go": "golang-go", "make": "make", "rsync": "rsync", "dpkg-source": "dpkg-dev"}
# How many packages that compiles, for its progress.
KUBERNETES_PACKAGES = 2500


def ensure(groups):
    """Builds the groups that are missing, or that were made by another recipe."""
    for group in groups or GROUPS:
        if group not in ALL:
            raise Problem(f"no group of rpms is called {group}: there are {', '.join(ALL)}", 2)
        if not fresh(group):
            need_tools(TOOLS)
            with locked(f"rpms-{group}"):
                if not fresh(group):
                    build(group)


def recipe(group):
    """A short hash of everything here that decides what a group's rpms and images hold."""
    names = ALL[group]
    overlays = {*names, *(["kubernetes"] if group == "kubernetes" else [])}
    about = [names, {name: RECIPES[name] for name in names if name in RECIPES}, {name: BUILT[name] for name in names if name in BUILT},
             sorted(DROPPED), USERS, gopack.recipe(group)]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    overlays |= {folder for name in names for folder in gopack.named(group)[0].get(name, {}).get("overlay", [])}
    files = [os.path.join(HERE, "lib", name) for name in ("rpms.py", "rpmpack.py", "images.py", "base.py")]
    if any(gopack.named(group)):
        files += [os.path.join(HERE, "lib", name) for name in ("gopack.py", "ociimage.py")]
    if "kubernetes" in overlays:
        files.append(COMPILE_KUBERNETES)
    files += [os.path.join(where, name) for folder in overlays
              for where, _, inside in os.walk(os.path.join(HERE, "rpms", folder)) for name in inside]
    for path in sorted(files):
        digest.update(f"{path[len(HERE):]}\n{read(path)}".encode())
    return digest.hexdigest()[:12]


def fresh(group):
    """rpms/GROUP is a link to the folder that holds what the present recipe makes."""
    link = os.path.join(FOLDER, group)
    return os.path.isdir(link) and os.path.basename(os.path.realpath(link)) == f"{group}-{recipe(group)}"


def paths(groups):
    return sorted(path for group in groups or GROUPS
                  for path in glob.glob(f"{FOLDER}/{group}/*") if os.path.basename(path) != "took")


def build(group):
    store = os.path.join(CACHE, "rpms.built")
    os.makedirs(FOLDER, exist_ok=True)
    os.makedirs(store, exist_ok=True)
    final = os.path.join(store, f"{group}-{recipe(group)}")
    sweep(f"rpms-{group}-*")
    work = tempfile.mkdtemp(prefix=f"rpms-{group}-", dir=CACHE)
    try:
        # Another checkout of another age may have turned the link; what this one made is still there.
        if not os.path.isdir(final):
            say(f"building group {group}")
            begun = time.monotonic()
            make(group, work)
            # Beside the rpms, so that `lab rpms --list` knows it.
            write(os.path.join(work, "done", "took"), f"{time.monotonic() - begun:.0f}\n")
            os.rename(os.path.join(work, "done"), final)
            say(f"group {group}: done in {clock(time.monotonic() - begun)}")
        os.utime(final)
        os.symlink(final, os.path.join(work, "link"))
        os.rename(os.path.join(work, "link"), os.path.join(FOLDER, group))
        # Older ones stay for a while: a test may still be serving them.
        sweep(f"rpms.built/{group}-*", age=6 * 3600)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def make(group, work):
    done = os.path.join(work, "done")
    os.makedirs(done)
    for rpm in from_debian(group, work):
        shutil.move(rpm, done)
    if group == "kubernetes":
        for rpm in kubernetes(work):
            shutil.move(rpm, done)
    if group == "docker":
        images.build(done)
    if any(gopack.named(group)):
        gopack.make(group, done, work, kubernetes_binaries, lambda names: unpacked(names, work))


def from_debian(group, work):
    """Fetches the group's Debian packages and all they need that a base host lacks, and packs each as an rpm."""
    names = [name for name in ALL[group] if name in RECIPES]
    wanted = [deb for name in names for deb in RECIPES[name]["debs"]]
    if not wanted:
        return
    debs = fetch(wanted, work, os.path.join(base.ensure(), "var/lib/dpkg/status"))
    owner = {deb: name for name in names for deb in RECIPES[name]["debs"]}
    # Another group that brings the same library builds the same rpm: dnf sees one package from two places.
    made = {deb: owner.get(deb, deb) for deb in debs if deb not in DROPPED}
    for name in sorted(set(made.values())):
        parts = [deb for deb, where in made.items() if where == name]
        yield from_parts(name, parts, debs, made, work)


def unpacked(wanted, work):
    """A folder with Debian packages and everything that they need, as the root of a container."""
    tree = tempfile.mkdtemp(prefix="root-", dir=work)
    for path, _ in fetch(wanted, tempfile.mkdtemp(dir=work), "/dev/null").values():
        # Apart from the tree: a package's own folder /lib would take the place of the link.
        part = tempfile.mkdtemp(dir=work)
        sh("dpkg-deb", "--extract", path, part)
        merge_usr(part)
        shutil.copytree(part, tree, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(part)
    for name in ("doc", "man", "locale", "lintian", "bug", "info"):
        shutil.rmtree(f"{tree}/usr/share/{name}", ignore_errors=True)
    os.chmod(tree, 0o755)
    return tree


def fetch(wanted, work, status):
    """Downloads what apt would add to a system with this dpkg status. Returns package name -> (file, control fields)."""
    archives = os.path.join(work, "archives")
    os.makedirs(os.path.join(archives, "partial"))
    with locked("apt"):
        sh("apt-get", "-qq", "-y", "--no-install-recommends", "--download-only", "install", *wanted,
           "-o", f"Dir::State::status={status}", "-o", f"Dir::Cache::archives={archives}", "-o", "Debug::NoLocking=1",
           "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "-o", "APT::Sandbox::User=root",
           "-o", "Acquire::Retries=3")
    debs = {}
    for path in sorted(glob.glob(f"{archives}/*.deb")):
        fields = dict(re.findall(r"^([A-Z][\w-]*): (.*)$", sh("dpkg-deb", "--field", path), re.MULTILINE))
        debs[fields["Package"]] = (path, fields)
    return debs


def from_parts(name, parts, debs, made, work):
    recipe = RECIPES.get(name, {})
    tree = os.path.join(work, "trees", name)
    os.makedirs(tree)
    for deb in parts:
        sh("dpkg-deb", "--extract", debs[deb][0], tree)
    merge_usr(tree)
    for pattern in ["/usr/share/doc", "/usr/share/man", "/usr/share/lintian", "/usr/share/locale", "/usr/share/bug",
                    "/etc/init.d", "/etc/default", "/usr/share/bash-completion", *recipe.get("remove", [])]:
        for path in glob.glob(tree + pattern):
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.remove(path)
    for old, new in recipe.get("move", {}).items():
        os.makedirs(os.path.dirname(tree + new), exist_ok=True)
        os.rename(tree + old, tree + new)
    overlay(name, tree)
    for folder in recipe.get("folders", {}):
        os.makedirs(tree + folder, exist_ok=True)
    drop_empty(tree, keep=recipe.get("folders", {}))
    fields = debs[parts[0]][1]
    requires = {made[need] for deb in parts for need in depends(debs[deb][1]) if need in made} - {name}
    return pack(work, name=name, version=recipe.get("version") or upstream(fields["Version"]),
                summary=fields.get("Description", name), tree=tree,
                requires=sorted(requires | set(recipe.get("requires", []))), provides=recipe.get("provides", []),
                scripts=scripts(recipe), attributes=recipe.get("folders", {}),
                base=base.ensure())


def scripts(recipe):
    made = {}
    if recipe.get("users"):
        made["pre"] = "\n".join(USERS[user] for user in recipe["users"])
    if recipe.get("post"):
        made["post"] = recipe["post"]
    else:
        made["post"] = "/sbin/ldconfig || :"
    units = recipe.get("units")
    if units:
        made["post"] += "\nsystemctl daemon-reload >/dev/null 2>&1 || :"
        made["preun"] = (f"if [ $1 -eq 0 ]; then systemctl --no-reload disable --now {units} >/dev/null 2>&1 || :; fi")
        made["postun"] = "systemctl daemon-reload >/dev/null 2>&1 || :"
    return made


def depends(fields):
    """The first alternative of each dependency, without versions."""
    both = ", ".join(filter(None, [fields.get("Pre-Depends"), fields.get("Depends")]))
    return [re.split(r"[ (:|]", entry.strip())[0] for entry in both.split(",") if entry.strip()]


def upstream(version):
    """1:20.10.24+dfsg1-1+deb12u1 -> 20.10.24"""
    return re.sub(r"[+~-].*$", "", version.split(":")[-1])


def merge_usr(tree):
    """A base host has /bin, /sbin and /lib only as links into /usr."""
    for top in ("bin", "sbin", "lib", "lib64"):
        if os.path.isdir(f"{tree}/{top}"):
            shutil.copytree(f"{tree}/{top}", f"{tree}/usr/{top}", symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(f"{tree}/{top}")


def overlay(name, tree):
    """Our own files for a package: unit files and settings as CentOS has them."""
    ours = os.path.join(HERE, "rpms", name)
    if os.path.isdir(ours):
        shutil.copytree(ours, tree, symlinks=True, dirs_exist_ok=True)


def drop_empty(tree, keep):
    for where, _, _ in os.walk(tree, topdown=False):
        if where[len(tree):] not in keep:
            with contextlib.suppress(OSError):
                os.rmdir(where)


def kubernetes_binaries():
    """The folder of the binaries of Kubernetes 1.20.2, compiled from Debian's source package when the cache has none
    that this recipe made."""
    final = os.path.join(CACHE, f"kubernetes-1.20.2-{hashlib.sha256(read(COMPILE_KUBERNETES).encode()).hexdigest()[:12]}")
    with locked("kubernetes-1.20.2"):
        if not os.path.isdir(final):
            need_tools(KUBERNETES_TOOLS, path=KUBERNETES_PATH)
            sweep("kubernetes-build-*")
            work = tempfile.mkdtemp(prefix="kubernetes-build-", dir=CACHE)
            try:
                run(COMPILE_KUBERNETES, os.path.join(work, "kubernetes"), os.path.join(work, "out"),
                    title="compiling Kubernetes 1.20.2", total=KUBERNETES_PACKAGES, unit="packages",
                    env={**os.environ, "PATH": KUBERNETES_PATH})
                os.rename(os.path.join(work, "out"), final)
            finally:
                shutil.rmtree(work, ignore_errors=True)
            sweep("kubernetes-1.20.2*", age=14 * 86400)
    os.utime(final)
    return final


def kubernetes(work):
    """Packs Kubernetes 1.20.2 in Fedora's four packages."""
    binaries = kubernetes_binaries()
    for name in ("kubernetes-master", "kubernetes-node", "kubernetes-client", "kubernetes-kubeadm"):
        recipe = BUILT[name]
        tree = os.path.join(work, "trees", name)
        os.makedirs(f"{tree}/usr/bin")
        for binary in recipe["binaries"]:
            shutil.copy2(f"{binaries}/{binary}", f"{tree}/usr/bin/{binary}")
        ours = os.path.join(HERE, "rpms/kubernetes", name.removeprefix("kubernetes-"))
        if os.path.isdir(ours):
            shutil.copytree(ours, tree, dirs_exist_ok=True)
        for folder in recipe.get("folders", {}):
            os.makedirs(tree + folder, exist_ok=True)
        yield pack(work, name=name, version="1.20.2", summary=recipe["summary"], tree=tree,
                   requires=recipe.get("requires", []), scripts=scripts(recipe), attributes=recipe.get("folders", {}),
                   base=base.ensure())


def listing():
    """A line for each rpm and image: group, file, size; and what building each group took, without what was compiled before."""
    lines = []
    for group in ALL:
        folder = os.path.join(FOLDER, group)
        if not fresh(group):
            lines.append(f"{group}: not built{'' if group in GROUPS else ' (only on demand)'}")
            continue
        lines.append(f"{group}: built in {clock(int(read(os.path.join(folder, 'took'), '0') or 0))}")
        for path in paths([group]):
            lines.append(f"  {os.path.getsize(path) / 1e6:8.1f} MB  {os.path.basename(path)}")
    for path in sorted(glob.glob(os.path.join(CACHE, "go", "*"))):
        lines.append(f"compiled {os.path.basename(path)[:-13]} in {clock(int(read(os.path.join(path, 'took'), '0') or 0))}")
    return "\n".join(lines)


def report(groups):
    return json.dumps({group: paths([group]) for group in groups or GROUPS}, indent=2)


