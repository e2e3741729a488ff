//! The images of a host's containerd in one archive, an OCI image layout, that another program serves. Beside it lies a list of
//! the names and digests in it: written last, so that an archive without its list is one that a run was killed over.

use std::time::Duration;

use crate::host::Command;
use crate::plan::{Check, Cx, Owned, StepError, Work};

use super::kept::{FILE, keep};
use super::record::recording;

/// Longer than containerd takes for the images of a cluster on a slow disk.
const PATIENCE: Duration = Duration::from_secs(1800);

/// These images are in the archive, as containerd has them.
#[derive(Debug)]
pub struct ImageCopy {
    /// The archive's path.
    pub archive: String,
    /// Full names.
    pub names: Vec<String>,
    /// The unit that serves it, which reads it when it starts.
    pub unit: &'static str,
}

/// Prints `NAME DIGEST` for each of the images that containerd has.
macro_rules! digests {
    ($body:literal) => {
        concat!(
            r#"digests() {
  ctr -n k8s.io images ls | while read -r ref _ digest _; do
    for i; do [ "$i" != "$ref" ] || printf '%s %s\n' "$ref" "$digest"; done
  done | LC_ALL=C sort
}
"#,
            $body
        )
    };
}

/// `ARCHIVE NAME…`: status 0 when the archive has its size of before and holds what containerd has.
const LOOK: &str = digests!(
    r#"archive=$1; shift
size=$(stat -c %s -- "$archive" 2>/dev/null) || exit 1
[ "$(cat -- "$archive.list" 2>/dev/null)" = "$(echo "$size"; digests "$@" 2>/dev/null)" ]"#
);

/// `ARCHIVE UNIT NAME…`. The unit's user reads the archive.
const COPY: &str = digests!(
    r#"set -eu
archive=$1 unit=$2; shift 2
new=$archive.new list=$archive.list
umask 022
mkdir -p -- "${archive%/*}"
# The script of a run that was killed may still be at work: it ends first.
exec 9<"${archive%/*}"
flock -w 1500 9 || { echo 'the copy that an earlier run began is still being made on this host' >&2; exit 75; }
trap 'rm -f -- "$new" "$list.new" "$list.all"' EXIT
trap 'exit 143' HUP INT TERM
digests "$@" >"$list.new"
for i; do
  cut -d' ' -f1 "$list.new" | grep -qxF -- "$i" || { echo "containerd does not have the image $i" >&2; exit 66; }
done
case $(uname -m) in x86_64) arch=amd64;; aarch64) arch=arm64;; *) arch=;; esac
rm -f -- "$new"
ctr -n k8s.io images export ${arch:+--platform "linux/$arch"} "$new" "$@" >/dev/null
sync -- "$new" 2>/dev/null || sync
rm -f -- "$list"
mv -fT -- "$new" "$archive"
# Before the first run of it there is no such unit.
! systemctl -q is-active -- "$unit" || systemctl restart -- "$unit"
{ stat -c %s -- "$archive"; cat -- "$list.new"; } >"$list.all"
mv -fT -- "$list.all" "$list"
sync -- "$list" "${archive%/*}" 2>/dev/null || sync"#
);

impl ImageCopy {
    /// The archive first, then its list, and what they are called while they are written.
    fn files(&self) -> Vec<String> {
        ["", ".new", ".list", ".list.new", ".list.all"].map(|end| format!("{}{end}", self.archive)).to_vec()
    }
}

