//! The static pods of a control plane node: kubeadm makes their manifests from the configuration in the cluster, in a place of their own,
//! and what differs takes the place of what was there, one program after another. One that does not answer then gets its former manifest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::host::{Command, FileMeta};
use crate::plan::{Check, Cx, Made, Owned, Step, StepError, Work};
use crate::resource::{FileSpec, Files};

use super::super::super::component::{Component, On};
use super::super::super::drain::Access;
use super::super::super::endpoint;
use super::super::super::state::Machine;
use super::super::site::AUDIT_POLICY;
use super::super::{SOCKET, config};
use super::changes::{self, Setting};
use super::{Document, access, in_the_file, of_control_plane, patched_otherwise};

const PROGRAMS: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
/// A run that was killed is made good, three programs start, and as many again where one of them fails.
const LONGEST: Duration = Duration::from_secs(1800);

/// The component of every control plane node, before anything else is done with its control plane.
pub(in crate::flow::kubernetes) struct ControlPlaneSettings;

impl Component for ControlPlaneSettings {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.control_plane().is_some() && on.supply.former.is_some()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(machine) = on.control_plane() else { return Vec::new() };
        let private = |text: &str| FileSpec { meta: FileMeta::mode(0o600), ..FileSpec::text(AUDIT_POLICY, text) };
        let policy = on.cluster.settings.components.audit_policy.iter().map(|file| private(&file.text)).collect();
        let work = Manifests::new(on, machine, policy);
        let step = on.step("control-plane.settings", "apply the control plane's settings", work).weight(4);
        vec![step.after(on.waits.settled.clone()).after_if_present(on.waits.site_files.clone())]
    }
}

/// The manifests of a control plane node, and files that its API server reads.
#[derive(Debug)]
pub(super) struct Manifests {
    access: Arc<Access>,
    settings: Vec<Setting>,
    /// Patches have changed.
    patched: bool,
    /// The host's own part of kubeadm's configuration.
    host: Value,
    /// Its own API server.
    server: String,
    /// An API server that does not come back with them gets its former ones.
    files: Files,
}

macro_rules! manifests {
    ($body:literal) => {
        concat!(
            r#"m=/etc/kubernetes/manifests
k=/etc/kubernetes/sunshine/before
read='audit-policy.yaml encryption.yaml'
ours=/etc/kubernetes/sunshine
programs='kube-apiserver kube-controller-manager kube-scheduler'
"#,
            $body
        )
    };
}

/// A line `manifest PROGRAM BASE64` for each program; `unfinished` where a run was killed before the proof; `stale FILE` for each file that
/// the API server has not read since it was written.
const LOOK: &str = manifests!(
    r#"[ -e "$m/kube-apiserver.yaml" ] || exit 0
[ ! -d "$k" ] || echo unfinished
for c in $programs; do printf 'manifest %s %s\n' "$c" "$(base64 -w0 <"$m/$c.yaml" 2>/dev/null)"; done
p=$(pgrep -of '^kube-apiserver ') || exit 0
began=$(($(date +%s) - $(ps -o etimes= -p "$p")))
for f in $read; do
  f=$ours/$f
  { [ -e "$f" ] && grep -q -e "=$f\$" "$m/kube-apiserver.yaml"; } || continue
  [ "$(stat -c %Y "$f")" -le $((began + 1)) ] || printf 'stale %s\n' "$f"
done"#
);

