//! What was changed on a host, undone from the host's own record ([`super::Record`]).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::host::Command;
use crate::plan::{Check, Cx, Owned, StepError, Work};

use super::kept::DIR;
use super::kind::{KINDS, Kind, undo_script};
use super::record::{RECORD_DIR, Record, recording};

/// What of the record is undone: of the environment's own lines, and of those that `also` names ([`super::NOBODYS`] among them).
#[derive(Debug, Clone)]
pub enum Undo {
    /// Everything; then the record itself goes, where no other environment has a line in it.
    All { also: Vec<String> },
    /// Only this, of each kind in this order; packages stay.
    Some { owned: Vec<Owned>, also: Vec<String> },
}

const IS_THERE: &str = r#"[ -d "$1" ]"#;

impl Undo {
    fn there(&self, record: &Record) -> Vec<String> {
        match self {
            Self::All { .. } => {
                let counted = |kind: &&Kind| match record.names(kind.name).count() {
                    0 => None,
                    count => Some(format!("undo: {count} {}", kind.plural)),
                };
                let mut changes: Vec<String> = KINDS.iter().filter_map(counted).collect();
                changes.extend(unknown(record));
                changes
            }
            Self::Some { owned, .. } => owned.iter().flat_map(|owned| one(owned, record)).collect(),
        }
    }

    /// The environments whose lines are meant.
    fn environments(&self, cx: &Cx<'_>) -> Result<Vec<String>, StepError> {
        let (Self::All { also } | Self::Some { also, .. }) = self;
        Ok(std::iter::once(&cx.owner()?.environment).chain(also).cloned().collect())
    }
}

/// What a later version has recorded stays, and the step fails: the host is not as it was.
fn unknown(record: &Record) -> impl Iterator<Item = String> {
    let lines = record.lines.iter().filter(|line| Kind::find(&line.kind).is_none());
    lines.map(|line| {
        let version = line.owner.as_ref().map_or("another version", |owner| owner.version.as_str());
        format!("keep {} {}, which this version cannot undo; {version} recorded it", line.kind, line.name)
    })
}

/// What is recorded of something that a step owned, in words.
fn one(owned: &Owned, record: &Record) -> Vec<String> {
    let Some(alone) = Kind::find(owned.kind).and_then(|kind| kind.alone) else { return Vec::new() };
    let there = record.names(owned.kind).filter(|line| owned.name == Owned::EVERY || owned.name == line.name);
    there.map(|line| alone(&line.name)).collect()
}

/// What a host loses that owned this and now owns that: what was put there last comes first.
pub fn lost(before: Vec<Owned>, after: &[Owned]) -> Vec<Owned> {
    let mut lost: BTreeMap<Owned, usize> = BTreeMap::new();
    for (place, owned) in before.into_iter().enumerate() {
        lost.insert(owned, place);
    }
    for kept in after {
        lost.remove(kept);
    }
    let mut lost: Vec<(Owned, usize)> = lost.into_iter().collect();
    lost.sort_by_key(|(_, place)| Reverse(*place));
    lost.into_iter().map(|(owned, _)| owned).collect()
}

impl Work for Undo {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let record = Record::read(cx.host()?)?;
        for number in &record.damaged {
            cx.note(format!("line {number} of {RECORD_DIR}/record is damaged: it is ignored, and what it named stays"));
        }
        // Undoing that was killed behind the last line has left its folder, and what is done behind all lines.
        let unfinished = matches!(self, Self::All { .. }) && record.lines.is_empty() && record.damaged.is_empty();
        if unfinished
            && cx.host()?.run(&Command::script(IS_THERE).arg(RECORD_DIR).label("look for the change record"))?.ok()
        {
            return Ok(Check::Needed(vec![format!("delete {RECORD_DIR}")]));
        }
        Ok(Check::from_changes(self.there(&record.of(&self.environments(cx)?))))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let undo = recording(cx.owner()?, undo_script()).timeout(Duration::from_secs(300)).in_turn();
        let undo = undo.args(self.arguments(&self.environments(cx)?)).label("undo the recorded changes");
        cx.host()?.run_ok(&undo)?;
        Ok(())
    }
}

