//! How a command gets past the login shell, and how its output is told from what that shell prints.
//!
//! sshd gives the line to the user's login shell, which may be bash, dash, zsh, tcsh or fish. They agree on little more than
//! a program and a word in single quotes without a quote, backslash, `!` or line break in it. So the line is `exec /bin/sh`
//! with the script in such a word, every other character written as an octal escape of `printf %b`; a script too long for
//! that is read from standard input.
//!
//! The shell's start files may print: what counts of both streams stands between two marks, random for each run of this
//! program. The script holds a mark only in two parts, so that an argument list that is printed is not taken for one.

use std::fmt::Write;
use std::sync::LazyLock;

/// libssh2 sends a line in one packet, of at most 35000 bytes; a system takes at most 128 KiB in one argument.
const LONGEST_LINE: usize = 30_000;
/// What is kept of the text before the first mark: the message of a shell that runs no commands.
const SHOWN: usize = 4096;

static MARKS: LazyLock<Marks> = LazyLock::new(Marks::random);

struct Marks {
    parts: [String; 2],
    begin: Vec<u8>,
    end: Vec<u8>,
}

impl Marks {
    fn random() -> Self {
        let parts = [rand::random::<u64>(), rand::random::<u64>()].map(|n| format!("{n:016x}"));
        let mark = |of: char| format!("{}-{}{of}\n", parts[0], parts[1]).into_bytes();
        Self { begin: mark('<'), end: mark('>'), parts }
    }
}

/// A command as it is sent.
#[derive(Debug)]
pub(super) struct Shipped {
    /// For the login shell.
    pub(super) line: String,
    /// The first bytes of standard input.
    pub(super) first: Vec<u8>,
}

/// Puts marks around what `script` prints, and wraps it for any login shell.
pub(super) fn ship(script: &str) -> Shipped {
    let [one, two] = &MARKS.parts;
    // Not `exec`: somebody has to print the second mark.
    let fenced = format!(
        "m() {{ printf '%s-%s%s\\n' {one} {two} \"$1\"; printf '%s-%s%s\\n' {one} {two} \"$1\" >&2; }}\n\
         m '<'\n{script}\ns=$?\nm '>'\nexit $s\n"
    );
    let line = format!("exec /bin/sh -c 'eval \"$(printf %b \"{}\")\"'", escaped(&fenced));
    if line.len() <= LONGEST_LINE {
        return Shipped { line, first: Vec::new() };
    }
    let line = format!("exec /bin/sh -c 'eval \"$(head -c {})\"'", fenced.len());
    Shipped { line, first: fenced.into_bytes() }
}

/// Letters, digits and what no shell takes for its own between these quotes as they are, `\0OOO` (XCU, printf) for the rest.
/// For `/` too: whoever looks for the processes that work with a path must find the command, not the shell in front of it.
fn escaped(script: &str) -> String {
    let mut text = String::with_capacity(script.len() * 3 / 2);
    for byte in script.bytes() {
        if byte.is_ascii_alphanumeric() || b" -_.:=,+@;()[]{}<>|&*?~#%".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(text, "\\0{byte:03o}");
        }
    }
    text
}

/// Takes what stands between the marks out of a stream, as it comes.
#[derive(Debug, Default)]
pub(super) struct Fenced {
    place: Place,
    /// What may be the beginning of a mark.
    held: Vec<u8>,
    /// The end of what came before the first mark.
    before: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Before,
    Inside,
    After,
}

impl Fenced {
    /// Whether the command was begun.
    pub(super) fn has_begun(&self) -> bool {
        self.place != Place::Before
    }

    /// The end of what was printed before the command, or instead of it.
    pub(super) fn before(&self) -> &[u8] {
        &self.before
    }

    /// Takes the next bytes of the stream; `out` gets what the command printed of them.
    pub(super) fn take(&mut self, bytes: &[u8], out: &mut dyn FnMut(&[u8])) {
        self.held.extend_from_slice(bytes);
        if self.place == Place::Before {
            let Some(at) = find(&self.held, &MARKS.begin) else {
                let sure = self.held.len().saturating_sub(MARKS.begin.len() - 1);
                self.before.extend(self.held.drain(..sure));
                let old = self.before.len().saturating_sub(SHOWN);
                self.before.drain(..old);
                return;
            };
            self.place = Place::Inside;
            self.held.drain(..at + MARKS.begin.len());
        }
        if self.place == Place::Inside {
            let end = find(&self.held, &MARKS.end);
            let sure = end.unwrap_or_else(|| self.held.len() - partial(&self.held, &MARKS.end));
            if sure > 0 {
                out(&self.held[..sure]);
                self.held.drain(..sure);
            }
            if end.is_some() {
                self.place = Place::After;
            }
        }
        if self.place == Place::After {
            self.held.clear();
        }
    }

    /// The stream has ended: what may have been a mark is none.
    pub(super) fn finish(&mut self, out: &mut dyn FnMut(&[u8])) {
        let held = std::mem::take(&mut self.held);
        match self.place {
            Place::Before => self.before.extend(held),
            Place::Inside if !held.is_empty() => out(&held),
            Place::Inside | Place::After => {}
        }
    }
}

