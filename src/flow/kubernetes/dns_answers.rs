//! The proof of a node's network: a name that it asks the cluster's DNS for is answered. That takes kube-proxy on the node, the pods'
//! network between it and the DNS pods, the pods themselves, and the API behind them.

use std::net::IpAddr;
use std::time::Duration;

use crate::host::{Command, HostError, HostId};
use crate::plan::{Check, Cx, Step, StepError, StepId, Work};

use super::component::{Component, On};

/// How long pods may take to start, and packets to find their way, in seconds.
const WAIT: &str = "180";
const STEP: &str = "dns.answers";

/// The step after which the cluster's DNS answers this host.
pub(super) fn answers(host: &HostId) -> StepId {
    StepId::on(host, STEP)
}

/// The component: pods of this host can use names.
pub(super) struct DnsAnswers;

impl Component for DnsAnswers {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.runs_pods()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(server) = on.cluster.distribution.rules().dns(on.cluster) else { return Vec::new() };
        let service = on.cluster.service_ip();
        let name = format!("kubernetes.default.svc.{}", on.cluster.settings.cluster_domain);
        let ask = Ask { server, name, service };
        vec![on.step(STEP, "wait until the cluster's DNS answers", ask).weight(5)]
    }
}

/// The cluster's DNS, asked from the host for the address of the API's service.
#[derive(Debug)]
struct Ask {
    server: IpAddr,
    name: String,
    /// Its family is the one that is asked for.
    service: IpAddr,
}

/// `$1` ADDRESS/PORT of the server, `$2` the question as `printf %b` reads it, `$3` the address in hexadecimal, `$4` seconds to wait. One datagram there and one
/// back, by bash itself: a host need not have a program that asks name servers. bash would send what stands before a line's end, which
/// may be a length, as a datagram of its own: dd collects it.
const ASK: &str = r#"end=$(( $(date +%s) + $4 ))
while :; do
  answer=$(timeout 2 bash -c 'exec 3<>"/dev/udp/$1" && printf %b "$2" | dd obs=1024 2>/dev/null >&3 && dd bs=1024 count=1 <&3 2>/dev/null | od -An -v -tx1' \
    bash "$1" "$2" 2>&1 | tr -d ' \n')
  case $answer in 5355*"$3") exit 0;; esac
  [ "$(date +%s)" -lt "$end" ] || break
  sleep 0.3
done
case $answer in
'') echo "no answer from $1" >&2;;
5355*) printf 'the answer has no such address: %s\n' "$answer" >&2;;
*) printf '%s\n' "$answer" >&2;;
esac
exit 1"#;

impl Ask {
    /// A question for the name's address (RFC 1035, section 4; RFC 3596, section 2).
    fn question(&self) -> String {
        let mut message = vec![0x53, 0x55, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in self.name.split('.') {
            // Names are checked when they are given: a label has at most 63 bytes.
            message.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
            message.extend(label.bytes());
        }
        let kind = if self.service.is_ipv4() { 1 } else { 28 };
        message.extend([0, 0, kind, 0, 1]);
        message.iter().map(|byte| format!("\\x{byte:02x}")).collect()
    }

    /// The address as an answer has it.
    fn hex(&self) -> String {
        match self.service {
            IpAddr::V4(ip) => hex::encode(ip.octets()),
            IpAddr::V6(ip) => hex::encode(ip.octets()),
        }
    }

    fn command(&self, seconds: &str) -> Command {
        let address = self.hex();
        Command::script(ASK)
            .args([format!("{}/53", self.server), self.question(), address, seconds.to_owned()])
            .label("ask the cluster's DNS")
    }
}

impl Work for Ask {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let answers = cx.host()?.run(&self.command("0"))?.ok();
        Ok(if answers {
            Check::Satisfied
        } else {
            Check::Needed(vec!["wait until the cluster's DNS answers".to_owned()])
        })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        match cx.host()?.run_ok(&self.command(WAIT).timeout(Duration::from_secs(240))) {
            Err(HostError::Failed { stderr, .. }) => Err(StepError::with_help(
                format!("{} is not answered at {}, after {WAIT} s: {}", self.name, self.server, stderr.trim()),
                "see `kubectl -n kube-system get pods -o wide` on a control plane node: DNS pods that do not run say why in their events; \
                 where they run, something between this host and theirs drops packets of the pods' network",
            )),
            waited => Ok(waited.map(drop)?),
        }
    }

    /// The wait ended with the proof.
    fn verify(&self, _: &Cx<'_>) -> Result<(), StepError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::process::Command;
    use std::thread;

    use super::*;

    fn ask() -> Ask {
        let name = "kubernetes.default.svc.cluster.local".to_owned();
        Ask { server: [127, 0, 0, 1].into(), name, service: [10, 96, 0, 1].into() }
    }

    fn question() -> Vec<u8> {
        hex::decode(ask().question().replace("\\x", "")).unwrap()
    }

    #[test]
    fn the_question_is_a_message_of_dns() {
        let mut message = b"SU\x01\0\0\x01\0\0\0\0\0\0".to_vec();
        message.extend(b"\x0akubernetes\x07default\x03svc\x07cluster\x05local\0\0\x01\0\x01");
        assert_eq!(question(), message);
    }

    #[test]
    fn the_address_that_is_asked_for_is_of_the_service_s_family() {
        let service = "fd00:10:254::1".parse().unwrap();
        let six = Ask { server: "fd00:10:254::a".parse().unwrap(), service, ..ask() };
        assert!(six.question().ends_with("\\x00\\x00\\x1c\\x00\\x01"), "{}", six.question());
        assert_eq!(six.hex(), "fd000010025400000000000000000001");
    }

    /// Runs the script against a server that gives this address, after it has dropped the first question.
    fn answered(address: [u8; 4]) -> bool {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let server = format!("127.0.0.1/{}", socket.local_addr().unwrap().port());
        let serving = thread::spawn(move || {
            let mut buffer = [0; 512];
            for number in 0..2 {
                let Ok((got, from)) = socket.recv_from(&mut buffer) else { return };
                assert_eq!(buffer[..got], question(), "one whole message in a datagram");
                let mut answer = buffer[..got].to_vec();
                answer[2] = 0x81;
                answer[7] = 1;
                answer.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04");
                answer.extend(address);
                if number == 1 {
                    socket.send_to(&answer, from).unwrap();
                }
            }
        });
        let script = ["-c", ASK, "sh", &server, &ask().question(), &ask().hex(), "3"];
        let ok = Command::new("sh").args(script).output().unwrap().status.success();
        serving.join().unwrap();
        ok
    }

    #[test]
    fn an_answer_with_the_address_is_the_proof() {
        assert!(answered([10, 96, 0, 1]));
        assert!(!answered([10, 96, 0, 2]));
    }
}
