//! The kubelet of a host: kubeadm writes its configuration from the cluster's, in a place of its own; it takes the place of the one that
//! was there, and the kubelet is restarted, while pods go on. One that is not healthy then gets its former configuration.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::host::{Command, HostId};
use crate::plan::{Check, Cx, Step, StepError, StepId, Work};

use super::super::super::component::{Component, On};
use super::super::super::drain::Access;
use super::super::site::PATCHES;
use super::changes::{self, Setting};
use super::{Document, access, in_the_file, of_kubelets, patched_otherwise};

const STEP: &str = "kubelet.settings";
/// From this minor version on kubeadm patches kubelets' configuration.
const PATCHED: u32 = 25;
/// Two starts, each of which is watched for a minute, and kubeadm asks the API.
const LONGEST: Duration = Duration::from_secs(300);

/// The step after which a host has its settings.
pub(in crate::flow::kubernetes) fn settled(host: &HostId) -> StepId {
    StepId::on(host, STEP)
}

/// The component of every host: control plane nodes one after another, then worker nodes.
pub(in crate::flow::kubernetes) struct KubeletSettings;

impl Component for KubeletSettings {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.machine().is_some() && on.supply.former.is_some()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let patches = &on.cluster.settings.components.patches;
        let patched = on.cluster.minor >= PATCHED && patches.iter().any(|file| file.name().starts_with("kubelet"));
        let work = Configuration {
            access: access(on),
            document: Document::of_kubelets(on.cluster),
            settings: of_kubelets(on),
            patched: on.cluster.minor >= PATCHED && patched_otherwise(on, &["kubeletconfiguration"]),
            options: if patched { vec!["--patches".to_owned(), PATCHES.to_owned()] } else { Vec::new() },
        };
        let step = on.step(STEP, "apply the kubelet's settings", work).weight(3);
        vec![step.after(on.waits.settled.clone())]
    }
}

#[derive(Debug)]
struct Configuration {
    access: Arc<Access>,
    /// The kubelets' configuration in the cluster.
    document: Document,
    settings: Vec<Setting>,
    /// Patches have changed.
    patched: bool,
    /// For kubeadm.
    options: Vec<String>,
}

macro_rules! configuration {
    ($body:literal) => {
        concat!("c=/var/lib/kubelet/config.yaml\nk=/etc/kubernetes/sunshine/kubelet.before\n", $body)
    };
}

/// A line `config BASE64`, and `unfinished` where a run was killed before the proof; nothing where no kubelet has joined.
const LOOK: &str = configuration!(
    r#"{ [ -e "$c" ] && [ -e /etc/kubernetes/kubelet.conf ]; } || exit 0
[ ! -e "$k" ] || echo unfinished
printf 'config %s\n' "$(base64 -w0 <"$c")""#
);

/// Its arguments are kubeadm's.
macro_rules! at_work {
    ($body:literal) => {
        concat!(
            configuration!(""),
            exclusive!(
                r#"w=$(mktemp "$HOME/kubelet.XXXXXX")
t=/etc/kubernetes/tmp made=
[ -d "$t" ] || { mkdir -p "$t"; made=$t; }
trap 'rm -rf "$f" "$w"; [ -z "$made" ] || rmdir "$made" 2>/dev/null || :' EXIT
cp -p "$c" "$w"
# kubeadm writes to one file only, beside a copy of what was there: here these are others.
render() {
  unshare -m sh -c 'mount --make-rprivate / && mount -t tmpfs tmpfs "$1" && mount --bind "$2" "$3" && shift 3 && exec kubeadm upgrade node phase kubelet-config "$@"' \
    sh "$t" "$w" "$c" "$@" 2>&1
}
differs() { [ "$(cat "$w")" != "$(cat "$c")" ]; }
"#
            ),
            $body
        )
    };
}

