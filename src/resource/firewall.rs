//! Ports opened in a firewalld that runs; it is never switched off.

use crate::host::Command;
use crate::plan::{Check, Cx, Owned, StepError, Work};

use super::kind::Kind;
use super::record::recording;

/// A port of firewalld's default zone: `-` it was closed. A firewalld that does not run now would open it at its next start.
pub(super) const PORT: Kind = Kind {
    name: "firewall",
    plural: "open port(s)",
    undo: r#"begin_firewall() {
  firewalld=none
  if firewall-cmd -q --state 2>/dev/null; then firewalld=runs
  elif command -v firewall-offline-cmd >/dev/null 2>&1; then firewalld=stopped; fi
}
close_port() { # PORT, then the program with its options
  p=$1; shift
  ! "$@" -q --query-port="$p" || "$@" -q --remove-port="$p"
}
undo_firewall() {
  case $firewalld in
  runs) close_port "$1" firewall-cmd && close_port "$1" firewall-cmd --permanent;;
  stopped) close_port "$1" firewall-offline-cmd;;
  esac || { failed "port $1 cannot be closed in firewalld"; return 1; }
}
"#,
    alone: Some(|port| format!("close {port}")),
};

/// Ports as firewalld writes them (`2379/tcp`), in the default zone, now and after a restart.
#[derive(Debug)]
pub struct FirewallPorts(pub Vec<String>);

const CLOSED: &str = r#"for p in "$@"; do
  firewall-cmd -q --query-port="$p" && firewall-cmd -q --permanent --query-port="$p" || printf '%s\n' "$p"
done"#;

const OPEN: &str = r#"set -eu
for p in "$@"; do
  note firewall "$p" -
  firewall-cmd -q --add-port="$p"
  firewall-cmd -q --permanent --add-port="$p"
done"#;

impl Work for FirewallPorts {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let output = cx.host()?.run_ok(&Command::script(CLOSED).args(&self.0).label("firewall-cmd --query-port"))?;
        Ok(Check::from_changes(output.text().lines().map(|p| format!("open {p}")).collect()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let closed = Command::script(CLOSED).args(&self.0).label("firewall-cmd --query-port");
        let ports: Vec<_> = cx.host()?.run_ok(&closed)?.text().lines().map(str::to_owned).collect();
        cx.host()?.run_ok(&recording(cx.owner()?, OPEN).args(ports).label("firewall-cmd --add-port"))?;
        Ok(())
    }

    fn owns(&self) -> Vec<Owned> {
        self.0.iter().map(|port| PORT.owned(port)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::trial::Trial;

    /// firewalld: it runs while `running` is there; what is open is in `now` and `later`.
    const FIREWALL_CMD: &str = r#"list=now
for word; do case $word in
  --state) [ -e "${at}running" ]; exit;;
  --permanent) list=later;;
  --query-port=*) grep -qxF "${word#*=}" "$at$list"; exit;;
  --add-port=*) printf '%s\n' "${word#*=}" >>"$at$list";;
  --remove-port=*) [ ! -e "${at}stuck" ] || exit 1; sed -i "\,^${word#*=}$,d" "$at$list";;
esac; done"#;

    fn firewalld(trial: &Trial) {
        trial.program("firewall-cmd", FIREWALL_CMD);
        trial.program("firewall-offline-cmd", &FIREWALL_CMD.replace("list=now", "list=later"));
        for (name, text) in [("now", "22/tcp\n80/tcp\n"), ("later", "22/tcp\n"), ("running", "")] {
            trial.write(name, text);
        }
    }

    #[test]
    fn ports_that_were_closed_are_opened_and_closed_again() {
        Trial::each(|trial| {
            firewalld(trial);
            let closed = trial.look(CLOSED, &["22/tcp", "6443/tcp", "10250/tcp"]).out;
            assert_eq!(closed, "6443/tcp\n10250/tcp\n");
            assert!(trial.change(OPEN, &["6443/tcp", "10250/tcp"]).ok);
            assert_eq!(trial.look(CLOSED, &["22/tcp", "6443/tcp", "10250/tcp"]).out, "");
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
            assert!(trial.change(OPEN, &["6443/tcp"]).ok);
            std::fs::remove_file(trial.at("running")).unwrap();
            assert!(trial.undo(&["all"]).ok && trial.read("later") == "22/tcp\n");
        });
    }

    #[test]
    fn a_port_that_cannot_be_closed_is_named_and_stays_in_the_record() {
        Trial::each(|trial| {
            firewalld(trial);
            assert!(trial.change(OPEN, &["6443/tcp"]).ok);
            trial.write("stuck", "");
            let ran = trial.undo(&["all"]);
            assert!(!ran.ok && ran.said.contains("port 6443/tcp cannot be closed in firewalld"), "{ran:?}");
            assert_eq!(trial.recorded(), ["firewall 6443/tcp -"]);
        });
    }
}