/// `$1` socket, `$2` server; kubeadm's configuration comes by standard input.
macro_rules! at_work {
    ($body:literal) => {
        concat!(
            manifests!(""),
            "socket=$1 server=$2\n",
            exclusive!(
                r#"w=$(mktemp -d "$HOME/manifests.XXXXXX")
trap 'rm -rf "$f" "$w"' EXIT
# A pod that only ends and starts again would wait longer each time: what its files were is an annotation, and makes another pod.
mark=$(sed -n 's/^ *sunshine-installer.files: *"\([0-9a-f]*\)".*/\1/p' "$m/kube-apiserver.yaml" 2>/dev/null | head -n 1)
# kubeadm writes to one folder only: here that is another one.
render() {
  unshare -m sh -c 'mount --make-rprivate / && mount --bind "$2" "$3" && exec kubeadm init phase control-plane all --config "$1"' \
    sh "$f" "$w" "$m" 2>&1 || return 1
  [ -n "$mark" ] || return 0
  mark=$mark awk '{print} /^  annotations:$/ && !n++ {print "    sunshine-installer/files: \"" ENVIRON["mark"] "\""}' \
    "$w/kube-apiserver.yaml" >"$w/marked"
  mv -f "$w/marked" "$w/kube-apiserver.yaml"
}
differs() { [ "$(cat "$1" 2>/dev/null)" != "$(cat "$m/$c.yaml" 2>/dev/null)" ]; }
newest() { crictl -r "$socket" ps -a -q --name "^$1\$" 2>/dev/null | head -n 1; }
ready() {
  end=$(($(date +%s) + $1))
  until kubectl --kubeconfig /root/.kube/config --server "$server" --request-timeout=5s get --raw /readyz >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$end" ] || return 1
    sleep 0.5
  done
}
# Whether program $1 answers; the probe in its manifest says where.
answers() {
  case $1 in
  kube-apiserver) ready 0; return;;
  kube-controller-manager) port=10257;;
  *) port=10259;;
  esac
  at=$(sed -n 's/^ *host: *//p' "$m/$1.yaml" | head -n 1 | tr -d "\"'")
  case $at in *:*) at="[$at]";; esac
  [ "$(curl -gsk -m 5 "https://${at:-127.0.0.1}:$port/healthz")" = ok ]
}
# Waits until program $1 answers from another container than $2. One that has ended twice does not come.
comes() {
  end_of_it=$(($(date +%s) + 150)) first=
  while :; do
    id=$(newest "$1")
    if [ -n "$id" ] && [ "$id" != "$2" ]; then
      ! answers "$1" || return 0
      tries=$(crictl -r "$socket" ps -a -o json --name "^$1\$" 2>/dev/null | sed -n 's/.*"attempt": *\([0-9]*\).*/\1/p' | head -n 1)
      first=${first:-${tries:-0}}
      [ "${tries:-0}" -lt $((first + 2)) ] || return 1
    fi
    [ "$(date +%s)" -lt "$end_of_it" ] || return 1
    sleep 0.5
  done
}
# Takes the place of the manifest of program $c at once.
put() {
  new=/etc/kubernetes/.$c.yaml.$$
  cp -p "$1" "$new"
  sync "$new" 2>/dev/null || :
  mv -fT "$new" "$m/$c.yaml"
}
restore_files() {
  for r in $read; do
    [ -e "$k/$r" ] || continue
    cp -p "$k/$r" "$ours/.$r.$$"
    mv -fT "$ours/.$r.$$" "$ours/$r"
  done
}
restore() {
  restore_files
  for c in $programs; do
    differs "$k/$c.yaml" || continue
    was=$(newest "$c")
    put "$k/$c.yaml"
    comes "$c" "$was" || :
  done
  ready 120
}
"#
            ),
            $body
        )
    };
}

