//! What a host's kernel does now: modules, sysctls, swap. Files keep it so over a restart ([`super::Files`]).

use crate::host::Command;
use crate::plan::{Check, Cx, Owned, StepError, Work};

use super::kind::Kind;
use super::record::recording;

/// A sysctl: the value that it had. A key that is gone with its module has nothing to set.
pub(super) const SYSCTL: Kind = Kind {
    name: "sysctl",
    plural: "sysctl(s)",
    undo: r#"undo_sysctl() { sysctl -qw "$1=$2" 2>/dev/null || :; }
"#,
    alone: Some(|key| format!("set {key} as it was")),
};

/// A kernel module: `-` it was not loaded. One that something uses by now stays loaded.
pub(super) const MODULE: Kind = Kind {
    name: "module",
    plural: "kernel module(s)",
    undo: r#"undo_module() { modprobe -r -- "$1" 2>/dev/null || :; }
"#,
    alone: Some(|name| format!("unload kernel module {name}")),
};

/// Swap on a device or file: `on`. /etc/fstab names it as before.
pub(super) const SWAP: Kind = Kind {
    name: "swap",
    plural: "swap device(s)",
    undo: r#"begin_swap() {
  ! grep -qs '^#sunshine-installer# ' /etc/fstab || rewrite /etc/fstab sed 's/^#sunshine-installer# //' ||
    failed "swap in /etc/fstab cannot be named again"
}
undo_swap() {
  grep -q "^$1[[:space:]]" /proc/swaps || swapon "$1" 2>/dev/null || failed "swap $1 cannot be switched on again"
}
"#,
    alone: Some(|device| format!("switch swap {device} on")),
};

/// A unit that switches swap on when the host starts, of a generator (zram, a GPT partition) or of the site: `masked`, or `disabled`
/// where its file is the site's own, which cannot be masked.
pub(super) const SWAP_UNIT: Kind = Kind {
    name: "swap-unit",
    plural: "swap unit(s)",
    undo: r#"undo_swap_unit() { case $2 in
  masked) systemctl unmask -q "$1";;
  *) systemctl enable -q "$1";;
esac 2>/dev/null || failed "the unit $1 cannot be enabled again"; }
"#,
    alone: Some(|unit| format!("enable {unit}")),
};

/// A kernel module, and how to see that what it brings is there: it may be built in, and has no name then.
#[derive(Debug, Clone, Copy)]
pub struct Module {
    pub name: &'static str,
    pub brings: Brings,
}

/// What a module brings.
#[derive(Debug, Clone, Copy)]
pub enum Brings {
    FileSystem(&'static str),
    /// A folder of `/proc` or `/sys`.
    Folder(&'static str),
}

/// The kernel is as it should be now: these modules, these sysctls, and, if so wanted, no swap.
#[derive(Debug)]
pub struct Kernel {
    pub modules: Vec<Module>,
    /// Key and value.
    pub sysctls: Vec<(&'static str, &'static str)>,
    pub swap_off: bool,
}

/// Prints the units that would switch swap on when the host starts: such of systemd's own kind, and services that are known to do it by
/// a script (zram-tools, dphys-swapfile, swapspace). By a pattern: with a type alone systemd looks into every unit
/// file that there is, for a second and more on a busy host.
macro_rules! swap_units {
    () => {
        r#"swap_units() {
  systemctl list-unit-files --no-legend '*.swap' '*zram*.service' 'swap*.service' '*-swap.service' dphys-swapfile.service 2>/dev/null |
    awk '$1 ~ /[.]swap$/ ? $2 != "masked" && $2 != "disabled" : $2 ~ /^enabled/ {print $1}'
}
"#
    };
}

/// `on | off`, then `MODULE filesystem|folder WHAT… -- KEY VALUE…`: prints what is not as it should be.
const LOOK: &str = concat!(
    swap_units!(),
    r#"there() { case $1 in
  filesystem) grep -qw -- "$2" /proc/filesystems;;
  folder) [ -d "$2" ];;
esac; }
swap=$1; shift
while [ "$1" != -- ]; do there "$2" "$3" || printf 'load module %s\n' "$1"; shift 3; done
shift
while [ $# -gt 0 ]; do
  is=$(sysctl -n "$1" 2>/dev/null); [ "$is" = "$2" ] || printf 'set %s = %s (is %s)\n' "$1" "$2" "${is:-not there}"
  shift 2
done
[ "$swap" = off ] || exit 0
[ "$(awk 'NR>1' /proc/swaps | wc -l)" = 0 ] || echo 'switch swap off'
swap_units | sed 's/^/keep swap off when the host starts: /'"#
);

