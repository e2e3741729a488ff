//! Places for connections: how many there may be, of all and of one peer, and which of them ends when there are more.
//!
//! A connection whose caller was let in is never ended while its request is answered. Every other one (it has sent nothing,
//! or half a request, or waits for the next one) ends as soon as a newcomer needs its place: so those who only hold
//! connections open, however many, keep nobody out. The peer that has the most of them loses its oldest.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

use super::answer::Answer;
use super::auth::Caller;

/// Connections of all peers; fewer where the process may not open as many files.
const ALL: usize = 1024;
/// Connections of one peer.
const EACH: usize = 512;

/// Who counts as one: a user of this machine, an IPv4 address, a network of IPv6 (whoever has one has all its addresses).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Peer {
    User(u32),
    Address(IpAddr),
}

impl Peer {
    pub(super) fn of(caller: Caller, address: IpAddr) -> Self {
        match (caller, address.to_canonical()) {
            (Caller::User(user), _) => Self::User(user),
            (Caller::Unknown, ip) if ip.is_loopback() => Self::Address(Ipv4Addr::LOCALHOST.into()),
            (Caller::Unknown, IpAddr::V6(ip)) => {
                let network = u128::from(ip) & (u128::MAX << 64);
                Self::Address(Ipv6Addr::from(network).into())
            }
            (Caller::Unknown, ip) => Self::Address(ip),
        }
    }
}

/// All places.
#[derive(Debug)]
pub(super) struct Seats {
    all: usize,
    each: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// In the order in which they came.
    taken: BTreeMap<u64, Taken>,
}

#[derive(Debug)]
struct Taken {
    peer: Peer,
    /// Requests of callers that were let in, which are being answered.
    working: bool,
    end: Arc<Notify>,
}

/// One connection's place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
    end: Arc<Notify>,
}

/// While it lives, the connection is not ended for another.
#[derive(Debug)]
pub(super) struct Work(Arc<Seat>);

impl Seats {
    /// As many as a process that may open `files` files can have beside its tasks.
    pub(super) fn within(files: u64) -> Arc<Self> {
        let all = usize::try_from(files / 2).unwrap_or(ALL).clamp(16, ALL);
        Arc::new(Self { all, each: EACH.min(all / 2), table: Mutex::default() })
    }

    /// A place for a connection of `peer`, if need be that of one that only waits. `None` when there is none: all that
    /// `peer`, or everybody, may have are being answered.
    pub(super) fn admit(self: &Arc<Self>, peer: Peer) -> Option<Seat> {
        let mut table = self.lock();
        let own = table.taken.values().filter(|taken| taken.peer == peer).count();
        if own >= self.each {
            table.end_oldest(Some(peer))?;
        } else if table.taken.len() >= self.all {
            table.end_oldest(None)?;
        }
        let (number, end) = (table.next, Arc::new(Notify::new()));
        table.next += 1;
        table.taken.insert(number, Taken { peer, working: false, end: Arc::clone(&end) });
        Some(Seat { seats: Arc::clone(self), number, end })
    }

    /// Ends a connection that only waits, where the process can open no more files.
    pub(super) fn end_one(&self) {
        self.lock().end_oldest(None);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Ends the oldest connection of `peer`, or of the peer that has the most, among those that only wait.
    fn end_oldest(&mut self, peer: Option<Peer>) -> Option<()> {
        let peer = peer.or_else(|| self.greediest())?;
        let number = *self.taken.iter().find(|(_, taken)| taken.peer == peer && !taken.working)?.0;
        self.taken.remove(&number)?.end.notify_one();
        Some(())
    }

    fn greediest(&self) -> Option<Peer> {
        let mut waiting = HashMap::<Peer, usize>::new();
        for taken in self.taken.values().filter(|taken| !taken.working) {
            *waiting.entry(taken.peer).or_default() += 1;
        }
        waiting.into_iter().max_by_key(|(_, count)| *count).map(|(peer, _)| peer)
    }
}

impl Seat {
    /// Returns when the place was given to another.
    pub(super) async fn ended(&self) {
        self.end.notified().await;
    }

