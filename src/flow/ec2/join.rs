//! The way to new instances: SSH answers on the private address where the control host can reach that, else on the public name.

use std::io::Read;
use std::net::{TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use crate::flow::error::FlowError;
use crate::host::for_each;
use crate::plan::{Events, Interrupt, Level};

use super::instance::{Instance, with_port};

/// Longest wait for one address to answer.
const TRY: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_secs(2);

/// For each instance the address on which SSH answers, `forks` instances asked at once.
///
/// # Errors
/// Names the instances on which it does not within `patience`.
pub fn ways(
    instances: &[Instance],
    port: u16,
    patience: Duration,
    forks: usize,
    events: &Events,
    interrupt: &Interrupt,
) -> Result<Vec<String>, FlowError> {
    let end = Instant::now() + patience;
    let mut found: Vec<Option<String>> = vec![None; instances.len()];
    for round in 0.. {
        let left: Vec<usize> = (0..instances.len()).filter(|&at| found[at].is_none()).collect();
        let answers = for_each(&left, forks, |&at| if interrupt.is_set() { None } else { way(&instances[at], port) });
        for (at, answer) in left.into_iter().zip(answers) {
            found[at] = answer.flatten();
            note(&instances[at], found[at].as_deref(), round == 0, events);
        }
        if found.iter().all(Option::is_some) || interrupt.is_set() || Instant::now() >= end {
            break;
        }
        thread::sleep(PAUSE);
    }
    let silent = instances.iter().zip(&found).filter(|(_, way)| way.is_none());
    let silent: Vec<String> = silent.map(|(i, _)| format!("{} ({})", i.id, i.ways().join(", "))).collect();
    if silent.is_empty() {
        return Ok(found.into_iter().flatten().collect());
    }
    if interrupt.is_set() {
        return Err(FlowError::Failed {
            error: "interrupted while waiting for SSH; the instances stay".to_owned(),
            help: Some("run the same command again: it continues from here".to_owned()),
        });
    }
    Err(FlowError::Failed {
        error: format!("SSH does not answer on port {port} of {}", silent.join("; ")),
        help: Some(
            "their security group must let the control host in, and a way must lead there (private network or public address); then run \
             the same command again"
                .to_owned(),
        ),
    })
}

/// The first of its addresses on which SSH answers now.
fn way(instance: &Instance, port: u16) -> Option<String> {
    instance.ways().into_iter().find(|host| is_ssh(host, port))
}

/// Says where an instance answers, or, in the first round only, that it is waited for.
fn note(instance: &Instance, way: Option<&str>, first: bool, events: &Events) {
    let text = match way {
        Some(host) => format!("{}: SSH answers on {host}", instance.id),
        None if first => format!("{}: waiting for SSH on {}", instance.id, instance.ways().join(" or ")),
        None => return,
    };
    events.note(None, Level::Info, text, None);
}

fn is_ssh(host: &str, port: u16) -> bool {
    let Ok(mut addresses) = with_port(host, port).to_socket_addrs() else { return false };
    addresses.any(|address| {
        let Ok(mut stream) = TcpStream::connect_timeout(&address, TRY) else { return false };
        let mut banner = [0; 4];
        stream.set_read_timeout(Some(TRY)).is_ok() && stream.read_exact(&mut banner).is_ok() && banner == *b"SSH-"
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    /// A port on which something says `banner`.
    fn says(banner: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                stream.unwrap().write_all(banner).unwrap();
            }
        });
        port
    }

    fn instance(private: &str, public: &str) -> Instance {
        let text = |t: &str| Some(t.to_owned());
        Instance { id: "i-1".into(), private_ip: text(private), public_dns: text(public), ..Instance::default() }
    }

    fn seek(instance: &Instance, port: u16) -> Result<Vec<String>, FlowError> {
        let wait = Duration::from_millis(10);
        ways(std::slice::from_ref(instance), port, wait, 2, &Events::new(), &Interrupt::default())
    }

    #[test]
    fn the_private_address_comes_first_and_the_public_name_when_it_is_silent() {
        let port = says(b"SSH-2.0-test\r\n");
        assert_eq!(seek(&instance("127.0.0.1", "localhost"), port).unwrap(), ["127.0.0.1"]);
        // Nothing listens on this one.
        assert_eq!(seek(&instance("127.0.0.9", "127.0.0.1"), port).unwrap(), ["127.0.0.1"]);
    }

    #[test]
    fn each_of_many_is_found_whatever_the_others_do() {
        let port = says(b"SSH-2.0-test\r\n");
        let instances: Vec<Instance> = (1..10).map(|n| instance("127.0.0.1", &format!("127.0.0.{n}"))).collect();
        let found = |instances: &[Instance]| {
            ways(instances, port, Duration::ZERO, 2, &Events::new(), &Interrupt::default()).map_err(|e| e.to_string())
        };
        assert_eq!(found(&instances).unwrap(), ["127.0.0.1"; 9]);
        let mut instances = instances;
        instances[4] = Instance { id: "i-5".into(), ..instance("127.0.0.9", "127.0.0.8") };
        let error = found(&instances).unwrap_err();
        assert!(error.contains("i-5 (127.0.0.9, 127.0.0.8)") && !error.contains("i-1"), "{error}");
    }

    #[test]
    fn what_is_not_ssh_is_no_way() {
        let port = says(b"HTTP/1.1 400 Bad Request\r\n");
        let error = seek(&instance("127.0.0.1", "localhost"), port).unwrap_err().to_string();
        assert!(error.contains("i-1 (127.0.0.1, localhost)"), "{error}");
    }
}