/// As [`LOOK`]: makes it so.
const SET: &str = concat!(
    "set -eu\n",
    include_str!("rewrite.sh"),
    swap_units!(),
    r#"swap=$1; shift
while [ "$1" != -- ]; do
  grep -qw "^$1" /proc/modules || note module "$1" -
  modprobe "$1"
  shift 3
done
shift
while [ $# -gt 0 ]; do
  is=$(sysctl -n "$1"); [ "$is" = "$2" ] || { note sysctl "$1" "$is"; sysctl -qw "$1=$2"; }
  shift 2
done
[ "$swap" = off ] || exit 0
awk 'NR>1 {print $1}' /proc/swaps | while read -r s; do note swap "$s" on; done
if [ "$(awk 'NR>1' /proc/swaps | wc -l)" != 0 ]; then
  # First of all: a run that is killed here has swap that is on to tell the next one.
  if grep -qs '^[^#].*[[:space:]]swap[[:space:]]' /etc/fstab; then
    # As it was, for whoever has to look.
    mkdir -p "$d/backup"
    [ -e "$d/backup/fstab" ] || { cp -a /etc/fstab "$d/backup/fstab.new" && mv -fT "$d/backup/fstab.new" "$d/backup/fstab"; }
    rewrite /etc/fstab sed '/^[^#].*[[:space:]]swap[[:space:]]/s/^/#sunshine-installer# /'
  fi
  swapoff -a
  # The units of its lines go.
  systemctl daemon-reload
fi
swap_units | while read -r u; do
  if [ -f "/etc/systemd/system/$u" ]; then
    note swap-unit "$u" disabled
    systemctl disable -q "$u"
  else
    note swap-unit "$u" masked
    systemctl mask -q "$u"
  fi
done"#
);

impl Kernel {
    fn arguments(&self) -> Vec<&'static str> {
        let mut words = vec![if self.swap_off { "off" } else { "on" }];
        for module in &self.modules {
            words.extend(match module.brings {
                Brings::FileSystem(name) => [module.name, "filesystem", name],
                Brings::Folder(path) => [module.name, "folder", path],
            });
        }
        words.push("--");
        words.extend(self.sysctls.iter().flat_map(|(key, value)| [*key, *value]));
        words
    }
}

impl Work for Kernel {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let look = Command::script(LOOK).args(self.arguments()).label("look at modules, sysctls and swap");
        let output = cx.host()?.run(&look)?;
        Ok(Check::from_changes(output.text().lines().map(str::to_owned).collect()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let set = recording(cx.owner()?, SET).args(self.arguments());
        cx.host()?.run_ok(&set.label("modprobe, sysctl, swapoff"))?;
        Ok(())
    }

    fn owns(&self) -> Vec<Owned> {
        let modules = self.modules.iter().map(|module| MODULE.owned(module.name));
        let sysctls = self.sysctls.iter().map(|(key, _)| SYSCTL.owned(key));
        // Which swap a host has, the plan does not know.
        modules
            .chain(sysctls)
            .chain(self.swap_off.then(|| [SWAP.every(), SWAP_UNIT.every()]).into_iter().flatten())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::trial::Trial;

    const SYSCTL: &str = r#"case $1 in
  -n) cat "${at}root/$2" 2>/dev/null;;
  -qw) [ -e "${at}root/${2%%=*}" ] && printf '%s\n' "${2#*=}" >"${at}root/${2%%=*}";;
esac"#;
    const MODPROBE: &str = r#"case $1 in
  -r) [ ! -e "${at}used" ] && : >"${at}modules" && rmdir "${at}bridge";;
  *) mkdir -p "${at}bridge"; echo "$1 1" >"${at}modules";;
esac"#;

    fn wanted() -> Vec<&'static str> {
        let modules = vec![Module { name: "br_netfilter", brings: Brings::Folder("/proc/sys/net/bridge") }];
        // As a list it would have the file system that every kernel has.
        let builtin = Module { name: "overlay", brings: Brings::FileSystem("overlay") };
        let modules = [modules, vec![builtin]].concat();
        Kernel { modules, sysctls: vec![("a.b", "1"), ("c.d", "1"), ("rmem", "1 2 3")], swap_off: true }.arguments()
    }

    /// Knows one swap unit.
    const SYSTEMCTL: &str = r#"case $1 in