impl Work for ImageCopy {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let look = Command::script(LOOK).arg(&self.archive).args(self.names.iter().cloned()).label("ctr images ls");
        if cx.host()?.run(&look)?.ok() {
            return Ok(Check::Satisfied);
        }
        Ok(Check::Needed(vec![format!("copy {} image(s) to {}", self.names.len(), self.archive)]))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let (host, owner) = (cx.host()?, cx.owner()?);
        let files = self.files();
        keep(host, owner, &files.iter().map(String::as_str).collect::<Vec<_>>())?;
        let copy = recording(owner, COPY).args([self.archive.as_str(), self.unit]).args(self.names.iter().cloned());
        let output = host.run(&copy.timeout(PATIENCE).label("ctr images export"))?;
        let said = |help| StepError::with_help(String::from_utf8_lossy(&output.stderr).trim().to_owned(), help);
        match output.status {
            0 => Ok(()),
            66 => Err(said("`cluster images sync` brings it back; then run the same command again")),
            75 => Err(said("wait until it has ended, then run the same command again")),
            status => Err(StepError::failed(format!(
                "ctr images export: exit status {status}: {}",
                crate::host::tail(&output.stderr, 3)
            ))),
        }
    }

    fn owns(&self) -> Vec<Owned> {
        self.files().iter().map(|path| FILE.owned(path)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::trial::Trial;

    const NAMES: [&str; 2] = ["registry.k8s.io/a:1", "registry.k8s.io/a:12"];
    /// containerd with the images of `images`; an export fails where `full` is there.
    const CTR: &str = r#"case "$3 $4" in
  'images ls') echo 'REF TYPE DIGEST SIZE PLATFORMS LABELS'; cat "${at}images";;
  'images export')
    while [ "${1#/}" = "$1" ]; do shift; done
    echo half >"$1"
    [ ! -e "${at}full" ] || exit 1
    cat "${at}images" >"$1";;
esac"#;

    fn images(trial: &Trial, digest: &str) {
        let line = |name: &str, digest: &str| format!("{name} application/x sha256:{digest} 1.2 MiB linux/amd64 -\n");
        trial.write("images", &[line("theirs:1", "0"), line(NAMES[1], "12"), line(NAMES[0], digest)].concat());
    }

    #[test]
    fn an_archive_is_whole_or_not_there_and_is_renewed_with_the_images() {
        Trial::each(|trial| {
            trial.program("ctr", CTR);
            let archive = trial.at("root/images.tar");
            let look = || trial.look(LOOK, &[&[archive.as_str()], &NAMES[..]].concat()).ok;
            let copy = || trial.change(COPY, &[&[archive.as_str(), "x.service"], &NAMES[..]].concat());
            images(trial, "1");
            assert!(!look());
            trial.write("full", "");
            assert!(!copy().ok && !look() && std::fs::read_dir(trial.at("root")).unwrap().next().is_none());
            std::fs::remove_file(trial.at("full")).unwrap();
            let ran = copy();
            assert!(ran.ok && look(), "{ran:?}");
            assert!(trial.calls().contains("systemctl restart -- x.service"));
            assert!(!trial.there("root/images.tar.new"));
            images(trial, "2");
            assert!(!look());
            assert!(copy().ok && look());
            // It was cut short.
            trial.write("root/images.tar", "x");
            assert!(!look());
            assert!(copy().ok && look());
            // A run was killed before the list was written.
            std::fs::remove_file(trial.at("root/images.tar.list")).unwrap();
            assert!(!look());
        });
    }

    #[test]
    fn the_copy_of_a_killed_run_ends_before_the_next_one_begins() {
        Trial::each(|trial| {
            trial.program("ctr", &CTR.replace("echo half >\"$1\"", "echo half >\"$1\"; sleep 0.3"));
            images(trial, "1");
            let archive = trial.at("root/images.tar");
            let words = [&[archive.as_str(), "x.service"], &NAMES[..]].concat();
            let ran = std::thread::scope(|scope| {
                let copies = [(); 2].map(|()| scope.spawn(|| trial.change(COPY, &words)));
                copies.map(|copy| copy.join().unwrap())
            });
            assert!(ran.iter().all(|ran| ran.ok), "{ran:?}");
            assert!(trial.look(LOOK, &[&[archive.as_str()], &NAMES[..]].concat()).ok);
        });
    }

    #[test]
    fn an_image_that_is_not_there_is_named() {
        Trial::each(|trial| {
            trial.program("ctr", CTR);
            trial.write("images", "registry.k8s.io/a:12 t sha256:12 1 MiB linux/amd64 -\n");
            let archive = trial.at("root/images.tar");
            let ran = trial.change(COPY, &[&[archive.as_str(), "x.service"], &NAMES[..]].concat());
            assert!(!ran.ok && ran.said.contains("does not have the image registry.k8s.io/a:1\n"), "{ran:?}");
            assert!(!trial.calls().contains("export") && !trial.there("root/images.tar"));
        });
    }
}
