//! What must hold in every scenario.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::run::Went;
use super::scenario::{Fault, Hostile, Kind, Scenario, Signal, Verb};
use super::world::World;
use super::writer;
use crate::lab::Output;

/// The longest until all nodes of a cluster are ready again.
const RECOVERS: Duration = Duration::from_secs(240);

/// So much of what was printed is shown when something did not hold.
pub(super) fn end_of(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains(r#""event":"step_started""#)).collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

/// An error with what was printed, unless it holds.
fn must(holds: bool, went: &Went, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{} (exit {:?})\n{}", what(), went.code, end_of(&went.text))) }
}

/// The run in which something went wrong: its exit code, and what it said.
pub(super) fn run(world: &World, scenario: &Scenario, went: &Went) -> Result<(), String> {
    must(codes(scenario.fault).contains(&went.code), went, || "another exit code was due".to_owned())?;
    if let Some(second) = &went.second {
        let said = format!("{}{}", second.stdout, second.stderr);
        // To reset what another environment has recorded is to change nothing.
        let nothing = scenario.verb == Verb::Reset && scenario.fault == Fault::Second { same_state: false };
        let may_do_it = nothing || went.second_came_later;
        let refused = matches!(second.code, Some(1 | 2)) || may_do_it && second.code == Some(0);
        must(refused && !said.trim().is_empty(), went, || {
            format!("the second deployer was not refused: {:?} {said}", second.code)
        })?;
    }
    if went.code.is_none() {
        return Ok(());
    }
    let closing = went.events.iter().rfind(|event| event["event"] == "run_finished");
    if let Some(closing) = closing {
        must((closing["ok"] == true) == (went.code == Some(0)), went, || {
            "the result is not the exit code's".to_owned()
        })?;
        named(went, closing)?;
    } else {
        let begun = went.events.iter().any(|event| event["event"] == "step_started");
        must(!begun, went, || "steps had begun, and no result was said".to_owned())?;
    }
    if went.code == Some(0) || went.code == Some(130) {
        return Ok(());
    }
    let helps = went.events.iter().any(|event| event.to_string().contains(r#""help":""#)) || went.text.contains("help");
    must(helps || went.text.contains("again"), went, || "no remedy was said".to_owned())?;
    let address = world.host(world.victim(scenario)).address();
    let names = scenario.fault.of_the_control_host() || went.text.contains(address);
    must(names, went, || format!("{address} was not named"))
}

/// The exit codes that a run with this fault may have.
fn codes(fault: Fault) -> &'static [Option<i32>] {
    match fault {
        // It may come to its end before the signal comes to it.
        Fault::Deployer(Signal::Kill) => &[None, Some(0)],
        Fault::Deployer(_) => &[Some(130), Some(0)],
        Fault::BundleDamaged => &[Some(0), Some(1), Some(3)],
        Fault::Second { .. } | Fault::Hostile(Hostile::Escapes) => &[Some(0)],
        _ => &[Some(0), Some(1)],
    }
}

/// Every host on which a step did not come to its end is named with another result than `ok`.
fn named(went: &Went, closing: &Value) -> Result<(), String> {
    let steps =
        |kind: &str| went.events.iter().filter(|e| e["event"] == kind && e["host"].is_string()).collect::<Vec<_>>();
    let finished = steps("step_finished");
    let well = |step: &Value| {
        finished
            .iter()
            .any(|e| e["step"] == *step && matches!(e["outcome"]["result"].as_str(), Some("changed" | "satisfied")))
    };
    for started in steps("step_started") {
        if well(&started["step"]) {
            continue;
        }
        let mut hosts = closing["hosts"].as_array().into_iter().flatten();
        let result = hosts.find(|host| host["host"] == started["host"]).map(|host| &host["result"]);
        must(result.is_some_and(|result| result != "ok"), went, || {
            format!("{} did not end, and its host's result is {result:?}", started["step"])
        })?;
    }
    Ok(())
}

/// After the same line has completed: the cluster, its data, and nothing else.
pub(super) fn end(world: &World, scenario: &Scenario, said: &[&String]) -> Result<(), String> {
    given_back(world)?;
    if scenario.verb == Verb::Reset {
        data_kept(world)?;
    } else {
        whole(world)?;
        let lost = writer::lost(world)?;
        if !lost.is_empty() {
            return Err(format!("acknowledged writes are lost: {lost:?} of {}", world.acknowledged.len()));
        }
    }
    nothing_left(world)?;
    no_secret(world, said)
}

fn whole(world: &World) -> Result<(), String> {
    let end = Instant::now() + RECOVERS;
    let (verb, part) = if world.kind == Kind::Etcd { ("etcd", "members") } else { ("cluster", "nodes") };
    loop {
        let output = world.site.run(&world.lab, &[verb, "status", "--json"]);
        let status: Value = serde_json::from_str(&output.stdout).unwrap_or_default();
        let there = status[part].as_object().map_or(0, serde_json::Map::len);
        if output.ok() && there == world.nodes().len() {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!(
                "{there} of {} {part} are well: {}{}",
                world.nodes().len(),
                output.stdout,
                output.stderr
            ));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Nothing of the product is on a host that is not in the cluster, or no longer.
fn given_back(world: &World) -> Result<(), String> {
    let nodes = if world.standing { world.nodes() } else { Vec::new() };
    for (_, host) in world.lab.hosts().iter().enumerate().filter(|(number, _)| !nodes.contains(number)) {
        let output = host.exec(
            "rpm -qa | grep -E '^(etcd|kube|docker|containerd|haproxy)'; \
             find /etc/etcd /etc/kubernetes /var/lib/sunshine-installer -ls 2>/dev/null; :",
        );
        if !output.stdout.trim().is_empty() {
            return Err(format!("left on {}: {}", host.name(), output.stdout));
        }
    }
    Ok(())
}

/// A reset was not told to wipe etcd's data.
fn data_kept(world: &World) -> Result<(), String> {
    let member = world.host(world.members()[0]);
    let kept = member.exec("ls -d /var/lib/etcd/default.etcd/member").ok();
    if kept { Ok(()) } else { Err(format!("a reset took etcd's data from {}", member.name())) }
}

const LOOK: &str = "find /etc/yum.repos.d /run /tmp /var/tmp -xdev -name '*sunshine*' 2>/dev/null; \
    for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f; echo; done 2>/dev/null | grep -E 'sunshine-installer|^sh take' | grep -v grep; :";
const LOOK_AT_A_NODE: &str = "find /etc/yum.repos.d /tmp /var/tmp -xdev -name '*sunshine*' 2>/dev/null; \
    find /run/sunshine-installer -name repos.d -o -name 'images.*' -o -name owner; ls -d /run/sunshine-installer-lease 2>/dev/null; \
    for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f; echo; done 2>/dev/null | grep '^sh take'; :";

/// Temporary repositories, folders and programs, on the hosts and the control host. What looks after the lease ends some
/// seconds after the run.
fn nothing_left(world: &World) -> Result<(), String> {
    const ENDS: Duration = Duration::from_secs(30);
    for (number, host) in world.lab.hosts().iter().enumerate() {
        // What looks after a node works in the same folder of /run.
        let node = world.kind != Kind::Etcd && world.standing && world.nodes().contains(&number);
        let look = if node { LOOK_AT_A_NODE } else { LOOK };
        let end = Instant::now() + ENDS;
        loop {
            let left = host.exec(look).stdout;
            if left.trim().is_empty() {
                break;
            }
            if Instant::now() > end {
                return Err(format!("left on {}: {left}", host.name()));
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    let left: Vec<_> =
        std::fs::read_dir(world.site.path("tmp")).into_iter().flatten().flatten().map(|e| e.path()).collect();
    if left.is_empty() { Ok(()) } else { Err(format!("left on the control host: {left:?}")) }
}

/// The password is nowhere, and no private key in what is printed and logged. No escape sequence either.
fn no_secret(world: &World, said: &[&String]) -> Result<(), String> {
    let printed = |text: &str| text.contains(&world.word) || text.contains("PRIVATE KEY") || text.contains('\x1b');
    if let Some(text) = said.iter().find(|text| printed(text)) {
        return Err(format!("a secret or an escape sequence was printed: {}", end_of(text)));
    }
    for (path, bytes) in world.site.written() {
        let text = String::from_utf8_lossy(&bytes);
        let log = path.starts_with(world.site.path("log"));
        if text.contains(&world.word) || log && printed(&text) {
            return Err(format!("a secret or an escape sequence is in {}", path.display()));
        }
    }
    for host in world.lab.hosts() {
        let search = format!(
            "grep -rlsF {word} /etc /root /run/log /run/systemd /tmp /var/lib/sunshine-installer /var/log /var/tmp; \
             journalctl -q --no-pager | grep -F {word}; :",
            word = world.word
        );
        let output = host.exec(&search);
        if !output.stdout.trim().is_empty() {
            return Err(format!("the password is on {}: {}", host.name(), output.stdout));
        }
    }
    Ok(())
}

/// No process of the control host shows the password in its arguments.
pub(super) fn shown_by_no_process(world: &World) -> Result<(), String> {
    let shown = Output::of(Command::new("pgrep").args(["-fa", &world.word]));
    if shown.stdout.is_empty() { Ok(()) } else { Err(format!("ps shows the password: {}", shown.stdout)) }
}
