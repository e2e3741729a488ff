//! The signals that ask this program to end: SIGINT, SIGTERM, and SIGHUP of a terminal that is closed.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Those signals, listened for from its making on.
#[derive(Debug)]
pub(super) struct Ending {
    interrupt: Signal,
    terminate: Signal,
    /// `None` when whoever started the program wants it to outlive the terminal, as nohup(1) does.
    hangup: Option<Signal>,
}

impl Ending {
    /// Listens; inside a runtime.
    ///
    /// # Errors
    /// When the signals cannot be listened for.
    pub(super) fn listen() -> io::Result<Self> {
        let hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hangup })
    }

    /// Returns with the next of them.
    pub(super) async fn wait(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hangup => {}
        }
    }
}

/// Whether SIGHUP was ignored when the program began (proc_pid_status(5)).
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| has_ignored(&status, SignalKind::hangup()))
}

fn has_ignored(status: &str, kind: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    u32::try_from(kind.as_raw_value() - 1).is_ok_and(|bit| mask >> bit & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_hangup_is_seen() {
        let status = |mask: &str| format!("Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\nSigCgt:\t01\n");
        let ignored = |mask: &str| has_ignored(&status(mask), SignalKind::hangup());
        assert!(ignored("0000000000000001") && ignored("0000000000001001"));
        assert!(!ignored("0000000000001000") && !ignored("") && !has_ignored("", SignalKind::hangup()));
    }
}