fn find(text: &[u8], mark: &[u8]) -> Option<usize> {
    let first = mark.first()?;
    let mut from = 0;
    while let Some(at) = text.get(from..)?.iter().position(|b| b == first) {
        if text[from + at..].starts_with(mark) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// How many bytes at the end of `text` may be the beginning of a mark.
fn partial(text: &[u8], mark: &[u8]) -> usize {
    let most = text.len().min(mark.len() - 1);
    (1..=most).rev().find(|n| mark.starts_with(&text[text.len() - n..])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    /// Runs a script as sshd does, by `shell`, whose start file prints; standard output and error between the marks.
    fn run(shell: &str, noise: &str, script: &str, stdin: &[u8]) -> Option<(String, String, i32)> {
        let shipped = ship(script);
        let line = format!("{noise}{}", shipped.line);
        let child = Command::new(shell)
            .args(["-c", &line])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("SKIPPED: {shell} is not installed");
            return None;
        };
        let mut input = child.stdin.take().unwrap();
        input.write_all(&shipped.first).and_then(|()| input.write_all(stdin)).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        let streams = [output.stdout, output.stderr].map(|stream| {
            let (mut fenced, mut inside) = (Fenced::default(), Vec::new());
            fenced.take(&stream, &mut |b| inside.extend_from_slice(b));
            fenced.finish(&mut |b| inside.extend_from_slice(b));
            assert!(fenced.has_begun(), "{shell}: {stream:?}");
            String::from_utf8(inside).unwrap()
        });
        let [out, err] = streams;
        Some((out, err, output.status.code().unwrap()))
    }

    #[test]
    fn every_login_shell_passes_the_script_on_and_its_noise_is_no_answer() {
        let script = "cat; printf '%s|' 'it'\\''s \\\\ \\n ! !! !x' \"a\\\\b\" '%d' '$HOME' 'äöü 主机' '{a,b}' '[x]*' '~' '#'; \
                      echo \"`echo sub`\"; echo oops >&2; exit 7";
        let want = "input it's \\\\ \\n ! !! !x|a\\b|%d|$HOME|äöü 主机|{a,b}|[x]*|~|#|sub\n";
        for shell in ["sh", "bash", "dash", "zsh", "tcsh", "fish"] {
            let noise = "echo Welcome; echo warning >/dev/stderr; ";
            if let Some(ran) = run(shell, noise, script, b"input ") {
                assert_eq!(ran, (want.to_owned(), "oops\n".to_owned(), 7), "{shell}");
            }
        }
    }

    #[test]
    fn a_script_too_long_for_a_line_is_read_from_the_input() {
        let script = format!("x='{}'\nprintf '%s ' ${{#x}}; cat", "ü!\\".repeat(20_000));
        assert!(ship(&script).line.len() < 100);
        for shell in ["sh", "tcsh", "fish"] {
            if let Some((out, _, status)) = run(shell, "", &script, b"the command's own") {
                assert!(out.ends_with(" the command's own") && status == 0, "{shell}: {out}");
            }
        }
    }

    #[test]
    fn what_comes_behind_the_command_is_no_answer_and_its_arguments_are_no_mark() {
        let (out, err, _) = run("sh", "", "tr '\\0' '\\n' </proc/$$/cmdline; trap 'echo la\"\"te' 0", b"").unwrap();
        assert!(out.contains("printf %b") && !out.contains("late") && err.is_empty(), "{out}");
        assert!(!out.contains("/cmdline"), "a path: {out}");
    }

    #[test]
    fn a_shell_that_runs_nothing_has_not_begun() {
        let mut fenced = Fenced::default();
        let mut nothing = |_: &[u8]| panic!("no command has printed this");
        fenced.take(&vec![b'x'; 100_000], &mut nothing);
        fenced.take(b"This account is currently not available.\n", &mut nothing);
        fenced.finish(&mut nothing);
        assert!(!fenced.has_begun() && fenced.before().len() < 2 * SHOWN);
        assert!(fenced.before().ends_with(b"not available.\n"));
    }

    proptest! {
        #[test]
        fn the_marks_are_found_however_the_bytes_come(
            text in "[a-f0-9<>\n-]{0,200}", cuts in proptest::collection::vec(1usize..40, 0..40)
        ) {
            let mut stream = b"noise".to_vec();
            stream.extend_from_slice(&MARKS.begin);
            stream.extend_from_slice(text.as_bytes());
            // A beginning of a mark that goes on otherwise.
            stream.extend_from_slice(&MARKS.end[..9]);
            stream.extend_from_slice(&MARKS.end);
            stream.extend_from_slice(b"late");
            let (mut fenced, mut inside, mut at) = (Fenced::default(), Vec::new(), 0);
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let end = at + cut.min(stream.len() - at);
                fenced.take(&stream[at..end], &mut |b| inside.extend_from_slice(b));
                at = end;
            }
            fenced.finish(&mut |b| inside.extend_from_slice(b));
            let mut want = text.into_bytes();
            want.extend_from_slice(&MARKS.end[..9]);
            prop_assert_eq!(inside, want);
        }
    }
}
