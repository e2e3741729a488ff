//! Calls to the Kubernetes and etcd APIs, by HTTPS from the control host or by `kubectl` and `etcdctl` on a host: which of
//! their failures pass without anybody's doing, and for how long a call is repeated.
//!
//! An idempotent call is repeated as it is. A call that is not (an eviction, a member added, removed or promoted) is
//! repeated only together with the question whether it has happened: the closure that is handed to [`repeat`] asks first.

use std::error::Error;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use crate::host::{Command, Host, HostError, Output};
use crate::plan::{Cx, Interrupt, StepError};

/// For a step of a run: a host that reboots, a control plane node that is restarted, an election in a slow cluster.
const STEP: Duration = Duration::from_secs(60);
/// For a question that somebody waits for, and for what is asked before a run or by a dry run.
const SHORT: Duration = Duration::from_secs(5);
/// The pause before the second try; each further one is a quarter longer.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How soon an interrupt ends a pause.
const TICK: Duration = Duration::from_millis(100);

/// The exit status of a script whose failure is final, whatever it printed: journal lines may hold any words.
pub(super) const FINAL_STATUS: i32 = 70;

/// For how long a call is repeated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience<'a> {
    limit: Duration,
    interrupt: Option<&'a Interrupt>,
}

impl Patience<'static> {
    /// The first answer counts.
    pub(super) const ONCE: Self = Self { limit: Duration::ZERO, interrupt: None };
    /// Long enough for an election in etcd, short enough for somebody who waits.
    pub(super) const SHORT: Self = Self { limit: SHORT, interrupt: None };
}

impl<'a> Patience<'a> {
    /// A step's: it ends early when the run is interrupted, and a dry run does not wait for a cluster that is down.
    pub(super) fn of_step(cx: &Cx<'a>) -> Self {
        let limit = if cx.wants_detail() { SHORT } else { STEP };
        Self { limit, interrupt: Some(cx.interrupt) }
    }

    /// No longer than this.
    pub(super) fn at_most(self, limit: Duration) -> Self {
        Self { limit: self.limit.min(limit), ..self }
    }

    /// A step's that knows its own limit.
    pub(super) fn lasting(cx: &Cx<'a>, limit: Duration) -> Self {
        Self { limit, interrupt: Some(cx.interrupt) }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupt.is_some_and(Interrupt::is_set)
    }

    /// Waits before the next try; false when there is to be none.
    fn wait(&self, begun: Instant, pause: Duration) -> bool {
        let left = self.limit.saturating_sub(begun.elapsed());
        let end = Instant::now() + pause.min(left);
        while !left.is_zero() && !self.is_interrupted() {
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return true;
            }
            thread::sleep(rest.min(TICK));
        }
        false
    }
}

/// The last failure of a call that was repeated in vain.
#[derive(Debug)]
pub(super) struct GaveUp<E> {
    pub error: E,
    /// For how long it was repeated; empty when it was not.
    note: String,
}

impl<E: Transient> GaveUp<E> {
    /// The failure, which says now for how long the call was repeated.
    pub(super) fn into_error(self) -> E {
        if self.note.is_empty() { self.error } else { self.error.with_note(&self.note) }
    }
}

/// A failure that may pass without anybody's doing.
pub(super) trait Transient: Sized {
    fn is_transient(&self) -> bool;

    /// The same failure with `note` at the end of its text.
    #[must_use]
    fn with_note(self, note: &str) -> Self;
}

/// Repeats `call` as long as `passes` says that its failure passes, until the patience is at its end.
///
/// # Errors
/// The first failure that does not pass, or the last one.
pub(super) fn repeat<T, E>(
    patience: Patience<'_>,
    passes: impl Fn(&E) -> bool,
    mut call: impl FnMut() -> Result<T, E>,
) -> Result<T, GaveUp<E>> {
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut tries = 0_u32;
    loop {
        let error = match call() {
            Ok(value) => return Ok(value),
            Err(error) if !passes(&error) => return Err(GaveUp { error, note: String::new() }),
            Err(error) => error,
        };
        tries = tries.saturating_add(1);
        if !patience.wait(begun, pause) {
            return Err(GaveUp { error, note: note(tries, begun.elapsed(), patience.is_interrupted()) });
        }
        pause = (pause * 5 / 4).min(LONGEST_PAUSE);
    }
}

