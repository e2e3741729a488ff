//! The one place that prints. On a terminal a live line a host; elsewhere plain lines; with `--json` an event a line.
//! What a person must act on goes to standard error, results to standard output.
#![allow(clippy::print_stdout, clippy::print_stderr)] // this is the place
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::flow::JobReport;
use crate::host::harmless;
use crate::plan::{Event, HostResult, HostState, Level, Listener, Outcome};

/// How much is said, and in what form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Manner {
    /// An event a line, as JSON, on standard output.
    pub(crate) json: bool,
    /// Remote commands too.
    pub(crate) verbose: bool,
    /// Only errors and the result.
    pub(crate) quiet: bool,
}

/// Prints a run.
#[derive(Debug)]
pub(crate) struct Terminal {
    manner: Manner,
    voice: Voice,
}

/// Says lines without tearing a live display.
#[derive(Debug, Clone)]
pub(crate) struct Voice {
    bars: Option<MultiProgress>,
    json: bool,
    // Lines of several threads must not mix.
    one_at_a_time: Arc<Mutex<()>>,
}

impl Voice {
    fn out(&self, line: &str) {
        self.say(|| {
            // A reader that went away (`| head`) is no reason to stop a deployment.
            let _ = writeln!(std::io::stdout(), "{}", harmless(line));
        });
    }

    fn err(&self, line: &str) {
        self.say(|| {
            let _ = writeln!(std::io::stderr(), "{}", harmless(line));
        });
    }

    fn say(&self, print: impl FnOnce()) {
        let _one = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }

    pub(crate) fn warn(&self, text: &str) {
        if self.json {
            self.err(&serde_json::json!({"event": "warning", "text": text}).to_string());
        } else {
            self.err(&format!("warning: {text}"));
        }
    }
}

impl Terminal {
    pub(crate) fn new(manner: Manner) -> Self {
        let live = std::io::stderr().is_terminal() && !manner.json && !manner.quiet;
        let bars = live.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8)));
        Self { manner, voice: Voice { bars, json: manner.json, one_at_a_time: Arc::default() } }
    }

    /// A bar for work on bytes, where there is a terminal to show it.
    pub(crate) fn progress(&self) -> ByteBar {
        ByteBar(self.voice.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new(0));
            if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {binary_bytes_per_sec}") {
                bar.set_style(style);
            }
            bar
        }))
    }

    /// A line that is a command's result, on standard output.
    pub(crate) fn tell(&self, line: &str) {
        self.voice.out(line);
    }

    /// A line for a person, on standard error.
    pub(crate) fn say(&self, line: &str) {
        self.voice.err(line);
    }

    pub(crate) fn voice(&self) -> Voice {
        self.voice.clone()
    }

    /// What listens to a run's events.
    pub(crate) fn reader(&self) -> impl Listener + 'static {
        Reader { manner: self.manner, voice: self.voice.clone(), dry_run: false, lines: BTreeMap::new() }
    }

    /// An error that ended everything.
    pub(crate) fn error(&self, text: &str, help: Option<&str>) {
        if self.manner.json {
            self.voice.err(&serde_json::json!({"event": "error", "text": text, "help": help}).to_string());
            return;
        }
        self.voice.err(&format!("error: {text}"));
        if let Some(help) = help {
            self.voice.err(&format!("help: {help}"));
        }
    }

    /// The closing table, and how to use what was made.
    pub(crate) fn close(&mut self, report: &JobReport, dry_run: bool) {
        if let Some(bars) = &self.voice.bars {
            let _ = bars.clear();
        }
        if self.manner.json {
            if !report.advice.is_empty() {
                self.voice.out(&serde_json::json!({"event": "advice", "lines": report.advice}).to_string());
            }
            return;
        }
        if !report.hosts.is_empty() {
            self.voice.out(&closing_table(&report.hosts, dry_run).to_string());
        }
        for line in &report.remarks {
            self.voice.out(&format!("warning: {line}"));
        }
        for line in &report.advice {
            self.voice.out(line);
        }
        if report.interrupted {
            self.voice.err("interrupted: run the same command again to continue");
        } else if !report.ok {
            self.voice.err("help: fix what failed and run the same command again: completed steps are not repeated");
        }
    }
}

