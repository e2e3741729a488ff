//! A transaction that dnf has worked out and holds ready: it asks "Is this ok", and is answered once every host's trial
//! has gone well. So what is done is the very transaction that was tried, and dnf, which takes longer to start and to solve
//! than to install, is started once for both.
//!
//! dnf runs in a session of its own on the host, its questions in files, its answers from a FIFO below the run's folder. It
//! holds no lock while it waits. Not answered within [`WAIT`], or when the run that began it is gone and another one sweeps,
//! it ends without having changed anything. Whatever it says that is not known here ends it too, and the caller goes the
//! plain way.

use crate::host::{Command, Host};

use super::error::PackageError;
use super::installed::look_for_lock;
use super::manager::Manager;
use super::package_run::{Run, patiently};
use super::transaction::Transaction;
use super::wanted::InstallOptions;

/// Seconds that an answer is waited for: longer than the slowest host of a run takes for its own trial.
const WAIT: &str = "900";
/// The status by which [`HOLD`] says that the transaction stands and is held.
const HELD: i32 = 76;
/// The status by which [`GO`] says that nothing came of it and the plain way is to be gone.
const GONE: i32 = 77;

/// `$1` the folder, `$2` seconds to wait, then the command. The only other question, whether the run's key may be taken to
/// check the metadata with, is answered here. Each answer is two bytes, `y` or `n` and a line's end.
const HOLD: &str = concat!(
    look_for_lock!(),
    r#"
d=$1 wait=$2; shift 2
umask 077
rm -rf -- "$d"
mkdir -- "$d" && mkfifo -- "$d/answer" && : >"$d/out" && : >"$d/err" || exit 1
answer() { printf '%s\n' "$1" 1<>"$d/answer"; }
alive() { kill -0 "$(cat -- "$d/pid")" 2>/dev/null; }
trap '' HUP
setsid sh -c 'd=$0 wait=$1; shift
echo $$ >"$d/pid"
while timeout "$wait" head -c 2 -- "$d/answer"; do :; done <>"$d/answer" | {
    umask 022
    "$@" >"$d/out" 2>"$d/err"
    echo $? >"$d/status.new"; mv -fT -- "$d/status.new" "$d/status"
    # Nobody reads any more: whoever still waits for an answer ends by the next.
    exec <&-; [ ! -p "$d/answer" ] || printf "n\n" 1<>"$d/answer"
}' "$d" "$wait" "$@" </dev/null >/dev/null 2>&1 &
out=0 err=0 pause=0.2
until [ -e "$d/status" ]; do
    sleep $pause
    pause=0.03
    [ ! -s "$d/pid" ] || alive || [ -e "$d/status" ] || { echo "dnf was ended from outside" >&2; exit 1; }
    asked=$(tail -c +$((out + 1)) -- "$d/out")
    case $asked in *'[y/N]: ') ;; *) continue ;; esac
    out=$((out + $(printf %s "$asked" | wc -c)))
    # What a key is, dnf tells on standard error.
    told=$(tail -c +$((err + 1)) -- "$d/err")
    err=$((err + $(printf %s "$told" | wc -c)))
    case $asked$told in
    *'Transaction Summary'*) cat -- "$d/out"; exit 76 ;;
    *'Importing GPG key'*) answer y ;;
    *) answer n ;;
    esac
done
cat -- "$d/out"
cat -- "$d/err" >&2
exit "$(cat -- "$d/status")"
"#
);

/// `$1` the folder, then the files of the keys that packages are signed with: dnf takes keys from nobody when it is not on a
/// terminal, so rpm is given them.
const GO: &str = concat!(
    look_for_lock!(),
    r#"
d=$1; shift
alive() { kill -0 "$(cat -- "$d/pid")" 2>/dev/null; }
[ ! -e "$d/status" ] && alive || exit 77
for key; do rpm --import "${key#file://}" || { printf 'n\n' 1<>"$d/answer"; exit 77; }; done
printf 'y\n' 1<>"$d/answer"
until [ -e "$d/status" ]; do
    alive || { [ -e "$d/status" ] || { echo "dnf was ended from outside" >&2; exit 1; }; }
    sleep 0.03
done
s=$(cat -- "$d/status")
# Too late, or the host was changed by others meanwhile, so that it does not fit any more: nothing has been done.
[ "$s" = 0 ] || ! grep -qsE 'Operation aborted|Transaction test error|ransaction check (error|vs depsolve)' "$d/out" "$d/err" || exit 77
cat -- "$d/out"
cat -- "$d/err" >&2
exit "$s"
"#
);

/// `$1` the folder.
const GIVE_UP: &str = r#"[ -e "$1/status" ] || printf 'n\n' 1<>"$1/answer""#;

/// A transaction that waits on a host.
#[derive(Debug)]
pub(super) struct Held {
    folder: String,
}

impl Held {
    /// The command with which dnf works the transaction out and then waits, in `folder`.
    pub(super) fn command(dnf: Command, folder: &str) -> Command {
        dnf.behind(HOLD, [folder, WAIT])
    }

    /// Whether that run ended with the transaction held.
    pub(super) fn of(run: &Run, folder: &str) -> Option<Self> {
        (run.status == HELD).then(|| Self { folder: folder.to_owned() })
    }

    /// Has `transaction` done, which is what it came to, once nobody holds the package manager's lock; `None` when nothing came of it. `keys` are addresses of the
    /// keys that its packages are checked with.
    pub(super) fn go(
        self,
        host: &Host,
        keys: &[String],
        transaction: &Transaction,
        options: &InstallOptions,
        note: &mut dyn FnMut(String),
    ) -> Result<Option<Run>, PackageError> {
        let command = Command::script(GO).arg(self.folder).args(keys).label("dnf continues the transaction");
        let command = options.recorded(command.outlives_connection(), transaction);
        let run = patiently(host, Manager::Dnf, &command.timeout(options.timeout), options.lock_wait, note)?;
        Ok((run.status != GONE).then_some(run))
    }

    /// Ends it with nothing changed.
    pub(super) fn give_up(self, host: &Host) -> Result<(), PackageError> {
        host.run(&Command::script(GIVE_UP).arg(self.folder).label("end dnf's wait"))?;
        Ok(())
    }
}
