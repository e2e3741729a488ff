//! Ends a connection at its deadline, whatever the code that uses it is doing. libssh2 takes in packets for as long as they
//! come, and lines before the host's version likewise, so a host that never stops sending keeps a call busy for ever: no
//! time-out of ours or of libssh2 is looked at. One thread for all connections shuts such a socket down, and the call ends.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A time after another; where the clock has no such time, one that nobody will see.
pub(super) fn later(begun: Instant, wait: Duration) -> Instant {
    const DECADES: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    begun.checked_add(wait).unwrap_or(begun + DECADES)
}

static WATCHDOG: LazyLock<Watchdog> = LazyLock::new(Watchdog::default);

#[derive(Default)]
struct Watchdog {
    watched: Mutex<Watched>,
    earlier: Condvar,
}

#[derive(Default)]
struct Watched {
    /// By deadline; the number tells connections with the same one apart.
    sockets: BTreeMap<(Instant, u64), Arc<TcpStream>>,
    next: u64,
    has_thread: bool,
}

/// A connection that is watched; dropped, it no longer is.
#[derive(Debug)]
pub(super) struct Guard((Instant, u64));

/// Shuts `socket` down at `deadline`, unless the guard is dropped before.
pub(super) fn watch(socket: &Arc<TcpStream>, deadline: Instant) -> Guard {
    let mut watched = lock();
    let key = (deadline, watched.next);
    watched.next += 1;
    watched.sockets.insert(key, Arc::clone(socket));
    if !watched.has_thread {
        // Without a thread the deadlines between the calls still hold; the next connection tries again.
        match thread::Builder::new().name("watchdog".into()).spawn(run) {
            Ok(_) => watched.has_thread = true,
            Err(error) => tracing::warn!(%error, "no thread to end connections of hosts that never stop sending"),
        }
    }
    WATCHDOG.earlier.notify_one();
    Guard(key)
}

impl Guard {
    /// Whether the connection was shut down.
    pub(super) fn has_fired(&self) -> bool {
        !lock().sockets.contains_key(&self.0)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        lock().sockets.remove(&self.0);
    }
}

fn run() {
    let mut watched = lock();
    loop {
        let now = Instant::now();
        while let Some(due) = watched.sockets.first_entry().filter(|first| first.key().0 <= now) {
            // One that is closed already has what it should have.
            let _ = due.remove().shutdown(Shutdown::Both);
        }
        let left = watched.sockets.keys().next().map(|(deadline, _)| deadline.saturating_duration_since(now));
        watched = match left {
            Some(left) => WATCHDOG.earlier.wait_timeout(watched, left).unwrap_or_else(PoisonError::into_inner).0,
            None => WATCHDOG.earlier.wait(watched).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

fn lock() -> MutexGuard<'static, Watched> {
    WATCHDOG.watched.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    fn connected() -> (Arc<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Arc::new(here), listener.accept().unwrap().0)
    }

    #[test]
    fn a_time_limit_beyond_all_times_is_no_panic() {
        let now = Instant::now();
        assert_eq!(later(now, Duration::from_secs(8)), now + Duration::from_secs(8));
        assert!(later(now, Duration::MAX) > now + Duration::from_secs(1 << 28));
    }

    #[test]
    fn a_blocked_read_ends_at_the_deadline_and_others_go_on() {
        let ((late, _peer), (other, mut other_peer)) = (connected(), connected());
        let far = watch(&other, Instant::now() + Duration::from_secs(3600));
        let guard = watch(&late, Instant::now() + Duration::from_millis(50));
        assert_eq!((&*late).read(&mut [0]).unwrap(), 0);
        assert!(guard.has_fired() && !far.has_fired());
        std::io::Write::write_all(&mut other_peer, b"x").unwrap();
        assert_eq!((&*other).read(&mut [0]).unwrap(), 1);
    }

    #[test]
    fn a_connection_that_is_no_longer_watched_stays() {
        let (here, mut peer) = connected();
        drop(watch(&here, Instant::now() + Duration::from_millis(20)));
        // The thread has looked at its list since: a later deadline has fired.
        let (later, _later_peer) = connected();
        let guard = watch(&later, Instant::now() + Duration::from_millis(60));
        assert_eq!((&*later).read(&mut [0]).unwrap(), 0);
        assert!(guard.has_fired());
        std::io::Write::write_all(&mut peer, b"x").unwrap();
        assert_eq!((&*here).read(&mut [0]).unwrap(), 1);
    }
}
