use std::path::Path;
use std::process::{Child, Command};

use super::{CLEAR, LOOKING, PREPARE};

/// Runs a script on this machine, with the host's folders in `dir`; what it prints.
fn run(dir: &Path, script: &str, arguments: &[&str]) -> String {
    let mut script = script.to_owned();
    for place in
        ["/run/sunshine-installer", "/run/tmpfiles.d", "/var/cache/sunshine-installer", "/var/lib/dnf", "/var/lib/yum"]
    {
        script = script.replace(place, &format!("{}{place}", dir.display()));
    }
    let output = Command::new("/bin/sh").args(["-c", &script, "sh"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A folder of a run: whose it is, and the process of its connection.
fn folder(dir: &Path, run: &str, owner: Option<(&str, u32)>) {
    for base in ["run", "var/cache"] {
        std::fs::create_dir_all(dir.join(base).join("sunshine-installer").join(run)).unwrap();
    }
    if let Some((environment, process)) = owner {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let began = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap_or("1").to_owned();
        let file = dir.join("run/sunshine-installer").join(run).join("owner");
        std::fs::write(file, format!("{environment}\t{process}\t{began}\n")).unwrap();
    }
}

fn there(dir: &Path) -> Vec<String> {
    let mut runs = Vec::new();
    for base in ["run", "var/cache"] {
        for entry in std::fs::read_dir(dir.join(base).join("sunshine-installer")).into_iter().flatten() {
            runs.push(format!("{base} {}", entry.unwrap().file_name().to_string_lossy()));
        }
    }
    runs.sort();
    runs
}

/// Something at work in a run's folder, which heeds no SIGTERM when so told.
fn at_work(run: &str, stubborn: bool) -> Child {
    let trap = if stubborn { "trap '' TERM; " } else { "" };
    let child =
        Command::new("/bin/sh").args(["-c", &format!("{trap}: >\"$0\"; while :; do sleep 0.1; done"), run]).spawn();
    let child = child.unwrap();
    while !Path::new(run).exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child
}

fn ends(mut child: Child) -> bool {
    let ended = child.try_wait().unwrap().is_some();
    let _ = child.kill();
    let _ = child.wait();
    ended
}

/// A process that has ended.
fn gone() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

#[test]
fn only_what_dead_runs_left_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let alive = std::process::id();
    folder(dir.path(), "own-killed", Some(("a-1", alive)));
    folder(dir.path(), "other-alive", Some(("b-2", alive)));
    folder(dir.path(), "other-dead", Some(("b-2", gone())));
    folder(dir.path(), "dry-alive", Some((LOOKING, alive)));
    folder(dir.path(), "earlier-version", None);
    // A dry run holds no lease: what it finds may be anybody's.
    assert_eq!(run(dir.path(), PREPARE, &["dry", LOOKING]), "");
    assert_eq!(there(dir.path()).len(), 12);
    run(dir.path(), CLEAR, &["id", LOOKING, "dry"]);
    assert_eq!(there(dir.path()).len(), 10);
    let said = run(dir.path(), PREPARE, &["now", "a-1"]);
    assert_eq!(said.matches("cleared").count(), 6, "{said}");
    let left = ["dry-alive", "now", "other-alive"];
    let left: Vec<String> =
        ["run", "var/cache"].iter().flat_map(|base| left.map(|run| format!("{base} {run}"))).collect();
    assert_eq!(there(dir.path()), left);
    // At its end it takes away its own.
    run(dir.path(), CLEAR, &["id", "a-1", "now"]);
    assert!(there(dir.path()).iter().all(|run| !run.contains("now")) && there(dir.path()).len() == 4);
}

#[test]
fn the_package_manager_of_a_live_owner_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    folder(dir.path(), "other", Some(("b-2", std::process::id())));
    let child = at_work(&format!("{}/run/sunshine-installer/other/x", dir.path().display()), false);
    run(dir.path(), PREPARE, &["now", "a-1"]);
    run(dir.path(), CLEAR, &["id", "a-1", "now"]);
    assert!(!ends(child) && there(dir.path()).len() == 2);
}

#[test]
fn a_dead_run_s_package_manager_is_ended_unless_it_holds_the_lock() {
    for (stubborn, holds) in [(false, false), (true, false), (false, true), (true, true)] {
        let dir = tempfile::tempdir().unwrap();
        folder(dir.path(), "old", Some(("b-2", gone())));
        let child = at_work(&format!("{}/run/sunshine-installer/old/x", dir.path().display()), stubborn);
        if holds {
            std::fs::create_dir_all(dir.path().join("var/lib/dnf")).unwrap();
            std::fs::write(dir.path().join("var/lib/dnf/rpmdb_lock.pid"), child.id().to_string()).unwrap();
        }
        let id = child.id();
        let said = run(dir.path(), PREPARE, &["now", "a-1"]);
        assert_eq!(said.contains(&format!("busy {id}")), holds, "{said}");
        assert_eq!(there(dir.path()).iter().any(|run| run == "run old"), holds);
        assert_eq!(ends(child), !holds, "stubborn: {stubborn}, holds: {holds}");
    }
}

/// The rule of tmpfiles.d(5) that keeps its age from what a run has on the host.
#[test]
fn what_a_run_has_is_no_old_file_until_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("run/tmpfiles.d");
    let there = || std::fs::read_dir(&rules).unwrap().flatten().map(|entry| entry.file_name()).collect::<Vec<_>>();
    run(dir.path(), PREPARE, &["killed", "a-1"]);
    run(dir.path(), PREPARE, &["now", "a-1"]);
    assert_eq!(there(), ["sunshine-installer-now.conf"]);
    let rule = std::fs::read_to_string(rules.join("sunshine-installer-now.conf")).unwrap();
    let base = dir.path().display();
    let expected = ["run", "var/cache"].map(|top| format!("x {base}/{top}/sunshine-installer/now\n"));
    assert_eq!(rule, expected.concat());
    run(dir.path(), CLEAR, &["id", "a-1", "now"]);
    assert!(there().is_empty());
}
