"""Resolves packages with all that they require, for an empty system, and downloads them: by dnf 4, through its API.

A request flows in on standard input as one line of JSON; lines of JSON flow out, the last of them being `done` or `failed`.
Everything dnf keeps lies in the request's folder; nothing of this machine's own dnf or rpm is read or written. When standard input
ends, whoever asked is gone, and so is this program. RHEL 8 runs it by Python 3.6.
"""

import json
import logging
import os
import re
import sys
import threading
import time


def say(**line):
    with lock:
        out.write(json.dumps(line) + "\n")
        out.flush()


def fail(kind, text, **more):
    # A URL may have a login in it.
    text = re.sub(r"://[^/@\s]+@", "://", " ".join(text.split()))
    say(step="failed", kind=kind, text=text, **more)
    os._exit(1)


def end_with_parent():
    while sys.stdin.readline():
        pass
    os._exit(1)


# Standard output is the answer; what dnf prints goes where standard error goes.
out, lock = os.fdopen(os.dup(1), "w"), threading.Lock()
os.dup2(2, 1)
request = json.loads(sys.stdin.readline())
threading.Thread(target=end_with_parent, daemon=True).start()

try:
    import dnf
    import dnf.callback
    import dnf.conf
    import dnf.exceptions
except ImportError as e:
    fail("dnf", str(e))


class Warned(logging.Handler):
    """What dnf warns of: its errors name a repository, its warnings the URL and what went wrong there."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


warned = Warned()
for handler in (warned, logging.StreamHandler(sys.stderr)):
    logging.getLogger("dnf").addHandler(handler)


class Progress(dnf.callback.DownloadProgress):
    """Bytes that are here, at most five times a second."""

    def start(self, total_files, total_size, total_drpms=0):
        self.done, self.said = {}, 0

    def progress(self, payload, done):
        self.done[str(payload)] = done
        if time.monotonic() - self.said > 0.2:
            self.said = time.monotonic()
            say(step="bytes", done=int(sum(self.done.values())))

    def end(self, payload, status, msg):
        self.done[str(payload)] = payload.download_size
        self.progress(payload, payload.download_size)


def base():
    """dnf for a system that is empty: its installed packages are none, its keys those of the repository files."""
    made = dnf.Base(dnf.conf.Conf())
    conf = made.conf
    for option in ("installroot", "cachedir", "persistdir", "logdir"):
        folder = os.path.join(request["folder"], option)
        os.makedirs(folder, exist_ok=True)
        setattr(conf, option, folder)
    conf.reposdir, conf.varsdir, conf.config_file_path = [request["repos"]], [], os.devnull
    if hasattr(conf, "optional_metadata_types"):
        # Newer versions leave them out, and then do not find who has a file.
        conf.optional_metadata_types = ["filelists"]
    for variable, value in request["variables"].items():
        conf.substitutions[variable] = value
    if request["platform"]:
        conf.module_platform_id = "platform:" + request["platform"]
    # Kubernetes' own instructions exclude its packages from updates of a host; they are what is wanted here.
    conf.disable_excludes = ["all"]
    conf.gpgcheck, conf.best, conf.install_weak_deps, conf.keepcache = True, True, False, True
    conf.skip_if_unavailable, conf.metadata_expire = False, 0
    if request["proxy"]:
        conf.proxy = request["proxy"]
    made.read_all_repos()
    enabled = list(made.repos.iter_enabled())
    if not enabled:
        fail("repository", "no repository is enabled in the repository files")
    for repo in enabled:
        repo.skip_if_unavailable, repo.metadata_expire = False, 0
        if not repo.gpgcheck:
            say(step="unchecked", repo=repo.id)
    made.fill_sack(load_system_repo=False)
    return made


def want(made):
    """Marks the packages; of alternatives, the first that a repository has."""
    absent = []
    for wanted in request["packages"]:
        for name in wanted["names"]:
            try:
                made.install(name)
                break
            except dnf.exceptions.MarkingError:
                pass
        else:
            absent.append({"names": wanted["names"], "needed": wanted["needed"]})
    needed = [" or ".join(one["names"]) for one in absent if one["needed"]]
    if needed:
        repos = ", ".join(repo.id for repo in made.repos.iter_enabled())
        fail("names", "no repository has " + ", ".join(needed), repos=repos)
    for one in absent:
        say(step="absent", name=" or ".join(one["names"]))


def check_signature(made, package):
    code, why = made.package_signature_check(package)
    if code == 1:
        try:
            made.package_import_key(package, fullaskcb=lambda key: True)
        except (dnf.exceptions.Error, OSError, ValueError) as e:
            fail("signature", f"the signature of {package} (repository {package.reponame}) cannot be checked: {e}")
        code, why = made.package_signature_check(package)
    return why if code else None


def main():
    made = base()
    want(made)
    made.resolve()
    packages = sorted(made.transaction.install_set)
    say(step="resolved", count=len(packages), bytes=sum(package.downloadsize for package in packages))
    made.download_packages(packages, Progress())
    checked = [(p.reponame, check_signature(made, p)) for p in packages]
    refused = [f"{why} (repository {repo})" for repo, why in checked if why]
    if refused:
        fail("signature", "; ".join(refused))
    found = [
        {
            "nevra": f"{p.name}-{p.epoch}:{p.version}-{p.release}.{p.arch}",
            "url": p.remote_location() or "file://" + p.localPkg(),
            "path": p.localPkg(),
        }
        for p in packages
    ]
    say(step="done", packages=found)


try:
    main()
except dnf.exceptions.RepoError as e:
    fail("repository", "; ".join([str(e), *warned.texts]))
except dnf.exceptions.DepsolveError as e:
    fail("dependencies", str(e))
except dnf.exceptions.DownloadError as e:
    fail("download", str(e))
except (dnf.exceptions.Error, OSError, ValueError) as e:
    fail("dnf", f"{type(e).__name__}: {e}")
# dnf's own clean-up at exit has nothing to do here.
os._exit(0)