/// Prints `same` where kubeadm would write the configuration that is there.
const RENDER: &str = at_work!(r#"render "$@" >/dev/null || exit 0; differs || echo same"#);
const SWITCH: &str = at_work!(
    r#"put() {
  cp -p "$1" "$c.$$"
  sync "$c.$$" 2>/dev/null || :
  mv -fT "$c.$$" "$c"
}
healthy() {
  at=$(sed -n 's/^healthzBindAddress: *//p' "$c" | tr -d "\"'")
  case $at in ''|0.0.0.0|::) at=127.0.0.1;; *:*) at="[$at]";; esac
  systemctl reset-failed kubelet 2>/dev/null || :
  systemctl restart kubelet || return 1
  end=$(($(date +%s) + 60)) good=0
  while [ "$good" -lt 3 ]; do
    if [ "$(curl -gs -m 5 "http://$at:10248/healthz")" = ok ]; then good=$((good + 1)); else good=0; fi
    { [ "$(date +%s)" -lt "$end" ] && [ "$(systemctl show -p NRestarts --value kubelet 2>/dev/null || echo 0)" -lt 2 ]; } || return 1
    sleep 0.5
  done
}
said=$(render "$@") || { printf '%s\n' "$said" | tail -n 10 >&2; exit 1; }
[ -e "$k" ] || { mkdir -p "${k%/*}"; cp -p "$c" "$k.new"; mv -fT "$k.new" "$k"; }
put "$w"
healthy || {
  said=$(journalctl _SYSTEMD_UNIT=kubelet.service -n 3 --no-pager -o cat 2>/dev/null | cut -c 1-300)
  put "$k"
  if healthy; then back='it works with what it had before, which is back'; rm -f "$k"; else back='what it had before is back, and it is not healthy yet'; fi
  printf 'the kubelet did not come back with the new settings: %s. Its last lines:\n%s\n' "$back" "$said" >&2
  exit 1
}
rm -f "$k""#
);

#[derive(Debug, Default)]
struct Found {
    config: Option<Value>,
    unfinished: bool,
}

fn read(text: &str) -> Found {
    let mut found = Found::default();
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("config", base64)) => {
                let text = STANDARD.decode(base64).ok().and_then(|text| String::from_utf8(text).ok());
                // Whatever cannot be read is made anew.
                found.config = Some(text.as_deref().and_then(changes::read).unwrap_or_default());
            }
            _ => found.unfinished |= line == "unfinished",
        }
    }
    found
}

impl Configuration {
    fn look(cx: &Cx<'_>) -> Result<Found, StepError> {
        Ok(read(&cx.host()?.run_ok(&Command::script(LOOK).label("look for the kubelet's settings"))?.text()))
    }

    /// Whether the cluster has the settings, and kubeadm would write what is there: patches may have made something else of it.
    fn is_rendered(&self, cx: &Cx<'_>) -> Result<bool, StepError> {
        let is = self.document.read(&self.access.api(cx)?)?;
        if !changes::changes(&is, &self.settings).is_empty() {
            return Ok(false);
        }
        let render = Command::script(RENDER).args(self.options.clone());
        let render = render.label("kubeadm upgrade node phase kubelet-config, to a file of its own").timeout(LONGEST);
        Ok(cx.host()?.run(&render)?.text().trim_end() == "same")
    }
}

impl Work for Configuration {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let Found { config: Some(config), unfinished } = Self::look(cx)? else { return Ok(Check::Satisfied) };
        let mut needed = Vec::new();
        if unfinished {
            needed.push("prove what an interrupted run has changed in the kubelet".to_owned());
        }
        let mut changes = changes::changes(&config, &self.settings);
        if self.patched {
            changes.push("make the kubelet's configuration anew with the patches".to_owned());
        }
        let is_dry = self.patched && cx.wants_detail();
        if !changes.is_empty() && (is_dry || unfinished || !self.is_rendered(cx)?) {
            needed.extend(changes);
        }
        Ok(Check::from_changes(needed))
    }

    /// The first host shows whether a kubelet works with it: where it does not, the cluster's configuration is put back too.
    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let api = self.access.api(cx)?;
        let before = self.document.bring(&api, &self.settings)?;
        let switch = Command::script(SWITCH).args(self.options.clone());
        let switched = cx.host()?.run_ok(&switch.label("apply the kubelet's settings").timeout(LONGEST));
        if let (Err(_), Some(before)) = (&switched, before) {
            self.document.write(&api, &before)?;
        }
        switched.map_err(in_the_file)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_of_its_kubelet() {
        let config = STANDARD.encode("kind: KubeletConfiguration\nmaxPods: 50\n");
        let found = read(&format!("unfinished\nconfig {config}\n"));
        assert_eq!((found.config.unwrap()["maxPods"].clone(), found.unfinished), (50.into(), true));
        assert_eq!(read("").config, None, "a host that has not joined");
        assert_eq!(read("config !\n").config, Some(Value::Null), "a file that cannot be read is made anew");
    }
}
