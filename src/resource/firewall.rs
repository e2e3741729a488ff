//! Ports opened in a firewalld that runs; it is never switched off.

use std::net::IpAddr;

use crate::host::Command;
use crate::plan::{Check, Cx, Owned, StepError, Work};

use super::kind::Kind;
use super::record::recording;

/// Closes a port where it is open; shared by what undoes and what opens.
macro_rules! close_port {
    () => {
        r#"close_port() { # PORT, then the program with its options
  p=$1; shift
  ! "$@" -q --query-port="$p" || "$@" -q --remove-port="$p"
}
"#
    };
}

/// A port: the zone in which it was closed, `-` for the default zone, in which earlier versions opened all. A firewalld that does not run
/// now would open it at its next start.
pub(super) const PORT: Kind = Kind {
    name: "firewall",
    plural: "open port(s)",
    undo: concat!(
        close_port!(),
        r#"begin_firewall() {
  firewalld=none
  if firewall-cmd -q --state 2>/dev/null; then firewalld=runs
  elif command -v firewall-offline-cmd >/dev/null 2>&1; then firewalld=stopped; fi
}
undo_firewall() {
  port=$1 zone=$2
  [ "$zone" != - ] || zone=
  set -- ${zone:+"--zone=$zone"}
  case $firewalld in
  runs) close_port "$port" firewall-cmd "$@" && close_port "$port" firewall-cmd --permanent "$@";;
  stopped) close_port "$port" firewall-offline-cmd "$@";;
  esac || { failed "port $port cannot be closed in firewalld"; return 1; }
}
"#
    ),
    alone: Some(|port| format!("close {port}")),
};

/// Ports as firewalld writes them (`2379/tcp`), now and after a restart, in the zone of the interface by which others reach the
/// host; in the default zone where that interface is in none.
#[derive(Debug)]
pub struct FirewallPorts {
    pub ports: Vec<String>,
    /// The host's address among the others.
    pub at: IpAddr,
}

/// `$address`: the host's; one that no interface has stands for the interface of the default route. `$zone`: that of the interface,
/// nothing for the default zone; `firewall-cmd` with the options that follow in it.
macro_rules! zone {
    () => {
        r#"# shellcheck disable=SC2046 # its words
set_zone() {
  zone=
  interface=$(ip -o addr show to "$address" 2>/dev/null | awk '{print $2; exit}')
  if [ -z "$interface" ]; then
    set -- $(ip route get 192.0.2.1 2>/dev/null || ip -6 route get 2001:db8::1 2>/dev/null)
    while [ $# -gt 1 ]; do [ "$1" != dev ] || interface=$2; shift; done
  fi
  [ -n "$interface" ] && zone=$(firewall-cmd --get-zone-of-interface="$interface" 2>/dev/null) || zone=
  [ "$zone" != "$(firewall-cmd --get-default-zone 2>/dev/null)" ] || zone=
}
in_zone() { firewall-cmd -q ${zone:+"--zone=$zone"} "$@"; }
set_zone
"#
    };
}

/// `$1` address, then ports.
const CLOSED: &str = concat!(
    "address=$1; shift\n",
    zone!(),
    r#"for p in "$@"; do
  in_zone --query-port="$p" && in_zone --permanent --query-port="$p" || printf '%s\n' "$p"
done"#
);

/// What an earlier run opened in another zone than today's is closed there: the record has one zone for a port.
const OPEN: &str = concat!(
    include_str!("record/forget.sh"),
    close_port!(),
    "address=$1; shift\n",
    zone!(),
    r#"set -eu
for p in "$@"; do
  if recorded firewall "$p" && was=$(before firewall "$p") && [ "$was" != "${zone:--}" ]; then
    [ "$was" != - ] || was=
    close_port "$p" firewall-cmd ${was:+"--zone=$was"} || :
    close_port "$p" firewall-cmd --permanent ${was:+"--zone=$was"} || :
    forget firewall "$p"
  fi
  note firewall "$p" "${zone:--}"
  in_zone --add-port="$p"
  in_zone --permanent --add-port="$p"
done"#
);

impl FirewallPorts {
    fn closed(&self) -> Command {
        Command::script(CLOSED).arg(self.at.to_string()).args(&self.ports).label("firewall-cmd --query-port")
    }
}

impl Work for FirewallPorts {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let output = cx.host()?.run_ok(&self.closed())?;
        Ok(Check::from_changes(output.text().lines().map(|p| format!("open {p}")).collect()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let ports: Vec<_> = cx.host()?.run_ok(&self.closed())?.text().lines().map(str::to_owned).collect();
        let open = recording(cx.owner()?, OPEN).arg(self.at.to_string()).args(ports);
        cx.host()?.run_ok(&open.label("firewall-cmd --add-port"))?;
        Ok(())
    }

    fn owns(&self) -> Vec<Owned> {
        self.ports.iter().map(|port| PORT.owned(port)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::trial::Trial;

    /// firewalld: it runs while `running` is there; what is open is in `now` and `later`, and in `now-ZONE` and `later-ZONE` for
    /// another zone than the default. The interface eth0 is in the zone that `zone` names.
    const FIREWALL_CMD: &str = r#"list=now zone=
for word; do case $word in
  --zone=*) zone=-${word#*=};;
esac; done
list=$list$zone
for word; do case $word in
  --state) [ -e "${at}running" ]; exit;;
  --permanent) list=later$zone;;
  --get-default-zone) echo public;;
  --get-zone-of-interface=eth0) cat "${at}zone" 2>/dev/null || { echo "no zone"; exit 2; };;
  --get-zone-of-interface=eth1) echo cluster;;
  --query-port=*) grep -qxF "${word#*=}" "$at$list" 2>/dev/null; exit;;
  --add-port=*) printf '%s\n' "${word#*=}" >>"$at$list";;
  --remove-port=*) [ ! -e "${at}stuck" ] || exit 1; sed -i "\,^${word#*=}$,d" "$at$list";;
