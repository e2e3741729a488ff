"""Login shells that the base image lacks: a layer of files above it, below each host's disk.

They are apart from the image so that a change here makes neither it nor the rpms anew."""
import hashlib
import os
import shutil
import tempfile

import base
import rpms
from common import CACHE, locked, read, say, sh, sweep

# Debian's packages of which files are taken; what else they depend on is for people at a terminal.
PACKAGES = ("fish", "fish-common", "libpcre2-32-0", "tcsh")
UNUSED = ("completions", "man", "groff", "tools")


def ensure():
    """Returns the layer's folder, made when it is missing."""
    recipe = hashlib.sha256((read(__file__) + base.path()).encode()).hexdigest()[:12]
    layer = os.path.join(CACHE, f"shells-{recipe}")
    if os.path.isdir(layer):
        # In use: the sweep below takes what nobody booted with for days.
        os.utime(layer)
        return layer
    with locked("shells"):
        if not os.path.isdir(layer):
            say("adding tcsh and fish to the hosts' image (once)")
            sweep("shells-work-*")
            work = tempfile.mkdtemp(prefix="shells-work-", dir=CACHE)
            try:
                os.rename(build(work), layer)
                sweep("shells-*", age=3 * 86400)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return layer


def build(work):
    debs = rpms.fetch(["fish", "tcsh"], work, os.path.join(base.ensure(), "var/lib/dpkg/status"))
    tree = os.path.join(work, "tree")
    os.mkdir(tree, 0o755)
    for name in PACKAGES:
        path, _ = debs[name]
        sh("dpkg-deb", "--extract", path, tree)
    # The image's /bin is a link, which a folder of this layer would hide.
    rpms.merge_usr(tree)
    for name in os.listdir(f"{tree}/usr/share"):
        if name != "fish":
            shutil.rmtree(f"{tree}/usr/share/{name}")
    for name in UNUSED:
        shutil.rmtree(f"{tree}/usr/share/fish/{name}", ignore_errors=True)
    return tree
