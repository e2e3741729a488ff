//! Killed with -9 anywhere, the same line goes on.

use rand::RngExt;

use crate::cluster::{GROUPS, whole, whole_line};
use crate::lab::Lab;
use crate::site::Site;

#[test]
fn killed_ten_times_at_random_the_line_still_ends_with_all_ready() {
    if !Lab::here() {
        return;
    }
    let lab = Lab::up(3);
    let site = Site::with(&GROUPS);
    let mut rng = rand::rng();
    let mut killed = 0;
    while killed < 10 {
        // So many steps further than the last run came; a run that has nothing left to do is not killed.
        let after = rng.random_range(1..12);
        eprintln!("kill {killed} after {after} changed or started step(s)");
        let mut seen = 0;
        let code = site.watch(&lab, &whole_line(), |event| {
            let started = event["event"] == "step_started";
            let satisfied = event["outcome"]["result"] == "satisfied";
            seen += i32::from(started) - i32::from(satisfied);
            seen < after
        });
        if code == Some(0) {
            break;
        }
        killed += 1;
    }
    site.run(&lab, &whole_line()).expect_ok();
    whole(&site, &lab, 3);
    let code = site.watch(&lab, &whole_line(), |event| {
        assert_ne!(event["outcome"]["result"], "changed", "{event}");
        true
    });
    assert_eq!(code, Some(0));
}
