//! GET `/metrics`: counts in Prometheus' text format
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::{Method, StatusCode};

/// Upper bounds of the buckets, in milliseconds.
const BUCKETS: [u64; 7] = [1, 5, 10, 50, 250, 1000, 10_000];

/// What was answered, and how long that took.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    answers: BTreeMap<(&'static str, &'static str, u16), u64>,
    buckets: [u64; BUCKETS.len()],
    count: u64,
    micros: u128,
}

impl Metrics {
    pub(crate) fn count(&self, route: &'static str, method: &Method, status: StatusCode, took: Duration) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A method of the client's invention must not make a new line.
        let method = match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            Method::DELETE => "DELETE",
            _ => "other",
        };
        *counts.answers.entry((route, method, status.as_u16())).or_default() += 1;
        for (at, bound) in BUCKETS.iter().enumerate() {
            if took <= Duration::from_millis(*bound) {
                counts.buckets[at] += 1;
            }
        }
        counts.count += 1;
        counts.micros += took.as_micros();
    }

    /// The page of metrics; `tasks` are type, status and how many.
    pub(crate) fn text(&self, tasks: &[(i64, String, i64)], environments: usize) -> String {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        let mut line = |words: std::fmt::Arguments<'_>| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{words}");
        };
        line(format_args!("# HELP sunshine_http_requests_total Requests answered."));
        line(format_args!("# TYPE sunshine_http_requests_total counter"));
        for ((route, method, status), n) in &counts.answers {
            line(format_args!(
                "sunshine_http_requests_total{{route=\"{route}\",method=\"{method}\",status=\"{status}\"}} {n}"
            ));
        }
        line(format_args!("# HELP sunshine_http_request_seconds How long requests took."));
        line(format_args!("# TYPE sunshine_http_request_seconds histogram"));
        for (bound, n) in BUCKETS.iter().zip(counts.buckets) {
            let seconds = Duration::from_millis(*bound).as_secs_f64();
            line(format_args!("sunshine_http_request_seconds_bucket{{le=\"{seconds}\"}} {n}"));
        }
        line(format_args!("sunshine_http_request_seconds_bucket{{le=\"+Inf\"}} {}", counts.count));
        let (whole, rest) = (counts.micros / 1_000_000, counts.micros % 1_000_000);
        line(format_args!("sunshine_http_request_seconds_sum {whole}.{rest:06}"));
        line(format_args!("sunshine_http_request_seconds_count {}", counts.count));
        line(format_args!("# HELP sunshine_environments Environments known."));
        line(format_args!("# TYPE sunshine_environments gauge"));
        line(format_args!("sunshine_environments {environments}"));
        line(format_args!("# HELP sunshine_tasks Tasks kept, by environment_type and environment_status."));
        line(format_args!("# TYPE sunshine_tasks gauge"));
        for (kind, status, n) in tasks {
            line(format_args!("sunshine_tasks{{type=\"{kind}\",status=\"{status}\"}} {n}"));
        }
        text
    }
}
