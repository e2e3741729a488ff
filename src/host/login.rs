//! The way to a session: connecting, the handshake, the host's key, the login; again where a later try may do better.

use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use ssh2::Session;

use super::auth::{self, LoginError};
use super::error::HostError;
use super::known_hosts;
use super::pace;
use super::session::Connect;
use super::target::Target;
use super::text::one_line;
use super::watchdog;

/// Unanswered data for this long means that the peer is gone, in milliseconds (`TCP_USER_TIMEOUT`, tcp(7)).
const PEER_GONE_MS: u32 = 30_000;
/// A login has several questions: all together may take as many times what each may.
const LOGIN_WAITS: u32 = 4;
/// A host that boots is waited for so long. It is asked again after pauses that double between these: its sshd counts each
/// login as a failed one.
const BOOTING: Duration = Duration::from_secs(120);
const BOOTING_PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));

/// Connects and logs in, again when sshd drops the connection because it has too many logins under way, or lets nobody in
/// because its host still boots. The session is still a blocking one.
pub(super) fn log_in(target: &Target, connect: &Connect) -> Result<(Session, Arc<TcpStream>), HostError> {
    let host = target.id();
    let mut why = String::new();
    let (mut tried, mut booting, mut pause) = (0, None, BOOTING_PAUSES.0);
    while tried < pace::TRIES {
        if tried > 0 {
            thread::sleep(pace::back_off(tried - 1));
        }
        let place = pace::place(&target.socket());
        let tcp = dial(target, connect)?;
        let result = log_in_over(&tcp, target, connect);
        if result.is_err() {
            // Nothing that is done with the session from here on may wait for the host.
            let _ = tcp.shutdown(Shutdown::Both);
        }
        match result {
            Ok(session) => return Ok((session, tcp)),
            Err(LoginError::Final(e)) => return Err(e),
            Err(LoginError::Dropped(lost)) => {
                tried += 1;
                why = lost;
            }
            Err(LoginError::Booting(text)) => {
                let since = *booting.get_or_insert_with(|| {
                    if let Some(told) = &connect.told {
                        told(&host, &format!("waiting until it lets {} in: {}", target.user, one_line(&text)));
                    }
                    Instant::now()
                });
                if since.elapsed() >= BOOTING {
                    return Err(HostError::Booting { host, user: target.user.clone(), text, after: BOOTING });
                }
                drop(place);
                thread::sleep(pause);
                pause = (pause * 2).min(BOOTING_PAUSES.1);
            }
        }
    }
    Err(HostError::Dropped { host, tries: pace::TRIES, why })
}

fn log_in_over(tcp: &Arc<TcpStream>, target: &Target, connect: &Connect) -> Result<Session, LoginError> {
    let host = target.id();
    let begun = Instant::now();
    let too_long = |what: &str, after: Duration| {
        let why = format!("{what}: not done within {} s", after.as_secs());
        LoginError::Final(HostError::Unreachable { host: host.clone(), why })
    };
    let watched = watchdog::watch(tcp, watchdog::later(begun, connect.timeout));
    let session = match auth::handshake(tcp, connect.timeout, &known_hosts::types(&connect.known_hosts, target)) {
        Ok(session) => session,
        Err(e) if watched.has_fired() || auth::is_timeout(&e) => {
            return Err(too_long("SSH handshake", connect.timeout));
        }
        Err(e) if auth::is_drop(&e) => return Err(LoginError::Dropped(e.to_string())),
        Err(e) => {
            let why = format!("SSH handshake: {e}");
            return Err(LoginError::Final(HostError::Unreachable { host, why }));
        }
    };
    drop(watched);
    let key = session.host_key().map(|(key, _)| key.to_vec()).unwrap_or_default();
    known_hosts::check(connect, target, &key).map_err(LoginError::Final)?;
    let most = connect.timeout.saturating_mul(LOGIN_WAITS);
    let watched = watchdog::watch(tcp, watchdog::later(Instant::now(), most));
    match auth::login(&session, target, connect.timeout) {
        Err(_) if watched.has_fired() => Err(too_long("login", most)),
        result => result.map(|()| session),
    }
}

fn dial(target: &Target, connect: &Connect) -> Result<Arc<TcpStream>, HostError> {
    let fail = |why: String| HostError::Unreachable { host: target.id(), why };
    let addresses: Vec<SocketAddr> = match target.address.ip() {
        Some(ip) => vec![SocketAddr::new(ip, target.port)],
        None => (target.address.to_string(), target.port)
            .to_socket_addrs()
            .map_err(|e| fail(format!("its name cannot be resolved: {e}")))?
            .collect(),
    };
    let mut why = "its name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, connect.timeout) {
            Ok(tcp) => {
                // Commands are small packets that each wait for an answer.
                let _ = tcp.set_nodelay(true);
                let _ = setsockopt(&tcp.as_fd(), sockopt::TcpUserTimeout, &PEER_GONE_MS);
                return Ok(Arc::new(tcp));
            }
            Err(e) => why = format!("{address}: {e}"),
        }
    }
    Err(fail(why))
}