fn note(tries: u32, waited: Duration, interrupted: bool) -> String {
    match (tries, interrupted) {
        (1, _) => String::new(),
        (_, true) => format!("interrupted after {tries} tries in {} s", waited.as_secs()),
        (_, false) => format!("{tries} tries in {} s", waited.as_secs()),
    }
}

/// [`repeat`] for a failure that knows itself whether it passes.
///
/// # Errors
/// As [`repeat`].
pub(super) fn until<T, E: Transient>(patience: Patience<'_>, call: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    repeat(patience, E::is_transient, call).map_err(GaveUp::into_error)
}

/// Runs an idempotent `kubectl` or `etcdctl` command on a host.
///
/// # Errors
/// When the host is lost, the failure does not pass, or the patience is at its end: with what the last try printed.
pub(super) fn run_ok(host: &Host, command: &Command, patience: Patience<'_>) -> Result<Output, HostError> {
    until(patience, || host.run_ok(command))
}

/// An answer that means "not now": too many requests, or the server's own trouble.
pub(super) fn status_passes(status: u16) -> bool {
    status == 429 || status >= 500
}

/// A call without an answer: the server starts, ends, or is out of reach. A wrong certificate or address stays wrong.
pub(super) fn transport_passes(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Http(_)
        | ureq::Error::BadUri(_)
        | ureq::Error::Pem(_)
        | ureq::Error::Tls(_)
        | ureq::Error::BodyExceedsLimit(_)
        | ureq::Error::RedirectFailed
        | ureq::Error::TooManyRedirects => false,
        ureq::Error::Rustls(tls) => !is_about_certificates(tls),
        ureq::Error::Io(io) => {
            let inner = io.get_ref().map(|inner| inner as &(dyn Error + 'static));
            !inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some_and(is_about_certificates)
        }
        _ => true,
    }
}

fn is_about_certificates(error: &rustls::Error) -> bool {
    use rustls::AlertDescription as Alert;
    match error {
        rustls::Error::InvalidCertificate(_) => true,
        rustls::Error::AlertReceived(alert) => matches!(
            alert,
            Alert::BadCertificate
                | Alert::CertificateExpired
                | Alert::CertificateRequired
                | Alert::CertificateRevoked
                | Alert::CertificateUnknown
                | Alert::UnknownCA
        ),
        _ => false,
    }
}

/// What kubectl and etcdctl print of a certificate that is not trusted, beside words of [`PASSES`].
const STAYS: [&str; 3] = ["x509:", "bad certificate", "unknown certificate authority"];

/// What kubectl and etcdctl print when a call would go well a little later: no connection, a time-out, HTTP 429 and 5xx.
/// kubectl prints an error 500 without a reason, as of etcd in the API server, behind a bare `Error from server:`.
const PASSES: [&str; 31] = [
    "connection refused",
    "connection reset",
    "broken pipe",
    "no route to host",
    "network is unreachable",
    "i/o timeout",
    "handshake timeout",
    ": EOF",
    "unexpected EOF",
    "http2: ",
    "transport is closing",
    "deadline exceeded",
    "Client.Timeout exceeded",
    "Unable to connect to the server",
    "The connection to the server",
    "unable to handle the request",
    "unable to return a response in the time allotted",
    "an error on the server",
    "Error from server: ",
    "Error from server (InternalError)",
    "Error from server (ServiceUnavailable)",
    "Error from server (ServerTimeout)",
    "Error from server (Timeout)",
    "Error from server (TooManyRequests)",
    "code = Unavailable",
    "code = DeadlineExceeded",
    "code = Unknown",
    "etcdserver: request timed out",
    "etcdserver: leader changed",
    "etcdserver: unhealthy cluster",
    "unavailable or misconfigured",
];
/// Of etcd's own words those that come with an election, and with a member that is overloaded.
const ELECTION: [&str; 4] =
    ["etcdserver: no leader", "etcdserver: not leader", "etcdserver: too many requests", "etcdserver: server stopped"];

/// Whether what kubectl or etcdctl printed is a failure that passes.
fn output_passes(text: &str) -> bool {
    let holds = |words: &[&str]| words.iter().any(|word| text.contains(word));
    !holds(&STAYS) && (holds(&PASSES) || holds(&ELECTION))
}

impl Transient for HostError {
    /// A lost connection to the host is not meant here: the session has its own ways.
    fn is_transient(&self) -> bool {
        matches!(self, Self::Failed { status, stderr, .. } if *status != FINAL_STATUS && output_passes(stderr))
    }

    fn with_note(mut self, note: &str) -> Self {
        if let Self::Failed { stderr, .. } = &mut self {
            stderr.push_str(&format!("\n({note})"));
        }
        self
    }
}

impl Transient for StepError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Host(error) if error.is_transient())
    }

    fn with_note(self, note: &str) -> Self {
        match self {
            Self::Host(error) => Self::Host(error.with_note(note)),
            Self::Failed { error, help } => Self::Failed { error: noted(error, note), help },
            other => other,
        }
    }
}

