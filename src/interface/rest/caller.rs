//! Which user has the other end of a connection on loopback: asked of the kernel, which knows the owner of every socket.
//!
//! Source: `linux/netlink.h`, `linux/sock_diag.h` and `linux/inet_diag.h`; netlink(7), sock_diag(7). One question about one
//! pair of addresses and ports; the answer counts only when it is about that pair, and while the socket belongs to a
//! process: the kernel reports one that was closed as root's.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvfrom, sendto, socket,
};

/// `SOCK_DIAG_BY_FAMILY`
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`
const REQUEST: u16 = 1;
/// `NLMSG_ERROR`
const ERROR: u16 = 2;
const IPPROTO_TCP: u8 = 6;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// States of `net/tcp_states.h` in which a client can still be read from: established, and its two with nothing more to send.
const READABLE: [u8; 3] = [1, 4, 5];
/// `struct nlmsghdr`
const HEAD: usize = 16;
/// `struct inet_diag_req_v2`
const QUESTION: usize = 56;
/// `struct inet_diag_msg`
const ANSWER: usize = 72;

/// The ID of the user whose socket has these ends, `client` its own and `server` the one that it is connected to. `None`
/// when the kernel knows no such socket, or no process has it any more.
pub(super) fn user_of(client: SocketAddr, server: SocketAddr) -> io::Result<Option<u32>> {
    let (client, server) = (plain(client), plain(server));
    let Some(question) = question(client, server) else { return Ok(None) };
    // A socket for each question: no answer to another one can be read from it.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let netlink = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkSockDiag)?;
    sendto(netlink.as_raw_fd(), &question, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    answer(&received(&netlink)?, client, server)
}

/// The kernel answers while it is asked: what is not there now will not come.
fn received(netlink: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 4096];
    let (length, from) = recvfrom::<NetlinkAddr>(netlink.as_raw_fd(), &mut buffer)?;
    if from.is_none_or(|from| from.pid() != 0) {
        return Err(io::Error::other("an answer that is not the kernel's"));
    }
    buffer.truncate(length);
    Ok(buffer)
}

/// As the kernel's tables have it: an IPv4 address that is written as IPv6 is an IPv4 address.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn question(client: SocketAddr, server: SocketAddr) -> Option<Vec<u8>> {
    let family = match (client, server) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) => AF_INET,
        (SocketAddr::V6(_), SocketAddr::V6(_)) => AF_INET6,
        _ => return None,
    };
    let mut bytes = Vec::with_capacity(HEAD + QUESTION);
    bytes.extend(u32::try_from(HEAD + QUESTION).ok()?.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    // Sequence number and sender's port ID: the kernel fills in the second.
    bytes.extend([0; 8]);
    bytes.extend([family, IPPROTO_TCP, 0, 0]);
    // Sockets in any state.
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(client.port().to_be_bytes());
    bytes.extend(server.port().to_be_bytes());
    bytes.extend(words(client.ip()));
    bytes.extend(words(server.ip()));
    // No interface, and INET_DIAG_NOCOOKIE.
    bytes.extend([0; 4]);
    bytes.extend([0xff; 8]);
    Some(bytes)
}

/// An address as `inet_diag_sockid` holds it: IPv4 in the first of four words.
fn words(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V6(ip) => ip.octets(),
        IpAddr::V4(ip) => {
            let mut words = [0; 16];
            words[..4].copy_from_slice(&ip.octets());
            words
        }
    }
}

fn answer(bytes: &[u8], client: SocketAddr, server: SocketAddr) -> io::Result<Option<u32>> {
    let short = || io::Error::other("the kernel's answer is cut short");
    let kind = bytes.get(4..6).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes).ok_or_else(short)?;
    let body = bytes.get(HEAD..).ok_or_else(short)?;
    match kind {
        BY_FAMILY => Ok(owner(body.get(..ANSWER).ok_or_else(short)?, client, server)),
        ERROR => {
            let number = i32::from_ne_bytes(array(body, 0).ok_or_else(short)?);
            match io::Error::from_raw_os_error(number.saturating_neg()) {
                // No such socket. That this kernel cannot be asked about TCP at all is said by the same number.
                error if error.kind() == io::ErrorKind::NotFound => Ok(None),
                error => Err(error),
            }
        }
        other => Err(io::Error::other(format!("the kernel answers with a message of type {other}"))),
    }
}

/// The user in a `struct inet_diag_msg`, when it is about this connection and a process has the socket.
fn owner(message: &[u8], client: SocketAddr, server: SocketAddr) -> Option<u32> {
    let ends = (end(message, 4, 8)?, end(message, 6, 24)?);
    let state = *message.get(1)?;
    let (user, inode) = (u32::from_ne_bytes(array(message, 64)?), u32::from_ne_bytes(array(message, 68)?));
    (ends == (client, server) && READABLE.contains(&state) && inode != 0).then_some(user)
}

/// One end of an `inet_diag_sockid`, by where its port and its address stand.
fn end(message: &[u8], port: usize, address: usize) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(array(message, port)?);
    let ip = match *message.first()? {
        AF_INET => IpAddr::V4(Ipv4Addr::from(array::<4>(message, address)?)),
        AF_INET6 => IpAddr::V6(Ipv6Addr::from(array::<16>(message, address)?)),
        _ => return None,
    };
    Some(plain(SocketAddr::new(ip, port)))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    struct Pair {
        client: TcpStream,
        server: TcpStream,
    }

    fn pair(listen: &str, call: &str) -> Pair {
        let listener = TcpListener::bind((listen, 0)).unwrap();
        let client = TcpStream::connect((call, listener.local_addr().unwrap().port())).unwrap();
        Pair { server: listener.accept().unwrap().0, client }
    }

    fn asked(server: &TcpStream) -> Option<u32> {
        user_of(server.peer_addr().unwrap(), server.local_addr().unwrap()).unwrap()
    }

    #[test]
    fn the_owner_of_a_clients_socket_is_known_by_every_form_of_loopback() {
        let own = Some(nix::unistd::geteuid().as_raw());
        for (listen, call) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "::ffff:127.0.0.1"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
        ] {
            let pair = pair(listen, call);
            assert_eq!(asked(&pair.server), own, "{call} to {listen}");
            pair.client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(asked(&pair.server), own, "{call} has nothing more to send");
        }
    }

    /// The kernel says that they are root's.
    #[test]
    fn a_socket_that_its_process_closed_is_nobodys() {
        let Pair { client, server } = pair("127.0.0.1", "127.0.0.1");
        drop(client);
        assert_eq!(asked(&server), None);
    }

    #[test]
    fn a_listening_socket_is_no_answer_to_the_question_for_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        assert_eq!(user_of(at, "127.0.0.1:9".parse().unwrap()).unwrap(), None);
        assert_eq!(user_of(at, "[::1]:9".parse().unwrap()).unwrap(), None);
    }

    #[test]
    fn only_a_whole_answer_about_this_connection_counts() {
        let (client, server) = ("127.0.0.1:40000".parse().unwrap(), "127.0.0.1:8383".parse().unwrap());
        let message = |state: u8, inode: u32| {
            let asked = question(client, server).unwrap();
            let mut bytes = asked[..HEAD].to_vec();
            bytes.extend([AF_INET, state, 0, 0]);
            bytes.extend(&asked[HEAD + 8..]);
            bytes.extend([0; 12]);
            bytes.extend(1001_u32.to_ne_bytes());
            bytes.extend(inode.to_ne_bytes());
            bytes
        };
        let established = message(1, 7);
        assert_eq!(answer(&established, client, server).unwrap(), Some(1001));
        assert_eq!(answer(&established, server, client).unwrap(), None);
        assert_eq!(answer(&established, "127.0.0.2:40000".parse().unwrap(), server).unwrap(), None);
        assert_eq!(answer(&message(1, 0), client, server).unwrap(), None);
        for state in [0, 2, 3, 6, 7, 8, 9, 10, 11, 12, 255] {
            assert_eq!(answer(&message(state, 7), client, server).unwrap(), None, "{state}");
        }
        for length in 0..established.len() {
            assert!(answer(&established[..length], client, server).is_err(), "{length}");
        }
        let mut refused = established;
        refused[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        refused[16..20].copy_from_slice(&(-2_i32).to_ne_bytes());
        assert_eq!(answer(&refused, client, server).unwrap(), None);
        refused[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(answer(&refused, client, server).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