list-unit-files) cat "${at}swap-units";;
mask) echo "$3 masked -" >"${at}swap-units";;
unmask) echo "$3 unmasked -" >"${at}swap-units";;
esac"#;

    fn kernel(trial: &Trial) {
        trial.program("sysctl", SYSCTL);
        trial.program("modprobe", MODPROBE);
        trial.program("swapoff", "echo Filename >\"${at}swaps\"");
        trial.program("systemctl", SYSTEMCTL);
        trial.write("swap-units", "dev-zram0.swap generated -\n");
        trial.program("swapon", "echo \"$1 file 1 0 -2\" >>\"${at}swaps\"");
        for (key, value) in [("a.b", "0\n"), ("c.d", "1\n"), ("rmem", "4\t5\t6\n")] {
            trial.write(&format!("root/{key}"), value);
        }
        trial.write("filesystems", "nodev\toverlay\n");
        trial.write("swaps", "Filename\n/swap file 1 0 -2\n/dev/sdb partition 1 0 -3\n");
        trial.write("fstab", "/dev/sda / ext4 defaults 0 0\n/swap none swap sw 0 0\n");
    }

    #[test]
    fn the_kernel_is_set_and_set_back() {
        Trial::each(|trial| {
            kernel(trial);
            let before: Vec<String> =
                ["swaps", "fstab", "root/a.b", "root/rmem", "modules"].map(|n| trial.read(n)).into();
            let all = "load module br_netfilter\nset a.b = 1 (is 0)\nset rmem = 1 2 3 (is 4\t5\t6)\nswitch swap off\n\
                       keep swap off when the host starts: dev-zram0.swap\n";
            assert_eq!(trial.look(LOOK, &wanted()).out, all);
            let ran = trial.change(SET, &wanted());
            assert!(ran.ok, "{ran:?}");
            assert_eq!(trial.look(LOOK, &wanted()).out, "");
            assert!(trial.read("fstab").contains("#sunshine-installer# /swap"));
            assert_eq!(trial.read("swap-units"), "dev-zram0.swap masked -\n");
            assert!(!trial.recorded().iter().any(|line| line.contains("c.d")), "{:?}", trial.recorded());
            // As a role's end does it.
            let ran = trial.undo(&[
                "some",
                "sysctl",
                "a.b",
                "sysctl",
                "rmem",
                "module",
                "br_netfilter",
                "swap",
                "*",
                "swap-unit",
                "*",
            ]);
            assert_eq!(trial.read("swap-units"), "dev-zram0.swap unmasked -\n");
            assert!(ran.ok && ran.said.is_empty(), "{ran:?}");
            let mut after: Vec<String> =
                ["swaps", "fstab", "root/a.b", "root/rmem", "modules"].map(|n| trial.read(n)).into();
            let sorted = |text: &str| {
                let mut lines: Vec<_> = text.lines().map(|l| l.split(' ').next().unwrap().to_owned()).collect();
                lines.sort();
                lines
            };
            assert_eq!(sorted(&after.remove(0)), sorted(&before[0]));
            assert_eq!(after, before[1..]);
            assert!(trial.undo(&["all"]).ok);
        });
    }

    #[test]
    fn a_service_that_switches_swap_on_is_masked_where_it_is_enabled() {
        Trial::each(|trial| {
            kernel(trial);
            let found = |units: &str| {
                trial.write("swap-units", units);
                let told = trial.look(LOOK, &wanted()).out;
                told.lines()
                    .filter_map(|line| line.strip_prefix("keep swap off when the host starts: "))
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            assert_eq!(found("zramswap.service enabled enabled\n"), "zramswap.service");
            assert_eq!(found("zramswap.service disabled enabled\nsystemd-zram-setup@.service static -\n"), "");
            trial.write("swap-units", "zramswap.service enabled enabled\n");
            assert!(trial.change(SET, &wanted()).ok);
            assert!(trial.recorded().contains(&"swap-unit zramswap.service masked".to_owned()));
        });
    }

    #[test]
    fn fstab_is_changed_whole_or_not_at_all_and_kept_as_it_was() {
        use std::os::unix::fs::PermissionsExt;
        Trial::each(|trial| {
            kernel(trial);
            let (fstab, mode) =
                (trial.at("fstab"), |path: &str| std::fs::metadata(path).unwrap().permissions().mode() & 0o777);
            std::fs::set_permissions(&fstab, std::fs::Permissions::from_mode(0o640)).unwrap();
            // On a disk that is full nothing is put in its place.
            let before = trial.read("fstab");
            trial.program("sed", "head -c 5; exit 4");
            assert!(!trial.change(SET, &wanted()).ok);
            assert_eq!((trial.read("fstab"), trial.there("fstab.sunshine-new")), (before.clone(), false));
            std::fs::remove_file(trial.at("bin/sed")).unwrap();
            assert!(trial.change(SET, &wanted()).ok);
            assert!(trial.read("fstab").contains("#sunshine-installer# /swap") && mode(&fstab) == 0o640);
            assert_eq!(
                (trial.read("state/backup/fstab"), mode(&trial.at("state/backup/fstab"))),
                (before.clone(), 0o640)
            );
            assert!(trial.undo(&["all"]).ok);
            assert_eq!((trial.read("fstab"), mode(&fstab)), (before, 0o640));
        });
    }

    #[test]
    fn what_is_in_use_or_gone_by_now_does_not_fail() {
        Trial::each(|trial| {
            kernel(trial);
            assert!(trial.change(SET, &wanted()).ok);
            trial.write("used", "");
            std::fs::remove_file(trial.at("root/a.b")).unwrap();
            // The host was started again since, with swap by other means than /etc/fstab.
            trial.write("swaps", "Filename\n/swap file 1 0 -2\n/dev/sdb partition 1 0 -3\n");
            trial.calls();
            let ran = trial.undo(&["all"]);
            assert!(ran.ok && ran.said.is_empty() && !trial.calls().contains("swapon"), "{ran:?}");
        });
    }

    #[test]
    fn swap_that_cannot_be_switched_on_is_named() {
        Trial::each(|trial| {
            kernel(trial);
            assert!(trial.change(SET, &wanted()).ok);
            trial.program("swapon", "exit 1");
            let ran = trial.undo(&["all"]);
            assert!(!ran.ok && ran.said.contains("swap /swap cannot be switched on again"), "{ran:?}");
        });
    }
}