esac; done"#;

    /// An address that no interface has.
    const ELSEWHERE: &str = "10.9.9.9";

    fn firewalld(trial: &Trial) {
        let ip = r#"case $* in
'-o addr show to 10.8.15.1') echo '3: eth1    inet 10.8.15.1/24 brd 10.8.15.255 scope global eth1';;
*addr*) ;;
*) echo 192.0.2.1 via 10.0.0.254 dev eth0 src 10.0.0.1 uid 0;;
esac"#;
        trial.program("ip", ip);
        trial.program("firewall-cmd", FIREWALL_CMD);
        trial.program("firewall-offline-cmd", &FIREWALL_CMD.replace("list=now zone", "list=later zone"));
        for (name, text) in [("now", "22/tcp\n80/tcp\n"), ("later", "22/tcp\n"), ("running", "")] {
            trial.write(name, text);
        }
    }

    #[test]
    fn ports_that_were_closed_are_opened_and_closed_again() {
        Trial::each(|trial| {
            firewalld(trial);
            let closed = trial.look(CLOSED, &[ELSEWHERE, "22/tcp", "6443/tcp", "10250/tcp"]).out;
            assert_eq!(closed, "6443/tcp\n10250/tcp\n");
            assert!(trial.change(OPEN, &[ELSEWHERE, "6443/tcp", "10250/tcp"]).ok);
            assert_eq!(trial.look(CLOSED, &[ELSEWHERE, "22/tcp", "6443/tcp", "10250/tcp"]).out, "");
            assert_eq!(trial.recorded(), ["firewall 6443/tcp -", "firewall 10250/tcp -"]);
            // A node that stays a control plane node.
            assert!(trial.undo(&["some", "firewall", "10250/tcp", "firewall", "22/tcp"]).ok);
            assert_eq!(
                (trial.read("now").as_str(), trial.read("later").as_str()),
                ("22/tcp\n80/tcp\n6443/tcp\n", "22/tcp\n6443/tcp\n")
            );
            assert!(trial.undo(&["all"]).ok);
            assert_eq!((trial.read("now").as_str(), trial.read("later").as_str()), ("22/tcp\n80/tcp\n", "22/tcp\n"));
        });
    }

    #[test]
    fn a_firewalld_that_does_not_run_does_not_open_them_at_its_next_start() {
        Trial::each(|trial| {
            firewalld(trial);
            assert!(trial.change(OPEN, &[ELSEWHERE, "6443/tcp"]).ok);
            std::fs::remove_file(trial.at("running")).unwrap();
            assert!(trial.undo(&["all"]).ok && trial.read("later") == "22/tcp\n");
        });
    }

    #[test]
    fn a_port_that_cannot_be_closed_is_named_and_stays_in_the_record() {
        Trial::each(|trial| {
            firewalld(trial);
            assert!(trial.change(OPEN, &[ELSEWHERE, "6443/tcp"]).ok);
            trial.write("stuck", "");
            let ran = trial.undo(&["all"]);
            assert!(!ran.ok && ran.said.contains("port 6443/tcp cannot be closed in firewalld"), "{ran:?}");
            assert_eq!(trial.recorded(), ["firewall 6443/tcp -"]);
        });
    }

    #[test]
    fn ports_are_opened_in_the_zone_of_the_interface_and_closed_there() {
        Trial::each(|trial| {
            firewalld(trial);
            trial.write("zone", "internal\n");
            assert_eq!(
                trial.look(CLOSED, &[ELSEWHERE, "22/tcp"]).out,
                "22/tcp\n",
                "what the default zone has does not count"
            );
            assert!(trial.change(OPEN, &[ELSEWHERE, "6443/tcp"]).ok);
            assert_eq!(
                (trial.read("now-internal").as_str(), trial.read("later-internal").as_str()),
                ("6443/tcp\n", "6443/tcp\n")
            );
            assert_eq!(trial.look(CLOSED, &[ELSEWHERE, "6443/tcp"]).out, "");
            assert_eq!(trial.recorded(), ["firewall 6443/tcp internal"]);
            // The interface has got another zone meanwhile.
            trial.write("zone", "public\n");
            assert!(trial.undo(&["all"]).ok);
            assert_eq!((trial.read("now-internal").as_str(), trial.read("later-internal").as_str()), ("", ""));
            assert_eq!((trial.read("now").as_str(), trial.read("later").as_str()), ("22/tcp\n80/tcp\n", "22/tcp\n"));
        });
    }

    #[test]
    fn the_interface_is_that_of_the_host_s_address_among_the_others() {
        Trial::each(|trial| {
            firewalld(trial);
            assert!(trial.change(OPEN, &["10.8.15.1", "6443/tcp"]).ok);
            assert_eq!(
                (trial.read("now-cluster").as_str(), trial.recorded()),
                ("6443/tcp\n", vec!["firewall 6443/tcp cluster".to_owned()])
            );
            assert_eq!(trial.look(CLOSED, &["10.8.15.1", "6443/tcp"]).out, "");
            assert_eq!(trial.look(CLOSED, &[ELSEWHERE, "6443/tcp"]).out, "6443/tcp\n", "that of the default route");
        });
    }

    #[test]
    fn a_port_that_an_earlier_version_opened_in_the_default_zone_is_closed_there() {
        Trial::each(|trial| {
            firewalld(trial);
            assert!(trial.change(OPEN, &[ELSEWHERE, "6443/tcp", "10250/tcp"]).ok);
            trial.write("zone", "internal\n");
            assert!(trial.undo(&["some", "firewall", "10250/tcp"]).ok, "of a record without a zone");
            assert_eq!(trial.read("later"), "22/tcp\n6443/tcp\n");
            // A run of this version: it follows the interface.
            assert!(trial.change(OPEN, &[ELSEWHERE, "6443/tcp"]).ok);
            assert_eq!(
                (trial.read("now").as_str(), trial.read("later-internal").as_str()),
                ("22/tcp\n80/tcp\n", "6443/tcp\n")
            );
            assert_eq!(trial.recorded(), ["firewall 6443/tcp internal"]);
            assert!(trial.undo(&["all"]).ok && trial.read("now-internal").is_empty());
        });
    }
}