/// Prints `same` where kubeadm would make the manifests that are there.
const RENDER: &str = at_work!(
    r#"render >/dev/null || exit 0
for c in $programs; do ! differs "$w/$c.yaml" || exit 0; done
echo same"#
);
/// Keeps what is there, for [`SWITCH`] to put back. What a run that was killed kept is older and known to be good.
const KEEP: &str = at_work!(
    r#"[ -e "$m/kube-apiserver.yaml" ] || exit 0
if [ -d "$k" ]; then
  ready 45 || restore || { echo 'the API server of this host answers with the manifest of before neither' >&2; exit 1; }
  exit 0
fi
rm -rf "$k.new"
mkdir -p "$k.new"
for c in $programs; do cp -p "$m/$c.yaml" "$k.new/"; done
for r in $read; do [ ! -e "$ours/$r" ] || cp -p "$ours/$r" "$k.new/"; done
mv -T "$k.new" "$k""#
);
/// `$3` restart where the API server must read its files again.
const SWITCH: &str = at_work!(
    r#"[ -e "$m/kube-apiserver.yaml" ] || exit 0
[ "$3" != restart ] || mark=$(cd "$ours" && cat $read 2>/dev/null | sha256sum | cut -c 1-16)
said=$(render) || { printf '%s\n' "$said" | tail -n 10 >&2; restore_files; rm -rf "$k"; exit 1; }
fail() {
  id=$(crictl -r "$socket" ps -a -q --state Exited --name "^$1\$" 2>/dev/null | head -n 1)
  said=$(crictl -r "$socket" logs --tail 8 "${id:-$(newest "$1")}" 2>&1 | grep -v ' msg="Config ' | cut -c 1-300)
  if restore; then
    back='what it had before is back, and the API server answers'
    rm -rf "$k"
  else
    back='what it had before is back, and the API server does not answer yet'
  fi
  printf '%s did not come back with the new settings: %s. Its last lines:\n%s\n' "$1" "$back" "$said" >&2
  exit 1
}
for c in $programs; do
  differs "$w/$c.yaml" || continue
  was=$(newest "$c")
  put "$w/$c.yaml"
  comes "$c" "$was" || fail "$c"
done
rm -rf "$k""#
);

/// What a host says.
#[derive(Debug, Default)]
struct Found {
    /// The options that each program's manifest names.
    options: BTreeMap<String, BTreeMap<String, String>>,
    unfinished: bool,
    stale: Vec<String>,
}

impl Found {
    fn read(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["manifest", program, base64] => {
                    found.options.insert(program.to_owned(), options(base64).unwrap_or_default());
                }
                ["unfinished"] => found.unfinished = true,
                ["stale", file] => found.stale.push(file.to_owned()),
                _ => {}
            }
        }
        found
    }

    /// Whether the host has a control plane: a newcomer gets one by kubeadm.
    fn stands(&self) -> bool {
        !self.options.is_empty()
    }

    fn changes(&self, settings: &[Setting]) -> Vec<String> {
        let change = |setting: &Setting| {
            let is = self.options.get(setting.program)?.get(setting.option()?);
            setting.change(is.map(|is| is.as_str().into()).as_ref())
        };
        settings.iter().filter_map(change).collect()
    }
}

/// The options of the program in a static pod's manifest.
fn options(base64: &str) -> Option<BTreeMap<String, String>> {
    let text = String::from_utf8(STANDARD.decode(base64).ok()?).ok()?;
    let pod = changes::read(&text)?;
    let words = pod["spec"]["containers"][0]["command"].as_array()?.clone();
    let option = |word: &Value| {
        let word = word.as_str()?.strip_prefix("--")?;
        let (name, value) = word.split_once('=').unwrap_or((word, "true"));
        Some((name.to_owned(), value.to_owned()))
    };
    Some(words.iter().filter_map(option).collect())
}

impl Manifests {
    pub(super) fn new(on: &On<'_>, machine: &Machine, files: Vec<FileSpec>) -> Self {
        Self {
            access: access(on),
            settings: of_control_plane(on),
            patched: patched_otherwise(on, &PROGRAMS),
            host: config::phase(on, machine),
            server: endpoint::of_machine(machine),
            files: Files(files),
        }
    }

    fn look(cx: &Cx<'_>) -> Result<Found, StepError> {
        let look = Command::script(LOOK).label("look for the control plane's settings");
        Ok(Found::read(&cx.host()?.run_ok(&look)?.text()))
    }

    /// Files that are to change, or that the API server has not read yet.
    pub(super) fn unread(&self, cx: &Cx<'_>) -> Result<Vec<String>, StepError> {
        self.unread_by(&Self::look(cx)?, cx)
    }