/// A text of one line with a note behind it.
pub(super) fn noted(text: impl fmt::Display, note: &str) -> String {
    format!("{text} ({note})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Later(String);

    impl Transient for Later {
        fn is_transient(&self) -> bool {
            true
        }

        fn with_note(self, note: &str) -> Self {
            Self(noted(self.0, note))
        }
    }

    #[test]
    fn an_interrupt_ends_the_wait_and_is_in_the_error() {
        let interrupt = Interrupt::default();
        let patience = Patience { limit: Duration::from_secs(3600), interrupt: Some(&interrupt) };
        let mut tries = 0;
        let error = until(patience, || -> Result<(), Later> {
            tries += 1;
            if tries == 2 {
                interrupt.set();
            }
            Err(Later("no".to_owned()))
        })
        .unwrap_err();
        assert_eq!(tries, 2);
        assert!(error.0.starts_with("no (interrupted after 2 tries"), "{}", error.0);
    }

    #[test]
    fn a_call_without_patience_is_made_once_and_says_nothing_of_tries() {
        let error = until(Patience::ONCE, || -> Result<(), Later> { Err(Later("no".to_owned())) }).unwrap_err();
        assert_eq!(error.0, "no");
    }

    #[test]
    fn what_kubectl_and_etcdctl_print_is_told_apart() {
        for text in [
            "The connection to the server 10.8.14.200:6443 was refused - did you specify the right host or port?",
            "Unable to connect to the server: net/http: TLS handshake timeout",
            "Error from server: rpc error: code = Unknown desc = malformed header: missing content-type",
            "Error from server: etcdserver: leader changed",
            "Error from server (InternalError): an error on the server (\"\") has prevented the request from succeeding",
            "Error from server (TooManyRequests): the server has received too many requests",
            "error when retrieving current configuration of:\n\netcdserver: request timed out",
            "Error: context deadline exceeded",
            "Error: etcdserver: unhealthy cluster",
            "{\"level\":\"warn\",\"error\":\"rpc error: code = Unavailable desc = transport is closing\"}",
            "Error:  client: etcd cluster is unavailable or misconfigured; error #0: dial tcp: connection refused",
        ] {
            assert!(output_passes(text), "{text}");
        }
        for text in [
            "Error from server (NotFound): configmaps \"sunshine-cluster\" not found",
            "Error from server (Forbidden): nodes is forbidden",
            "error: unable to recognize \"STDIN\": no matches for kind \"Felix\" in version \"crd/v1\"",
            "Unable to connect to the server: x509: certificate signed by unknown authority",
            "Error: etcdserver: Peer URLs already exists",
            "Error: etcdserver: can only promote a learner member which is in sync with leader",
            "",
        ] {
            assert!(!output_passes(text), "{text}");
        }
    }

    #[test]
    fn a_scripts_own_verdict_is_final_whatever_it_printed() {
        let failed = |status| HostError::Failed {
            host: "h".into(),
            command: "c".to_owned(),
            status,
            stderr: "connection refused".to_owned(),
        };
        assert!(failed(1).is_transient());
        assert!(!failed(FINAL_STATUS).is_transient());
    }
}
