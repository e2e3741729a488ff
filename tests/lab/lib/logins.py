"""What a login finds on a host: the users' shell, start files that print and change the shell, a proxy that does not answer.

A kind is written SHELL[+noisy][+proxies], such as `tcsh+noisy`."""
import os

from common import Problem, read, write

SHELLS = {"bash": "/bin/bash", "dash": "/bin/dash", "tcsh": "/usr/bin/tcsh", "fish": "/usr/bin/fish"}
TRAITS = ("noisy", "proxies")
USERS = ("root", "maintuser", "sudouser")
# Nobody has this address: what asks it waits until the kernel gives up.
PROXY = "http://10.8.14.254:3128"

POSIX = """echo "Welcome to $(hostname): authorised use only"
echo "start file: no display" >&2
alias ls='ls -la --color=always' cp='cp -i' rm='rm -i'
set -o noclobber
"""
# What each shell reads, from the user's home. Bash reads .bashrc for the commands of an SSH session too.
START_FILES = {
    ".bashrc": POSIX,
    ".profile": POSIX.replace("set -o noclobber", "set -C"),
    ".tcshrc": """echo "Welcome to `hostname`: authorised use only"
sh -c 'echo "start file: no display" >&2'
alias ls 'ls -la --color=always'
alias rm 'rm -i'
set noclobber
""",
    ".config/fish/config.fish": """echo "Welcome to "(hostname)": authorised use only"
echo "start file: no display" >&2
alias ls='ls -la --color=always'
alias rm='rm -i'
""",
}
PROFILE_D = """echo "$(hostname) is managed centrally"
echo "profile: no display" >&2
"""
ENVIRONMENT = f"""http_proxy={PROXY}
https_proxy={PROXY}
HTTP_PROXY={PROXY}
HTTPS_PROXY={PROXY}
no_proxy=localhost,127.0.0.1
"""


def parse(text):
    """The kinds of a list with commas."""
    kinds = []
    for word in filter(None, text.split(",")):
        shell, *traits = word.split("+")
        if shell not in SHELLS or not set(traits) <= set(TRAITS):
            raise Problem(f"{word} is no kind of login: SHELL[+noisy][+proxies], SHELL one of {', '.join(SHELLS)}", 2)
        kinds.append(word)
    return kinds


def seed(root, image, kind):
    """Puts a kind of login into the files that a host boots with."""
    shell, *traits = kind.split("+")
    lines = [line.split(":") for line in read(os.path.join(image, "etc/passwd")).splitlines()]
    users = [fields for fields in lines if fields[0] in USERS]
    for fields in users:
        fields[6] = SHELLS[shell]
    write(f"{root}/etc/passwd", "".join(":".join(fields) + "\n" for fields in lines))
    shells = read(os.path.join(image, "etc/shells"))
    write(f"{root}/etc/shells", shells + "".join(f"{path}\n" for path in SHELLS.values() if path not in shells.split()))
    if "proxies" in traits:
        write(f"{root}/etc/environment", ENVIRONMENT)
    if "noisy" not in traits:
        return
    write(f"{root}/etc/profile.d/zz-site.sh", PROFILE_D)
    for _, _, uid, gid, _, home, _ in users:
        for name, text in START_FILES.items():
            write(f"{root}{home}/{name}", text)
        for where, folders, names in os.walk(f"{root}{home}"):
            for path in (where, *(os.path.join(where, name) for name in folders + names)):
                os.chown(path, int(uid), int(gid))
        os.chmod(f"{root}{home}", os.stat(f"{image}{home}").st_mode & 0o7777)
