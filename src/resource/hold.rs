//! Packages that updates of the host leave alone: names in `exclude=` of the package manager's own configuration.
//!
//! Its section `[main]` is the one place that dnf 5, dnf 4 and yum 3 all read, with or without the versionlock plugin, and that holds for
//! every repository; `exclude=` in a `.repo` file holds for that repository alone (dnf.conf(5), yum.conf(5)). This product's own
//! transactions heed no exclude.

use crate::host::Command;
use crate::plan::{Check, Cx, Owned, StepError, Work};

use super::kind::Kind;
use super::record::recording;

/// Awk and shell functions over `exclude=` in `[main]`. A value may go on in lines that begin with white space; words are
/// separated by spaces or commas.
macro_rules! excludes {
    () => {
        r#"conf() { # the configuration, wherever a link leads; nothing where there is none
  for c in /etc/dnf/dnf.conf /etc/yum.conf; do
    ! grep -qs '^[[:space:]]*\[main\]' "$c" || { readlink -f -- "$c"; return; }
  done
}
ini='/^[[:space:]]*\[/ {main = /^[[:space:]]*\[main\]/; on = 0}
  /^[^[:space:]]/ || /^[[:space:]]*$/ {on = main && /^(exclude|excludepkgs)[[:space:]]*=/}'
excluded() { # FILE: what it excludes, a word a line
  awk "$ini"' on {sub(/^(exclude|excludepkgs)[[:space:]]*=/, ""); gsub(/[[:space:],]+/, "\n"); print}' "$1" | grep . || :
}
edit() { rewrite "$1" awk "$ini$2"; } # FILE PROGRAM: the file as awk makes it
"#
    };
}

/// A package: `line` where `[main]` had no `exclude=`, else `word`.
pub(super) const HOLD: Kind = Kind {
    name: "package-hold",
    plural: "package(s) kept from updates",
    undo: concat!(
        excludes!(),
        r#"undo_package_hold() {
  c=$(conf)
  [ -n "$c" ] || return 0
  P=$1 B=$2 edit "$c" '
    on {
      head = match($0, /^(exclude|excludepkgs)[[:space:]]*=/) ? substr($0, 1, RLENGTH) : ""
      rest = substr($0, length(head) + 1); kept = ""; n = 0
      while (match(rest, /[^[:space:],]+/)) {
        word = substr(rest, RSTART, RLENGTH)
        if (word != ENVIRON["P"]) {kept = kept substr(rest, 1, RSTART + RLENGTH - 1); n++} else {gone = 1}
        rest = substr(rest, RSTART + RLENGTH)
      }
      if (gone) {gone = 0; if (!n && (head == "" || ENVIRON["B"] == "line")) next; $0 = head kept}
    }
    {print}' || { failed "package $1 cannot be taken out of exclude= in $c"; return 1; }
}
"#
    ),
    alone: Some(|package| format!("let updates change {package} again")),
};

/// These packages are kept from updates.
#[derive(Debug)]
pub struct Hold(pub Vec<String>);

/// `PACKAGE…`: prints those that an update would change.
const LOOK: &str = concat!(
    excludes!(),
    r#"c=$(conf)
[ -n "$c" ] || exit 0
there=$(excluded "$c")
for p; do printf '%s\n' "$there" | grep -qxF -- "$p" || printf '%s\n' "$p"; done"#
);

/// As [`LOOK`]: behind the last word of the last such value, or in a line of its own.
const SET: &str = concat!(
    "set -eu\n",
    include_str!("rewrite.sh"),
    excludes!(),
    r#"c=$(conf)
[ -n "$c" ] || exit 0
there=$(excluded "$c")
how=word
awk "$ini"' on {found = 1} END {exit !found}' "$c" || how=line
new=
for p; do
  printf '%s\n' "$there" | grep -qxF -- "$p" || { note package-hold "$p" $how; new="$new $p"; }
done
[ -n "$new" ] || exit 0
last=$(awk "$ini"' on {last = NR} END {print last + 0}' "$c")
N=$new L=$last edit "$c" '
  {print NR == ENVIRON["L"] ? $0 ENVIRON["N"] : $0}
  !ENVIRON["L"] && main && !done {print "exclude=" substr(ENVIRON["N"], 2); done = 1}'"#
);

impl Hold {
    fn command(&self, text: &'static str) -> Command {
        Command::script(text).args(&self.0).label("read what the package manager excludes from updates")
    }
}

impl Work for Hold {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let open = cx.host()?.run_ok(&self.command(LOOK))?.text();
        Ok(Check::from_changes(open.lines().map(|package| format!("keep updates from changing {package}")).collect()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let set = recording(cx.owner()?, SET).args(&self.0).label("exclude packages from the host's updates");
        cx.host()?.run_ok(&set)?;
        Ok(())
    }

    fn owns(&self) -> Vec<Owned> {
        self.0.iter().map(|package| HOLD.owned(package)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::trial::Trial;

    const OURS: [&str; 2] = ["kubelet", "kubeadm"];

    /// What a configuration becomes, and that it is as before afterwards.
    fn there_and_back(before: &str, with: &str) {
        Trial::each(|trial| {
            trial.write("dnf.conf", before);
            assert!(trial.change(SET, &OURS).ok);
            assert_eq!(trial.read("dnf.conf"), with);
            assert_eq!(trial.look(LOOK, &OURS).out, "");
            assert!(trial.change(SET, &OURS).ok);
            assert_eq!(trial.read("dnf.conf"), with, "a second time changes nothing");
            let ran = trial.undo(&["all"]);
            assert!(ran.ok && ran.said.is_empty(), "{ran:?}");
            assert_eq!(trial.read("dnf.conf"), before);
        });
    }

    #[test]
    fn packages_are_excluded_and_afterwards_the_configuration_is_as_it_was() {
        there_and_back("[main]\ngpgcheck=1\n", "[main]\nexclude=kubelet kubeadm\ngpgcheck=1\n");
        there_and_back(
            "[main]\nexcludepkgs = a*, kernel\nbest=True\n[x]\nexclude=y\n",
            "[main]\nexcludepkgs = a*, kernel kubelet kubeadm\nbest=True\n[x]\nexclude=y\n",
        );
        there_and_back("[main]\nexclude=a\n  b\n\n# c\nx=1\n", "[main]\nexclude=a\n  b kubelet kubeadm\n\n# c\nx=1\n");
        there_and_back("[x]\nexclude=y\n", "[x]\nexclude=y\n");
    }

    #[test]
    fn what_the_site_excludes_stays_and_is_not_recorded() {
        Trial::each(|trial| {
            trial.write("dnf.conf", "[main]\nexclude=kubelet,kernel\n");
            assert_eq!(trial.look(LOOK, &OURS).out, "kubeadm\n");
            assert!(trial.change(SET, &OURS).ok);
            assert_eq!(trial.recorded(), ["package-hold kubeadm word"]);
            // Meanwhile the site excludes another one.
            trial.write("dnf.conf", "[main]\nexclude=kubelet,kernel kubeadm glibc\n");
            assert!(trial.undo(&["some", "package-hold", "kubeadm"]).ok);
            assert_eq!(trial.read("dnf.conf"), "[main]\nexclude=kubelet,kernel glibc\n");
        });
    }

    #[test]
    fn without_a_package_manager_there_is_nothing_to_do() {
        Trial::each(|trial| {
            assert_eq!(trial.look(LOOK, &OURS).out, "");
            assert!(trial.change(SET, &OURS).ok && trial.recorded().is_empty());
        });
    }
}
