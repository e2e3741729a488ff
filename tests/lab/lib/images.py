"""Two container images, made without any container engine, in the form that `docker load` reads."""
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile

from common import Problem, sh
from rpmpack import EPOCH

PAUSE = r"""
/* Holds a pod's namespaces and reaps what is orphaned in them. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int signal) { (void)signal; _exit(0); }
static void reap(int signal) { (void)signal; while (waitpid(-1, NULL, WNOHANG) > 0) {} }
int main(void) {
    signal(SIGINT, end);
    signal(SIGTERM, end);
    signal(SIGCHLD, reap);
    for (;;) pause();
}
"""


def build(folder):
    """Writes pause.tar and busybox.tar into the folder."""
    work = tempfile.mkdtemp(prefix="images-", dir=folder)
    try:
        with open(os.path.join(pause(work), "pause"), "rb") as file:
            program = file.read()
        # kubelet 1.20's own default name for the pod sandbox
        save(f"{folder}/pause.tar", ["k8s.gcr.io/pause:3.2"], [("pause", program)], ["/pause"])
        save(f"{folder}/busybox.tar", ["busybox:latest"], busybox(work), ["sh"])
    finally:
        shutil.rmtree(work, ignore_errors=True)


def pause(work):
    """Compiles the program that holds a pod's namespaces; returns its folder."""
    folder = os.path.join(work, "pause-program")
    os.makedirs(folder)
    source = os.path.join(work, "pause.c")
    with open(source, "w", encoding="utf-8") as file:
        file.write(PAUSE)
    sh("gcc", "-static", "-Os", "-s", "-o", f"{folder}/pause", source)
    return folder


def busybox(work):
    sh("apt-get", "-qq", "download", "busybox-static", "-o", "APT::Sandbox::User=root", cwd=work)
    debs = [name for name in os.listdir(work) if name.endswith(".deb")]
    if len(debs) != 1:
        raise Problem("apt-get download busybox-static brought no package")
    sh("dpkg-deb", "--extract", f"{work}/{debs[0]}", f"{work}/busybox")
    program = next(path for path in (f"{work}/busybox/bin/busybox", f"{work}/busybox/usr/bin/busybox")
                   if os.path.exists(path))
    with open(program, "rb") as file:
        content = file.read()
    members = [("bin/busybox", content), ("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n"), ("etc/group", b"root:x:0:\n")]
    members += [("tmp/", None), ("www/", None)]
    members += [(f"bin/{name}", "busybox") for name in sorted(set(sh(program, "--list").split())) if name != "busybox"]
    return members


def save(path, tags, members, command):
    """One layer, one config, one manifest, with fixed times and owners: the same input gives the same bytes."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members:
            add(tar, name, content)
    layer = layer.getvalue()
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "created": "2023-01-01T00:00:00Z",
        "config": {"Cmd": command, "Env": ["PATH=/bin:/usr/bin:/sbin:/usr/sbin"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        "history": [{"created": "2023-01-01T00:00:00Z", "created_by": "the lab"}],
    }, sort_keys=True).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps([{"Config": name, "RepoTags": tags, "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for member, content in ((name, config), ("layer.tar", layer), ("manifest.json", manifest)):
            add(tar, member, content)


def add(tar, name, content):
    """bytes: an executable file; str: a link to that name; None: a folder."""
    info = tarfile.TarInfo(name)
    info.mtime, info.mode = int(EPOCH), 0o755
    if content is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(info)
    elif isinstance(content, str):
        info.type, info.linkname = tarfile.SYMTYPE, content
        tar.addfile(info)
    else:
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
