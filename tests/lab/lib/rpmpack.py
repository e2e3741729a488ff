"""Writes a spec file for a folder of files and lets rpmbuild make the rpm."""
import glob
import os
import subprocess

from common import Problem

# Times in the packages are this one (2023-01-01), so that the same input gives the same rpm.
EPOCH = "1672531200"
SPEC = """\
%global __os_install_post %{{nil}}
%global debug_package %{{nil}}
%global _build_id_links none
%global _binary_payload w3.zstdio
%global use_source_date_epoch_as_buildtime 1
%global clamp_mtime_to_source_date_epoch 1
%global _buildhost lab
Name: {name}
Version: {version}
Release: {release}.el9
Summary: {summary}
License: See the upstream project
AutoReqProv: no
{tags}
%description
{summary}, packed for the test lab.
{scripts}
%files
{files}
"""


def pack(work, name, version, release="1", summary="", requires=(), provides=(), conflicts=(), arch="x86_64",
         tree=None, scripts=None, attributes=None, base=""):
    """Returns the path of the rpm made from the files under `tree`. `scripts` maps pre, post, preun, postun to shell;
    `attributes` maps a path in the tree to (mode, user, group). Folders that `base` lacks belong to the package."""
    tags = [f"Requires: {word}" for word in requires] + [f"Provides: {word}" for word in provides]
    tags += [f"Conflicts: {word}" for word in conflicts]
    body = "\n".join(f"%{kind}\n{text.strip()}\n" for kind, text in (scripts or {}).items())
    files = listing(tree, attributes or {}, base) if tree else ""
    spec = os.path.join(work, f"{name}.spec")
    with open(spec, "w", encoding="utf-8") as file:
        file.write(SPEC.format(name=name, version=version, release=release, summary=summary or name,
                               tags="\n".join(tags), scripts=body, files=files))
    top = os.path.join(work, f"rpmbuild-{name}")
    root = tree or os.path.join(work, f"empty-{name}")
    os.makedirs(root, exist_ok=True)
    done = subprocess.run(
        ["rpmbuild", "-bb", "--quiet", "--noclean", "--target", f"{arch}-linux", "--define", f"_topdir {top}",
         "--define", "_sourcedir /nonexistent", "--buildroot", root, spec],
        text=True, capture_output=True, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH, "LC_ALL": "C"}, check=False)
    made = glob.glob(f"{top}/RPMS/*/*.rpm")
    if done.returncode != 0 or len(made) != 1:
        raise Problem(f"rpmbuild {name}: {done.stderr.strip()[-2000:]}")
    return made[0]


def listing(tree, attributes, base):
    """The %files lines: every file and link, and the folders that go when the package goes."""
    lines = []
    for where, folders, names in sorted(os.walk(tree)):
        links = [folder for folder in folders if os.path.islink(os.path.join(where, folder))]
        for name in sorted(names + links):
            lines.append(line(tree, os.path.join(where, name), attributes))
        inside = where[len(tree):]
        if inside and (inside in attributes or not os.path.isdir(base + inside)):
            lines.append("%dir " + line(tree, where, attributes))
    return "\n".join(lines)


def line(tree, path, attributes):
    inside = path[len(tree):]
    mode, user, group = attributes.get(inside, ("-", "root", "root"))
    # As rpm has it: settings that the user changed are kept.
    prefix = "%config(noreplace) " if inside.startswith("/etc/") and not os.path.isdir(path) else ""
    return f'{prefix}%attr({mode},{user},{group}) "{inside}"'