/// Progress in bytes.
pub(crate) struct ByteBar(Option<ProgressBar>);

impl ByteBar {
    pub(crate) fn show(&self, done: u64, total: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// The table, or where the terminal is too narrow for it a line a row: `FIRST: HEADER VALUE, …`.
pub(crate) fn table_or_lines(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(header.to_vec()).add_rows(rows.to_vec());
    let room = table.width().map_or(usize::MAX, usize::from);
    let text = table.to_string();
    if text.lines().all(|line| line.chars().count() <= room) {
        return text;
    }
    lines(header, rows)
}

fn lines(header: &[&str], rows: &[Vec<String>]) -> String {
    let line = |row: &Vec<String>| {
        let cells = header.iter().zip(row).skip(1).map(|(name, value)| format!("{name} {value}"));
        format!("{}: {}", row.first().map_or("", String::as_str), cells.collect::<Vec<_>>().join(", "))
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// One JSON document on standard output.
pub(crate) fn print_json(value: &impl serde::Serialize) {
    print(&serde_json::to_string(value).unwrap_or_default());
}

/// Prints text that is a command's result, such as a table or a file's content.
pub(crate) fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", harmless(text.trim_end_matches('\n')));
}

/// The table of hosts at the end of a run.
fn closing_table(hosts: &[HostResult], dry_run: bool) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic).set_header([
        "host",
        "result",
        if dry_run { "would change" } else { "changed" },
        "time",
        "repository",
    ]);
    for host in hosts {
        let result = match host.result {
            HostState::Ok => "ok",
            HostState::Failed => "FAILED",
            HostState::Unreachable => "UNREACHABLE",
            HostState::Blocked => "blocked",
            HostState::Untouched => "not touched",
        };
        table.add_row([
            host.host.to_string(),
            result.to_owned(),
            host.changed.to_string(),
            seconds(host.took_ms),
            host.route.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table
}

fn seconds(ms: u64) -> String {
    format!("{:.1} s", Duration::from_millis(ms).as_secs_f64())
}

struct Reader {
    manner: Manner,
    voice: Voice,
    /// Nothing is done, so nothing may be called done.
    dry_run: bool,
    /// The live line of each host that is at work.
    lines: BTreeMap<String, ProgressBar>,
}

impl Listener for Reader {
    fn event(&mut self, event: &Event) {
        if self.manner.json {
            if (self.manner.verbose || !matches!(event, Event::Command { .. }))
                && let Ok(line) = serde_json::to_string(event)
            {
                self.voice.out(&line);
            }
            return;
        }
        match event {
            Event::RunStarted { operations, dry_run, .. } => {
                self.dry_run = *dry_run;
                let how = if *dry_run { "dry run, nothing is changed: " } else { "" };
                self.info(&format!("{how}{}", operations.join("; then ")));
            }
            Event::Note { host, level, text, help } => self.note(host.as_deref(), *level, text, help.as_deref()),
            Event::WouldChange { host, title, changes, .. } => {
                self.voice.out(&format!("{}: {title}", name(host.as_deref())));
                for line in changes.iter().flat_map(|c| c.lines()) {
                    self.voice.out(&format!("    {line}"));
                }
            }
            Event::StepStarted { host, title, .. } => self.begin(host.as_deref(), title),
            Event::StepNote { host, text, .. } => self.set(host.as_deref(), text),
            Event::StepFinished { host, title, outcome, took_ms, .. } => {
                self.end(host.as_deref(), title, outcome, *took_ms);
            }
            Event::Command { host, command, status, took_ms } if self.manner.verbose => {
                let status = status.map_or_else(|| "no answer".to_owned(), |s| format!("exit {s}"));
                self.voice.err(&format!("{host}: $ {command}  ({status}, {took_ms} ms)"));
            }
            Event::RunFinished { .. } => {
                for (_, bar) in std::mem::take(&mut self.lines) {
                    bar.finish_and_clear();
                }
            }
            Event::Command { .. } | Event::Planned { .. } | Event::Made { .. } | Event::Unknown => {}
        }
    }
}

fn name(host: Option<&str>) -> &str {
    host.unwrap_or("control host")
}

impl Reader {
    fn info(&self, line: &str) {
        if !self.manner.quiet {
            self.voice.err(line);
        }
    }

    fn note(&self, host: Option<&str>, level: Level, text: &str, help: Option<&str>) {
        let place = host.map(|h| format!("{h}: ")).unwrap_or_default();
        // Many errors name their host already.
        let place = if text.starts_with(&place) { "" } else { &place };
        match level {
            Level::Info => self.info(&format!("{place}{text}")),
            Level::Warning => self.voice.err(&format!("warning: {place}{text}")),
            Level::Error => self.voice.err(&format!("error: {place}{text}")),
        }
        if let Some(help) = help.filter(|h| !h.is_empty() && level > Level::Info) {
            self.voice.err(&format!("  help: {help}"));
        }
    }

    fn begin(&mut self, host: Option<&str>, title: &str) {
        let Some(bars) = &self.voice.bars else { return };
        let host = name(host).to_owned();
        let bar = self.lines.entry(host.clone()).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:<22!} {elapsed:>4} {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(host);
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        bar.reset_elapsed();
        bar.set_message(harmless(title).into_owned());
    }

    fn set(&self, host: Option<&str>, text: &str) {
        if let Some(bar) = self.lines.get(name(host)) {
            bar.set_message(harmless(text).into_owned());
        } else if self.manner.verbose {
            self.voice.err(&format!("{}: {text}", name(host)));
        }
    }

    fn end(&mut self, host: Option<&str>, title: &str, outcome: &Outcome, took_ms: u64) {
        let host = name(host);
        match outcome {
            Outcome::Changed if self.dry_run => {}
            Outcome::Changed => self.info(&format!("{host}: {title}: done ({})", seconds(took_ms))),
            Outcome::Satisfied if self.manner.verbose => self.info(&format!("{host}: {title}: already so")),
            Outcome::Satisfied => {}
            Outcome::Failed { failure } => {
                self.voice.err(&format!("error: {host}: {title}: failed"));
                for line in failure.error.lines() {
                    self.voice.err(&format!("  {line}"));
                }
                if let Some(help) = &failure.help {
                    self.voice.err(&format!("  help: {help}"));
                }
            }
            // One line for what a failure keeps from being tried is enough; the table counts the hosts.
            Outcome::Blocked { by } if self.manner.verbose => self.info(&format!("{host}: {title}: not tried: {by}")),
            Outcome::Blocked { .. } => {}
        }
        if let Some(bar) = self.lines.get(host) {
            bar.set_message("");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_too_wide_for_the_terminal_becomes_lines() {
        let rows = [vec!["10.8.14.200".to_owned(), "x86_64".to_owned(), "off".to_owned()]];
        assert_eq!(lines(&["host", "arch", "swap"], &rows), "10.8.14.200: arch x86_64, swap off");
        assert!(table_or_lines(&["host", "arch", "swap"], &rows).contains("swap"));
    }

    #[test]
    fn the_closing_table_names_every_host_and_fits() {
        let host =
            |host: &str, result| HostResult { host: host.into(), result, changed: 3, took_ms: 1240, route: None };
        let hosts = [host("10.8.14.200", HostState::Ok), host("主机.example", HostState::Unreachable)];
        let text = closing_table(&hosts, false).to_string();
        for word in ["10.8.14.200", "ok", "主机.example", "UNREACHABLE", "1.2 s"] {
            assert!(text.contains(word), "{text}");
        }
        assert!(text.contains(" changed") && !text.contains("would change"), "{text}");
        assert!(closing_table(&hosts, true).to_string().contains("would change"));
        let narrow = closing_table(&hosts, false).set_width(48).to_string();
        assert!(narrow.lines().all(|l| l.chars().count() <= 48), "{narrow}");
    }
}