impl Undo {
    /// The script's.
    fn arguments(&self, environments: &[String]) -> Vec<String> {
        let environments = environments.join(" ");
        match self {
            Self::All { .. } => vec!["all".to_owned(), environments],
            Self::Some { owned, .. } => {
                let mut words = vec!["some".to_owned(), environments];
                let alone = |owned: &&Owned| Kind::find(owned.kind).is_some_and(|kind| kind.alone.is_some());
                // Folders that were made for its files go with them.
                let folders = DIR.every();
                for owned in owned.iter().filter(alone).chain([&folders]) {
                    words.extend([owned.kind.to_owned(), owned.name.clone()]);
                }
                words
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::kept::FILE;
    use crate::resource::trial::Trial;
    use crate::resource::unit::UNIT;

    /// rpm, with packages that are there until they are removed.
    const RPM: &str = r#"[ "$1" != -e ] || { touch "${at}gone"; exit 0; }
[ ! -e "${at}gone" ]"#;

    #[test]
    fn everything_is_undone_in_the_order_of_the_kinds_and_the_record_goes() {
        Trial::each(|trial| {
            trial.program("rpm", RPM);
            let file = trial.at("root/file");
            std::fs::write(&file, "ours").unwrap();
            trial.change(
                r#"note package etcd.x86_64 -; note sysctl a.b 0; note file "$1" -; note unit ours.service disabled/inactive
note unit theirs.service enabled/active; note image a:1 -; note firewall 1/tcp -; note module overlay -"#,
                &[&file],
            );
            trial.calls();
            let ran = trial.undo(&["all"]);
            assert!(ran.ok && ran.said.is_empty(), "{ran:?}");
            assert!(!trial.there("root/file") && !trial.there("state"));
            let calls = trial.calls();
            let mut at = 0;
            for call in [
                "docker image rm a:1",
                "systemctl stop -- theirs.service",
                "systemctl stop -- ours.service",
                "systemctl disable -q -- ours.service",
                "systemctl daemon-reload",
                "firewall-cmd -q --remove-port=1/tcp",
                "rpm -e -- etcd.x86_64",
                "sysctl -qw a.b=0",
                "modprobe -r -- overlay",
                "systemctl start -- theirs.service",
            ] {
                at += calls[at..].find(call).unwrap_or_else(|| panic!("{call} is not behind {at} of {calls}"));
            }
            assert!(!calls.contains("disable -q -- theirs.service"), "{calls}");
        });
    }

    #[test]
    fn what_rpm_could_not_delete_is_said() {
        let warns = r#"[ "$1" != -e ] || { touch "${at}gone"; echo 'warning: file /etc/a: remove failed: Read-only file system' >&2; exit 0; }
[ ! -e "${at}gone" ]"#;
        Trial::each(|trial| {
            trial.program("rpm", warns);
            trial.change("note package p.noarch -", &[]);
            let ran = trial.undo(&["all"]);
            assert!(!ran.ok && ran.said.contains("stay on the host") && ran.said.contains("/etc/a"), "{ran:?}");
            assert!(trial.undo(&["all"]).ok, "what is said once is not there to be undone");
        });
    }

    #[test]
    fn undoing_twice_does_no_harm() {
        Trial::each(|trial| {
            trial.change("note file \"$1\" -; note unit a.service disabled/inactive", &[&trial.at("root/a")]);
            for _ in 0..2 {
                let ran = trial.undo(&["all"]);
                assert!(ran.ok && ran.said.is_empty() && !trial.there("state"), "{ran:?}");
            }
            assert!(trial.undo(&["some", "unit", "a.service", "dir", "*"]).ok);
        });
    }

    #[test]
    fn what_was_killed_in_the_middle_goes_on() {
        let change = r#"note unit a.service enabled/active; note unit b.service disabled/inactive
note sysctl a.b 0; note swap /dev/x on; note package p.noarch -; mkdir -p "$d/started"; : >"$d/started/a.service""#;
        Trial::each(|trial| {
            // Each of these counts down its calls to the kill.
            let kill = r#"n=$(cat "${at}n"); echo $((n - 1)) >"${at}n"; [ "$n" != 0 ] || kill -KILL $PPID"#;
            for (name, body) in [("systemctl", ""), ("rpm", RPM), ("sysctl", ""), ("swapon", "")] {
                trial.program(name, &format!("{kill}\n{body}"));
            }
            let mut kills = 0;
            loop {
                let _ = std::fs::remove_file(trial.at("gone"));
                assert!(trial.change(change, &[]).ok);
                trial.write("n", &kills.to_string());
                let first = trial.undo(&["all"]);
                assert_eq!(first.ok, !trial.there("state"), "{first:?}");
                trial.write("n", "-1");
                let second = trial.undo(&["all"]);
                assert!(second.ok && second.said.is_empty() && !trial.there("state"), "{second:?}");
                let calls = trial.calls();
                let started = calls.rfind("systemctl start -- a.service").unwrap();
                assert!(started > calls.rfind("systemctl stop -- a.service").unwrap(), "{calls}");
                for call in ["stop -- b.service", "sysctl -qw a.b=0", "swapon /dev/x", "rpm -e -- p.noarch"] {
                    assert!(calls.contains(call), "{call}: {calls}");
                }
                if first.ok {
                    break;
                }
                kills += 1;
            }
            assert!(kills > 8, "{kills}");
        });
    }

    #[test]
    fn only_what_is_named_is_undone() {
        Trial::each(|trial| {
            let (ours, kept) = (trial.at("root/new/ours"), trial.at("root/kept"));
            std::fs::create_dir(trial.at("root/new")).unwrap();
            for path in [&ours, &kept] {
                std::fs::write(path, "x").unwrap();
            }
            trial.change(
                r#"note dir "$1" -; note file "$2" -; note file "$3" -; note unit a.service disabled/inactive
note unit b.service disabled/inactive; note swap /dev/x on; note swap /dev/y on; note package p.noarch -"#,
                &[&trial.at("root/new"), &ours, &kept],
            );
            trial.calls();
            let owned = [
                Owned { kind: "unit", name: "a.service".into() },
                Owned { kind: "unit", name: "never.service".into() },
                Owned { kind: "file", name: ours.clone() },
                Owned { kind: "swap", name: Owned::EVERY.into() },
                Owned { kind: "package", name: "p.noarch".into() },
            ];
            let mut words = Undo::Some { owned: owned.to_vec(), also: Vec::new() }.arguments(&["e-1".to_owned()]);
            // The host that is a folder names the environments itself.
            words.remove(1);
            let ran = trial.undo(&words.iter().map(String::as_str).collect::<Vec<_>>());
            assert!(ran.ok && ran.said.is_empty(), "{ran:?}");
            let left =
                [format!("file {kept} -"), "unit b.service disabled/inactive".into(), "package p.noarch -".into()];
            assert_eq!(trial.recorded(), left);
            assert!(!trial.there("root/new") && trial.there("root/kept"));
            let calls = trial.calls();
            assert!(calls.contains("swapon /dev/y") && !calls.contains("never") && !calls.contains("rpm"), "{calls}");
        });
    }

    #[test]
    fn what_another_environment_recorded_stays_as_it_is() {
        Trial::each(|trial| {
            let (shared, kept) = (trial.at("root/shared"), trial.at("root/new/kept"));
            std::fs::create_dir(trial.at("root/new")).unwrap();
            for path in [&shared, &kept] {
                std::fs::write(path, "x").unwrap();
            }
            trial.change(
                r#"note dir "$1" -; note file "$2" -; note unit etcd.service disabled/inactive; note swap /dev/x on"#,
                &[&trial.at("root/new"), &shared],
            );
            trial.change_of(
                "other-2",
                r#"note file "$1" -; note file "$2" -; note unit kubelet.service disabled/inactive; note swap /dev/x on"#,
                &[&shared, &kept],
            );
            trial.calls();
            for _ in 0..2 {
                let ran = trial.undo(&["all"]);
                assert!(ran.ok && ran.said.is_empty(), "{ran:?}");
                let calls = trial.calls();
                assert!(!calls.contains("kubelet") && !calls.contains("swapon"), "{calls}");
                assert!(trial.there("root/shared") && trial.there("root/new/kept"));
                let names = trial.recorded();
                let left = [format!("file {shared} -"), format!("file {kept} -")];
                assert_eq!(names[..2], left);
                assert_eq!(names[2..], ["unit kubelet.service disabled/inactive", "swap /dev/x on"]);
            }
            // Who is last restores it.
            assert!(trial.undo_of("other-2", &["all"]).ok && !trial.there("root/shared") && !trial.there("state"));
            assert!(trial.calls().contains("swapon /dev/x"));
        });
    }

    #[test]
    fn what_a_later_version_recorded_is_named_and_kept() {
        Trial::each(|trial| {
            trial.change("note mount /data -; note unit a.service disabled/inactive", &[]);
            let ran = trial.undo(&["all"]);
            assert!(
                !ran.ok
                    && ran.said.contains("use the version that recorded it:\nmount /data (recorded by version 0.1.0)"),
                "{ran:?}"
            );
            assert_eq!(trial.recorded(), ["mount /data -"]);
            let record = Record::parse(&trial.read("state/record"));
            assert_eq!(
                Undo::All { also: Vec::new() }.there(&record),
                ["keep mount /data, which this version cannot undo; 0.1.0 recorded it"]
            );
            assert!(!trial.undo(&["all"]).ok && trial.recorded() == ["mount /data -"]);
        });
    }

    #[test]
    fn a_damaged_line_is_set_aside_and_a_record_of_the_first_format_is_undone() {
        Trial::each(|trial| {
            trial.change("note unit a.service disabled/inactive; note unit b.service disabled/inactive", &[]);
            let damaged = trial.read("state/record").replace("a.service", "c.service");
            trial.write("state/record", &format!("sysctl\tx.y\t1\t2\n{damaged}"));
            trial.calls();
            let words = ["some", "unit", "c.service", "sysctl", "x.y", "unit", "b.service"];
            assert!(trial.undo(&words).ok && !trial.calls().contains("sysctl"), "nobody said whose the first line is");
            assert!(trial.change("note unit b.service disabled/inactive", &[]).ok);
            assert!(trial.undo_of("e-1 -", &words).ok);
            let calls = trial.calls();
            assert!(calls.contains("stop -- b.service") && !calls.contains("c.service"), "{calls}");
            assert!(calls.contains("sysctl -qw x.y=1\t2"), "{calls}");
            assert!(trial.read("state/record.damaged").contains("c.service"));
        });
    }

    #[test]
    fn what_is_undone_is_counted_in_words() {
        let record = Record::parse("file\t/a\t-\nfile\t/b\t-\ndir\t/c\t-\nunit\ta.service\tx/y\nsebool\tb\toff\n");
        let all = Undo::All { also: Vec::new() };
        let said = ["undo: 1 unit(s)", "undo: 2 file(s)", "undo: 1 folder(s)", "undo: 1 SELinux boolean(s)"];
        assert_eq!(all.there(&record), said);
        let owned = vec![FILE.every(), UNIT.owned("a.service"), UNIT.owned("b.service")];
        let some = Undo::Some { owned, also: Vec::new() };
        assert_eq!(some.there(&record), ["restore /b", "restore /a", "stop and disable a.service"]);
    }

    #[test]
    fn what_a_host_loses_is_what_no_other_role_of_it_has() {
        let (a, b, c) = (FILE.owned("/a"), UNIT.owned("b"), FILE.owned("/c"));
        assert_eq!(lost(vec![a.clone(), b.clone(), c.clone()], std::slice::from_ref(&b)), [c, a]);
    }
}
