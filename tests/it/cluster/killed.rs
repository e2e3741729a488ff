//! Killed with -9 anywhere, the same line goes on.

#![allow(clippy::expect_used, reason = "helpers of tests: a panic is how a test fails")]
#![allow(clippy::print_stderr, reason = "how a failed run went is wanted")]

use rand::RngExt;

use crate::chance::{faults, seeded};
use crate::cluster::{GROUPS, whole, whole_line};
use crate::lab::Lab;
use crate::site::Site;

/// So many steps come in all before the last kill, at most: fewer than the line has.
const FURTHEST: usize = 50;

#[test]
fn killed_at_random_steps_the_line_still_ends_with_all_ready() {
    if !Lab::here() {
        return;
    }
    let mut chance = seeded();
    let lab = Lab::up(3);
    let site = Site::with(&GROUPS);
    let kills = faults(10, 3);
    for kill in 0..kills {
        let after = chance.random_range(1..=i32::try_from(FURTHEST / kills).expect("a small number"));
        let (mut seen, mut last, mut told) = (0, String::new(), Vec::new());
        let code = site.watch(&lab, &whole_line(), |event| {
            let started = event["event"] == "step_started";
            let satisfied = event["outcome"]["result"] == "satisfied";
            seen += i32::from(started) - i32::from(satisfied);
            if started {
                last = event["step"].to_string();
            }
            told.push(event.to_string());
            seen < after
        });
        eprintln!("kill {kill}: after {after} changed or started step(s), at {last}");
        let end = &told[told.len().saturating_sub(12)..];
        assert_eq!(code, None, "kill {kill}: the run ended before it was killed: {end:#?}");
    }
    site.run(&lab, &whole_line()).expect_ok();
    whole(&site, &lab, 3);
    site.changes_nothing(&lab, &whole_line());
}
