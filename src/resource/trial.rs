//! For tests: the real scripts run on this machine, in a folder of their own, with programs that write down how they were
//! called. Each test runs with both shells: bash, which is `sh` on hosts, and this machine's `sh`, which may be a stricter one.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::kind::undo_script;
use super::record::{READS_RECORD, RECORD_DIR, WRITES};

/// Programs that must never be this machine's own.
const PROGRAMS: [&str; 16] = [
    "systemctl",
    "journalctl",
    "rpm",
    "firewall-cmd",
    "ip",
    "firewall-offline-cmd",
    "sysctl",
    "setsebool",
    "getsebool",
    "modprobe",
    "swapon",
    "swapoff",
    "docker",
    "ctr",
    "sync",
    "fapolicyd-cli",
];

/// Places of a host that scripts name, and what stands for them here.
const PLACES: [(&str, &str); 12] = [
    (RECORD_DIR, "state"),
    ("/etc /usr /var", "root"),
    ("/run/sunshine-installer", "run"),
    ("/etc/fstab", "fstab"),
    ("/etc/dnf/dnf.conf", "dnf.conf"),
    ("/etc/yum.conf", "yum.conf"),
    ("/etc/fapolicyd/trust.d", "trust.d"),
    ("/proc/swaps", "swaps"),
    ("/proc/self/mountinfo", "mountinfo"),
    ("/proc/modules", "modules"),
    ("/proc/filesystems", "filesystems"),
    ("/proc/sys/net/bridge", "bridge"),
];

/// A host that is a folder.
pub(super) struct Trial {
    dir: tempfile::TempDir,
    shell: &'static str,
}

/// How a script ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub ok: bool,
    pub out: String,
    pub said: String,
}

impl Trial {
    /// The test, with each shell.
    pub(super) fn each(test: impl Fn(&Self)) {
        for shell in ["sh", "bash"] {
            let there = Command::new(shell).args(["-c", ":"]).status().is_ok_and(|status| status.success());
            if there {
                test(&Self::new(shell));
            }
        }
    }

    fn new(shell: &'static str) -> Self {
        let trial = Self { dir: tempfile::tempdir().unwrap(), shell };
        for name in ["bin", "state", "root"] {
            std::fs::create_dir(trial.at(name)).unwrap();
        }
        for name in PROGRAMS {
            trial.program(name, "");
        }
        for name in ["fstab", "modules", "filesystems", "mountinfo"] {
            trial.write(name, "");
        }
        trial.write("swaps", "Filename Type Size Used Priority\n");
        trial
    }

    pub(super) fn at(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.at(name), text).unwrap();
    }

    /// A file's text; nothing when it is not there.
    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name)).unwrap_or_default()
    }

    pub(super) fn there(&self, name: &str) -> bool {
        std::fs::symlink_metadata(self.at(name)).is_ok()
    }

    /// A program: it writes down how it is called, then does this, `$at` being the folder.
    pub(super) fn program(&self, name: &str, body: &str) {
        let at = self.at("");
        let script = format!("#!/bin/sh\nat={at}\necho {name} \"$@\" >>\"${{at}}calls\"\n{body}\n");
        let path = self.at(&format!("bin/{name}"));
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// How programs were called since this was last asked.
    pub(super) fn calls(&self) -> String {
        let calls = self.read("calls");
        self.write("calls", "");
        calls
    }

    /// A script that only looks.
    pub(super) fn look(&self, text: &str, arguments: &[&str]) -> Ran {
        self.run(&format!("{READS_RECORD}{text}"), arguments, "")
    }

    /// A script that changes the host, with its record's head.
    pub(super) fn change(&self, text: &str, arguments: &[&str]) -> Ran {
        self.change_with(text, arguments, "")
    }

    /// The same, with standard input.
    pub(super) fn change_with(&self, text: &str, arguments: &[&str], input: &str) -> Ran {
        self.run(&format!("{WRITES}{text}"), &[&["e-1\t0.1.0"], arguments].concat(), input)
    }

    /// As [`Self::change`], by a run of another environment.
    pub(super) fn change_of(&self, environment: &str, text: &str, arguments: &[&str]) -> Ran {
        let owner = format!("{environment}\t0.1.0");
        self.run(&format!("{WRITES}{text}"), &[&[owner.as_str()], arguments].concat(), "")
    }

    /// The script that undoes what the trial's own environment did: `all`, or `some` and what.
    pub(super) fn undo(&self, arguments: &[&str]) -> Ran {
        self.undo_of("e-1", arguments)
    }

    /// The same of other environments.
    pub(super) fn undo_of(&self, environments: &str, arguments: &[&str]) -> Ran {
        self.change(undo_script(), &[&arguments[..1], &[environments], &arguments[1..]].concat())
    }

    fn run(&self, script: &str, arguments: &[&str], input: &str) -> Ran {
        let here = |text: String, (place, name): &(&str, &str)| text.replace(place, &self.at(name));
        let here = |text: &str| PLACES.iter().fold(text.to_owned(), here);
        let path = format!("{}:{}", self.at("bin"), std::env::var("PATH").unwrap());
        let mut command = Command::new(self.shell);
        let given = self.at("standard-input");
        std::fs::write(&given, input).unwrap();
        let output = command
            .stdin(std::fs::File::open(&given).unwrap())
            .args(["-c", &here(script), "sh"])
            .args(arguments.iter().map(|word| here(word)))
            .env("PATH", path)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { ok: output.status.success(), out: text(&output.stdout), said: text(&output.stderr) }
    }

    /// What is recorded, each `KIND NAME BEFORE`.
    pub(super) fn recorded(&self) -> Vec<String> {
        let text = self.read("state/record");
        let lines = text.lines().filter(|line| !line.starts_with("format\t"));
        lines.map(|line| line.split('\t').take(3).collect::<Vec<_>>().join(" ")).collect()
    }
}
