//! One scenario: the line with the fault, the fault's end, the same line again, and what must hold.

#![allow(clippy::expect_used, reason = "a helper of tests: a panic is how a test fails")]

use std::io::{BufRead, BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::fault;
use super::held;
use super::scenario::{Fault, Kind, Lasting, Moment, Scenario};
use super::world::World;
use super::writer;
use crate::lab::Output;

/// How a run went.
pub(super) struct Went {
    /// `None` when a signal ended it.
    pub(super) code: Option<i32>,
    pub(super) events: Vec<Value>,
    /// All that it printed.
    pub(super) text: String,
    /// Whether it came to the moment of the fault.
    pub(super) reached: bool,
    /// How the second deployer ended, where there was one.
    pub(super) second: Option<Output>,
    /// Whether that one was still at work when this one had ended: then its turn may have come.
    pub(super) second_came_later: bool,
}

/// The longest that a run may take: every wait of the product is shorter, and a busy machine has its time too.
fn bound(kind: Kind) -> Duration {
    Duration::from_secs(if kind == Kind::Etcd { 400 } else { 1500 })
}

/// Goes through the scenario, and says how it ended, or what did not hold.
pub(super) fn held(world: &mut World, scenario: &Scenario) -> Result<String, String> {
    let panicked = |error: Box<dyn std::any::Any + Send>| {
        let text = error.downcast_ref::<String>().cloned();
        Err(text.or_else(|| error.downcast_ref::<&str>().map(|t| (*t).to_owned())).unwrap_or_default())
    };
    catch_unwind(AssertUnwindSafe(|| go_through(world, scenario))).unwrap_or_else(panicked)
}

fn go_through(world: &mut World, scenario: &Scenario) -> Result<String, String> {
    world.prepare(scenario.verb);
    let line = line(world, scenario);
    let victim = world.victim(scenario);
    // A frozen host's commands freeze too, and one without power has none.
    let members: Vec<usize> = world.members().into_iter().filter(|m| world.standing && *m != victim).collect();
    let stop = AtomicBool::new(false);
    let (went, acknowledged) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| writer::write(world, &members, &stop));
        let went = catch_unwind(AssertUnwindSafe(|| run(world, scenario, &line)));
        stop.store(true, Ordering::Relaxed);
        (went, writer.join().expect("the writer"))
    });
    world.acknowledged.extend(acknowledged);
    let went = went.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    held::run(world, scenario, &went)?;
    let again = world.command(&line).output();
    if !again.ok() {
        return Err(format!(
            "the same line again: {:?}\n{}",
            again.code,
            held::end_of(&(again.stdout + &again.stderr))
        ));
    }
    world.done(scenario.verb);
    held::end(world, scenario, &[&went.text, &again.stdout, &again.stderr])?;
    let late = if went.reached { "" } else { ", over before that moment" };
    let ended = went.code.map_or_else(|| "killed".to_owned(), |code| format!("exit {code}"));
    Ok(format!("{ended}{late}, then completed"))
}

fn line(world: &World, scenario: &Scenario) -> Vec<String> {
    let used = fault::used(world);
    if scenario.fault == Fault::BundleDamaged && !used.exists() {
        std::fs::copy(world.site.bundle(), &used).expect("a bundle to damage");
    }
    let used = used.to_string_lossy();
    let more: &[&str] = if scenario.fault == Fault::BundleDamaged { &["--bundle", &used] } else { &[] };
    world.line_as(scenario.verb, scenario.fault == Fault::SudoWithdrawn, more)
}

/// What a run prints, line by line.
enum Printed {
    Event(String),
    Other(String),
}

/// The run, with the fault in it. When this returns, the fault has ended.
fn run(world: &World, scenario: &Scenario, line: &[String]) -> Result<Went, String> {
    let mut running = Running::default();
    if scenario.moment == Moment::Before {
        fault::begin(world, scenario, None);
        running.begun = true;
    }
    let mut command = world.command(line).0;
    let mut child = command
        .arg("--json")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the product starts");
    let (say, printed) = channel();
    std::thread::scope(|scope| {
        let (out, err) = (child.stdout.take().expect("its output"), child.stderr.take().expect("its errors"));
        let other = say.clone();
        scope.spawn(move || lines(out, |line| say.send(Printed::Event(line)).is_ok()));
        scope.spawn(move || lines(err, |line| other.send(Printed::Other(line)).is_ok()));
        running.follow(world, scenario, line, &mut child, &printed)
    })?;
    let code = child.wait().expect("its end").code();
    running.finish(world, scenario);
    let Running { events, text, begun, mut second, .. } = running;
    let second_came_later = second.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|end| end.is_none()));
    let second = second.map(|child| Output::ended(child.wait_with_output().expect("the second deployer's end")));
    Ok(Went { code, events, text, reached: begun, second, second_came_later })
}

fn lines(from: impl Read, mut say: impl FnMut(String) -> bool) {
    let mut lines = BufReader::new(from).split(b'\n').map_while(Result::ok);
    while lines.next().is_some_and(|line| say(String::from_utf8_lossy(&line).into_owned())) {}
}

#[derive(Default)]
struct Running {
    events: Vec<Value>,
    text: String,
    steps: usize,
    begun: bool,
    /// When it has to end, and whether it has.
    until: Option<Instant>,
    ended: bool,
    second: Option<Child>,
}

impl Running {
    /// Reads what the run says until it has ended, and has the fault happen and end in its time.
    fn follow(
        &mut self,
        world: &World,
        scenario: &Scenario,
        line: &[String],
        child: &mut Child,
        printed: &Receiver<Printed>,
    ) -> Result<(), String> {
        let start = Instant::now();
        self.begins(scenario);
        loop {
            match printed.recv_timeout(Duration::from_millis(100)) {
                Ok(Printed::Event(text)) => self.event(&text),
                Ok(Printed::Other(text)) => self.text.extend([&text, "\n"]),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if !self.begun && matches!(scenario.moment, Moment::Step(n) if self.steps >= n) {
                held::shown_by_no_process(world)?;
                fault::begin(world, scenario, Some(child.id()));
                self.second = second(world, scenario, line);
                self.begun = true;
                self.begins(scenario);
            }
            if self.until.is_some_and(|end| Instant::now() >= end) {
                self.finish(world, scenario);
            }
            if start.elapsed() > bound(scenario.kind) {
                let _ = child.kill();
                self.finish(world, scenario);
                let end = held::end_of(&self.text);
                return Err(format!("the run did not end in {} s: {end}", bound(scenario.kind).as_secs()));
            }
        }
    }

    fn begins(&mut self, scenario: &Scenario) {
        if let (true, Lasting::For(time)) = (self.begun, scenario.lasting) {
            self.until = Some(Instant::now() + time);
        }
    }

    fn event(&mut self, text: &str) {
        self.text.extend([text, "\n"]);
        if let Ok(event) = serde_json::from_str::<Value>(text) {
            self.steps += usize::from(event["event"] == "step_started");
            self.events.push(event);
        }
    }

    /// Ends the fault if it has not ended yet.
    fn finish(&mut self, world: &World, scenario: &Scenario) {
        if self.begun && !self.ended {
            fault::end(world, scenario);
            self.ended = true;
        }
        self.until = None;
    }
}

/// Starts the line once more beside itself, where that is what goes wrong.
fn second(world: &World, scenario: &Scenario, line: &[String]) -> Option<Child> {
    let Fault::Second { same_state } = scenario.fault else { return None };
    let mut command = world.command(line).0;
    if !same_state {
        command.env("SUNSHINE_STATE_DIR", world.site.path("other-state"));
    }
    Some(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a second one"))
}
