"""Writes container images as OCI archives (image-layout of the OCI image specification), from folders of files.

The same files give the same bytes: entries are sorted, owners are root, times are fixed."""
import gzip
import hashlib
import io
import json
import os
import tarfile

from rpmpack import EPOCH

CREATED = "2023-01-01T00:00:00Z"
MANIFEST, CONFIG = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def layer(tree):
    """A layer with everything below a folder. Returns (compressed bytes, digest of the uncompressed tar)."""
    plain, packed = hashlib.sha256(), io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1, mtime=0, filename="") as out:
        with tarfile.open(fileobj=Both(out, plain), mode="w|", format=tarfile.GNU_FORMAT) as tar:
            for where, folders, names in os.walk(tree):
                folders.sort()
                for name in sorted(folders + names):
                    path = os.path.join(where, name)
                    add(tar, path, os.path.relpath(path, tree))
    return packed.getvalue(), "sha256:" + plain.hexdigest()


class Both:
    """A file that is written and hashed at once."""

    def __init__(self, file, digest):
        self.file, self.digest = file, digest

    def write(self, data):
        self.digest.update(data)
        return self.file.write(data)


def add(tar, path, name):
    info = tar.gettarinfo(path, name)
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    info.mtime = int(EPOCH)
    if info.isreg():
        with open(path, "rb") as file:
            tar.addfile(info, file)
    else:
        tar.addfile(info)


def save(path, names, layers, entrypoint=(), command=(), user=""):
    """Writes the archive; `names` are the references under which a runtime keeps the image, `layers` come from layer()."""
    blobs = {}

    def blob(data, kind):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    settings = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    settings.update({key: value for key, value in (("Entrypoint", list(entrypoint)), ("Cmd", list(command)), ("User", user)) if value})
    config = blob(text({"architecture": "amd64", "os": "linux", "created": CREATED, "config": settings,
                        "rootfs": {"type": "layers", "diff_ids": [plain for _, plain in layers]},
                        "history": [{"created": CREATED, "created_by": "the lab"} for _ in layers]}), CONFIG)
    manifest = blob(text({"schemaVersion": 2, "mediaType": MANIFEST, "config": config,
                          "layers": [blob(data, LAYER) for data, _ in layers]}), MANIFEST)
    index = text({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
        {**manifest, "platform": {"architecture": "amd64", "os": "linux"},
         "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}}
        for name in names]})
    members = [("oci-layout", text({"imageLayoutVersion": "1.0.0"})), ("index.json", index)]
    members += [(f"blobs/sha256/{digest}", data) for digest, data in sorted(blobs.items())]
    with tarfile.open(path, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.mtime, info.mode, info.size = int(EPOCH), 0o644, len(data)
            tar.addfile(info, io.BytesIO(data))


def text(value):
    return json.dumps(value, sort_keys=True).encode()
