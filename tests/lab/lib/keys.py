"""SSH keys: one set that logs in everywhere, one set of host keys per host number. Made once per cache."""
import os

from common import CACHE, locked, sh

FOLDER = os.path.join(CACHE, "keys")
KINDS = ("ed25519", "ecdsa", "rsa")


def path(kind):
    """The private key of maintuser (and of root, where root may use a key)."""
    return os.path.join(FOLDER, f"maintuser_{kind}")


def make(file, kind, comment):
    if not os.path.exists(file + ".pub"):
        for stale in (file, file + ".new", file + ".new.pub"):
            if os.path.exists(stale):
                os.remove(stale)
        size = ["-b", "2048"] if kind == "rsa" else []
        sh("ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-C", comment, "-f", file + ".new")
        os.rename(file + ".new", file)
        os.rename(file + ".new.pub", file + ".pub")


def ensure(count):
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    with locked("keys"):
        for kind in KINDS:
            make(path(kind), kind, "maintuser@lab")
        for index in range(count):
            for kind in KINDS:
                make(host_key(index, kind), kind, f"host{index}")


def host_key(index, kind):
    folder = os.path.join(FOLDER, f"host{index}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return os.path.join(folder, f"ssh_host_{kind}_key")


def of_host(index):
    return [host_key(index, kind) + end for kind in KINDS for end in ("", ".pub")]