    fn unread_by(&self, found: &Found, cx: &Cx<'_>) -> Result<Vec<String>, StepError> {
        let mut needed = match self.files.check(cx)? {
            Check::Satisfied => Vec::new(),
            Check::Needed(changes) => changes,
        };
        if found.unfinished {
            needed.push("prove what an interrupted run has changed in the control plane".to_owned());
        }
        needed.extend(found.stale.iter().map(|file| format!("restart the API server, which is to read {file}")));
        Ok(needed)
    }

    fn run(&self, script: &'static str, label: &str) -> Command {
        Command::script(script).args([SOCKET, self.server.as_str()]).label(label).timeout(LONGEST)
    }

    /// kubeadm's configuration as it is to be.
    fn config(&self, cx: &Cx<'_>) -> Result<Vec<u8>, StepError> {
        let cluster = changes::with(Document::of_cluster().read(&self.access.api(cx)?)?, &self.settings);
        Ok(config::documents(&[self.host.clone(), cluster]).into_bytes())
    }

    /// What patches make of options is not to be seen from them: kubeadm is asked what it would write.
    fn is_rendered(&self, cx: &Cx<'_>) -> Result<bool, StepError> {
        let render =
            self.run(RENDER, "kubeadm init phase control-plane, in a folder of its own").stdin(self.config(cx)?);
        Ok(cx.host()?.run(&render)?.text().trim_end() == "same")
    }
}

impl Work for Manifests {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let found = Self::look(cx)?;
        let mut needed = self.unread_by(&found, cx)?;
        if !found.stands() {
            return Ok(Check::from_changes(needed));
        }
        let mut changes = found.changes(&self.settings);
        if self.patched {
            changes.push("make the control plane's manifests anew with the patches".to_owned());
        }
        // Patches are not on the host yet in a dry run; and where a run was killed, the API may be away.
        let is_dry = self.patched && cx.wants_detail();
        if !changes.is_empty() && (is_dry || found.unfinished || !self.is_rendered(cx)?) {
            needed.extend(changes);
        }
        Ok(Check::from_changes(needed))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let host = cx.host()?;
        let stands = Self::look(cx)?.stands();
        if stands {
            host.run_ok(&self.run(KEEP, "keep the control plane's manifests"))?;
        }
        self.files.apply(cx)?;
        if stands {
            // Files that were written just now too.
            let again = if Self::look(cx)?.stale.is_empty() { "" } else { "restart" };
            let switch = self.run(SWITCH, "apply the control plane's settings").arg(again);
            host.run_ok(&switch.stdin(self.config(cx)?)).map_err(in_the_file)?;
        }
        Ok(())
    }

    fn needs(&self) -> Vec<Arc<dyn Made>> {
        Work::needs(&self.files)
    }

    fn owns(&self) -> Vec<Owned> {
        self.files.owns()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::changes::Sources;
    use super::*;

    #[test]
    fn options_of_manifests_are_compared_with_what_is_set() {
        let pod = "spec:\n  containers:\n  - command:\n    - kube-apiserver\n    - --profiling=true\n    - '--x=a: b'\n    - --bare\n";
        let pod = STANDARD.encode(pod);
        let found =
            Found::read(&format!("unfinished\nmanifest kube-apiserver {pod}\nmanifest kube-scheduler \nstale /f\n"));
        assert!(found.stands() && found.unfinished && found.stale == ["/f"]);
        let site = json!({"apiServer": {"extraArgs": {"profiling": "false", "x": "a: b", "bare": "true"}}, "scheduler": {"extraArgs": {"v": "2"}}});
        let program = |path: &[String]| if path[0] == "apiServer" { "kube-apiserver" } else { "kube-scheduler" };
        let none = json!({});
        let set = Sources { site: &site, former: &none, applied: &none, base: &none, depth: 3 }.settings(program);
        let wanted = ["kube-apiserver: --profiling: true -> false", "kube-scheduler: --v: not set -> 2"];
        assert_eq!(found.changes(&set), wanted);
        assert!(!Found::read("").stands(), "a host that is to join");
    }
}
