//! The one module that builds remote commands. No user-supplied value reaches a remote shell unquoted: values are
//! arguments, and every argument is put in single quotes; shell text is fixed at compile time (`&'static str`).

use std::fmt;
use std::time::Duration;

use super::secret::Secret;
use super::text::one_line;

/// How long a command may take when it says nothing else.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest command that messages show.
const SHOWN: usize = 400;
/// The most that a command may print, in bytes: a host that never ends would fill our memory.
const MOST_OUTPUT: usize = 16 << 20;
/// What the operator has a host print may be long.
const MOST_OF_OPERATOR: usize = 32 << 20;

/// A command for a host. It runs as root: through sudo when the login is another user's.
#[derive(Clone)]
pub struct Command {
    words: Vec<String>,
    /// What people read instead of the text of a script.
    label: Option<String>,
    stdin: Stdin,
    pub(super) timeout: Duration,
    pub(super) as_root: bool,
    /// The most bytes of output, standard error with it.
    pub(super) most_output: usize,
    /// With a controlling terminal.
    pub(super) terminal: bool,
    outlives: bool,
    /// In the environment that the user of the host has.
    as_found: bool,
    /// A script that runs first, its own arguments, and then, or not, the command.
    gate: Option<(&'static str, Vec<String>)>,
    /// Scripts that run the command, each with its own arguments, the outermost first.
    around: Vec<(&'static str, Vec<String>)>,
}

/// What a command finds in its environment, whatever `/etc/environment` and the shell's start files have put there: a proxy of the
/// site would come between our programs and the hosts, another language change what they print.
const ENVIRONMENT: &str =
    "/usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/root ";

/// Runs `"$@"` whether or not somebody still listens: what it says goes to files that have no name any more, and is
/// passed on at its end. In /run, which is there on every host and root's alone.
const OUTLIVE: &str = r#"trap '' HUP
d=$(umask 077 && mktemp -d -p /run) || exit 1
exec 3>"$d/o" 4>"$d/e" 5<"$d/o" 6<"$d/e" || exit 1
rm -rf "$d"
"$@" >&3 2>&4 3>&- 4>&- 5<&- 6<&- </dev/null
s=$?
cat <&5; cat <&6 >&2
exit $s"#;

#[derive(Clone, Default)]
enum Stdin {
    #[default]
    Empty,
    Bytes(Vec<u8>),
    Secret(Secret),
}

impl Command {
    /// A program with arguments.
    pub fn new(program: &'static str) -> Self {
        Self {
            words: vec![program.to_owned()],
            label: None,
            stdin: Stdin::Empty,
            timeout: DEFAULT_TIMEOUT,
            as_root: true,
            most_output: MOST_OUTPUT,
            terminal: false,
            outlives: false,
            as_found: false,
            gate: None,
            around: Vec::new(),
        }
    }

    /// A POSIX shell script; [`Command::arg`]s are its `$1`, `$2`, …
    pub fn script(text: &'static str) -> Self {
        let mut command = Self::new("sh");
        command.words.extend(["-c", text, "sh"].map(str::to_owned));
        let first = text.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or_default();
        let more = if text.trim().lines().count() > 1 { " …" } else { "" };
        command.label = Some(format!("{first}{more}"));
        command
    }

    /// A script with a head that others share: functions, variables. Messages name it by its own first line.
    pub fn script_with(head: &'static str, text: &'static str) -> Self {
        let label = Self::script(text).label;
        Self {
            words: ["sh".to_owned(), "-c".to_owned(), format!("{head}{text}"), "sh".to_owned()].into(),
            label,
            ..Self::new("sh")
        }
    }

    /// What the user typed after `hosts exec … --`: a line for the host's own shell, meant to be interpreted there. Messages
    /// and the log do not show it: it may hold a password (`mysql -pSECRET`), and nobody but its author knows where.
    pub fn user_line(line: &str) -> Self {
        let mut command = Self::new("sh");
        command.words.extend(["-c".to_owned(), line.to_owned()]);
        command.as_found = true;
        command.most_output = MOST_OF_OPERATOR;
        command.label = Some("the operator's command".to_owned());
        command
    }

    /// A name for messages, where the first line of a script says too little.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    #[must_use]
    pub fn arg(mut self, value: impl Into<String>) -> Self {
        self.words.push(value.into());
        self
    }

    #[must_use]
    pub fn args(mut self, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.words.extend(values.into_iter().map(Into::into));
        self
    }

    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Stdin::Bytes(bytes.into());
        self
    }

    /// A secret for the command's standard input: the only way by which one reaches a host's process.
    #[must_use]
    pub fn secret_stdin(mut self, secret: Secret) -> Self {
        self.stdin = Stdin::Secret(secret);
        self
    }

    /// The longest it may take; it is ended on the host too.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// After all others of its kind on that host: what a killed run began there goes on without it. Waits for them for up to
    /// two minutes of its time.
    #[must_use]
    pub fn in_turn(mut self) -> Self {
        // With -o what the command leaves at work does not keep the next one waiting.
        const TURN: &str = "flock -o -w 120 -E 75 /var/lib \"$@\"; s=$?
[ $s != 75 ] || echo 'what an earlier run began on this host is still at work: wait until it has ended' >&2; exit $s";
        self.around.push((TURN, Vec::new()));
        self
    }

    /// As the login user, without sudo.
    #[must_use]
    pub fn as_user(mut self) -> Self {
        self.as_root = false;
        self
    }

    /// With a controlling terminal, as sudo wants it where `requiretty` is set.
    #[must_use]
    pub(super) fn terminal(mut self) -> Self {
        self.terminal = true;
        self
    }

    /// Goes on to its end when the connection is lost or this program is killed; it has no standard input, and what it
    /// prints comes when it is done. For what must not stop half way: a package manager in its transaction would, at
    /// the first line that it cannot print. So it is not ended on the host when it takes longer than its time either; whoever
    /// runs such a command knows when it can be.
    #[must_use]
    pub fn outlives_connection(mut self) -> Self {
        self.outlives = true;
        self
    }

    /// Lets a script decide on the host whether and how this command is run. It finds the command in `"$@"`, behind
    /// `arguments` of its own.
    #[must_use]
    pub fn behind<const N: usize>(mut self, gate: &'static str, arguments: [&str; N]) -> Self {
        self.gate = Some((gate, arguments.map(str::to_owned).to_vec()));
        self
    }

    /// Has a script run this command, with what runs it so far: it finds the command in `"$@"`, behind `arguments` of its own. Unlike one that the command is
    /// [behind](Self::behind) it has something to do afterwards too, and outlives the connection where the command does.
    #[must_use]
    pub fn inside(mut self, script: &'static str, arguments: Vec<String>) -> Self {
        self.around.insert(0, (script, arguments));
        self
    }

    pub(super) fn stdin_bytes(&self) -> &[u8] {
        match &self.stdin {
            Stdin::Empty => &[],
            Stdin::Bytes(bytes) => bytes,
            Stdin::Secret(secret) => secret.expose().as_bytes(),
        }
    }

    /// The line for a POSIX shell: `PREFIX env -i … timeout -k 5 SECONDS 'program' 'arg' …`.
    ///
    /// `timeout` (coreutils) ends the command on the host also when the connection is gone.
    pub(super) fn line(&self, prefix: &str) -> String {
        let seconds = self.timeout.as_secs().max(1);
        let environment = if self.as_found { "" } else { ENVIRONMENT };
        let mut line = format!("{prefix}{environment}");
        if !self.outlives {
            line.push_str(&format!("timeout -k 5 {seconds} "));
        }
        let script = |(text, arguments): &'_ (&'static str, Vec<String>)| {
            ["sh", "-c", text, "sh"].map(str::to_owned).into_iter().chain(arguments.clone()).collect::<Vec<_>>()
        };
        let (gate, around) = (self.gate.iter().flat_map(script), self.around.iter().flat_map(script));
        let outlive = self.outlives.then_some(["sh", "-c", OUTLIVE, "sh"].map(str::to_owned)).into_iter().flatten();
        for word in gate.chain(outlive).chain(around).chain(self.words.iter().cloned()) {
            line.push_str(&quote(&word));
            line.push(' ');
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// `line` with a controlling terminal, which script(1) makes; what goes in and comes out passes it by, whole.
pub(super) fn in_terminal(line: &str) -> String {
    let inner = quote(&format!("{line} <&3 >&4 2>&5 3<&- 4>&- 5>&-"));
    // It runs its command by $SHELL.
    format!("SHELL=/bin/sh script -qec {inner} /dev/null 3<&0 4>&1 5>&2 </dev/null >/dev/null 2>&1")
}

/// Single quotes around all; a single quote itself becomes `'\''` (POSIX shell, 2.2.2).
fn quote(word: &str) -> String {
    // A NUL can be in no argument of any process.
    format!("'{}'", word.replace('\0', "").replace('\'', r"'\''"))
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain =
            |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&b));
        let show = |w: &String| if plain(w) { w.clone() } else { quote(w) };
        let (first, rest) = match &self.label {
            Some(label) => (label.clone(), self.words.get(4..).unwrap_or_default()),
            None => (show(&self.words[0]), &self.words[1..]),
        };
        let mut text = first;
        for word in rest {
            text.push(' ');
            text.push_str(&show(word));
        }
        match text.char_indices().nth(SHOWN) {
            Some((cut, _)) => write!(f, "{}…", one_line(&text[..cut])),
            None => f.write_str(&one_line(&text)),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({self})")
    }
}

/// What a command left.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// The exit status; 128 + signal when one ended it.
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub took: Duration,
}

impl Output {
    pub fn ok(&self) -> bool {
        self.status == 0
    }

    /// Standard output as text, without white space at its end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }
}

#[cfg(test)]
#[path = "shell_tests.rs"]
mod tests;