    /// Keeps the place until the answer to this request is sent; `None` when it is another's already.
    pub(super) fn work(self: &Arc<Self>) -> Option<Work> {
        self.seats.lock().taken.get_mut(&self.number)?.working = true;
        Some(Work(Arc::clone(self)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().taken.remove(&self.number);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(taken) = self.0.seats.lock().taken.get_mut(&self.0.number) {
            taken.working = false;
        }
    }
}

/// An answer during which its connection keeps its place.
pub(super) fn seated(answer: Answer, work: Work) -> Answer {
    answer.map(|body| Seated { body, _work: work }.boxed())
}

struct Seated {
    body: BoxBody<Bytes, Infallible>,
    _work: Work,
}

impl Body for Seated {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(all: usize, each: usize) -> Arc<Seats> {
        Arc::new(Seats { all, each, table: Mutex::default() })
    }

    fn is_there(seat: &Seat) -> bool {
        seat.seats.lock().taken.contains_key(&seat.number)
    }

    #[test]
    fn whoever_only_waits_loses_its_place_the_greediest_peers_oldest_first() {
        let seats = seats(4, 3);
        let (one, two) = (Peer::User(1), Peer::User(2));
        let quiet = seats.admit(two).unwrap();
        let idle: Vec<Seat> = (0..3).map(|_| seats.admit(one).unwrap()).collect();
        // All four are taken: a third peer gets the place of the oldest of those three.
        let third = seats.admit(Peer::User(3)).unwrap();
        assert!(is_there(&quiet) && is_there(&third) && !is_there(&idle[0]) && is_there(&idle[1]));
        // A peer at its own limit loses one of its own, whoever has how many.
        let more: Vec<Seat> = (0..5).map(|_| seats.admit(one).unwrap()).collect();
        assert!(is_there(&quiet) && is_there(&third) && !is_there(&more[0]) && is_there(&more[4]));
        drop(third);
        assert_eq!(seats.lock().taken.len(), 3, "a place is free when its connection ends");
    }

    #[test]
    fn whoever_is_answered_keeps_its_place_until_the_answers_end() {
        let seats = seats(4, 2);
        let (one, two) = (Peer::User(1), Peer::User(2));
        let working: Vec<Arc<Seat>> = (0..2).map(|_| Arc::new(seats.admit(one).unwrap())).collect();
        let mut works: Vec<Work> = working.iter().map(|seat| seat.work().unwrap()).collect();
        assert!(seats.admit(one).is_none(), "all that this peer may have are answered");
        let other = Arc::new(seats.admit(two).unwrap());
        works.pop();
        let next = seats.admit(one).unwrap();
        assert!(is_there(&working[0]) && !is_there(&working[1]) && is_there(&next) && is_there(&other));
        assert!(working[1].work().is_none(), "its place is another's: its request is not begun");
        assert!(other.work().is_some());
    }

    #[test]
    fn peers_are_users_addresses_and_networks() {
        let peer = |caller, address: &str| Peer::of(caller, address.parse().unwrap());
        assert_eq!(peer(Caller::User(5), "127.0.0.1"), Peer::User(5));
        assert_eq!(peer(Caller::Unknown, "127.0.0.1"), peer(Caller::Unknown, "127.9.9.9"));
        assert_eq!(peer(Caller::Unknown, "::ffff:127.0.0.3"), peer(Caller::Unknown, "::1"));
        assert_ne!(peer(Caller::Unknown, "10.0.0.1"), peer(Caller::Unknown, "10.0.0.2"));
        assert_eq!(peer(Caller::Unknown, "2001:db8::1"), peer(Caller::Unknown, "2001:db8::2:1"));
        assert_ne!(peer(Caller::Unknown, "2001:db8::1"), peer(Caller::Unknown, "2001:db8:0:1::1"));
    }
}
