//! Killed with -9 anywhere, the same line goes on.

#![allow(clippy::print_stderr, reason = "how a failed run went is wanted")]

use rand::RngExt;

use crate::chance::seeded;
use crate::cluster::{GROUPS, whole, whole_line};
use crate::lab::Lab;
use crate::site::Site;

const KILLS: usize = 10;
/// So many steps at most further than the run before: ten times that is less than the line has.
const FURTHEST: i32 = 5;

#[test]
fn killed_ten_times_at_random_the_line_still_ends_with_all_ready() {
    if !Lab::here() {
        return;
    }
    let mut chance = seeded();
    let lab = Lab::up(3);
    let site = Site::with(&GROUPS);
    for kill in 0..KILLS {
        let after = chance.random_range(1..=FURTHEST);
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
    let code = site.watch(&lab, &whole_line(), |event| {
        assert_ne!(event["outcome"]["result"], "changed", "{event}");
        true
    });
    assert_eq!(code, Some(0));
}
