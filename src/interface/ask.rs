//! Questions to the person at the terminal; no other module asks. Without a terminal nothing is asked: callers say what
//! happens then.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};

/// Whether there is somebody to ask.
pub(crate) fn is_possible() -> bool {
    io::stdin().is_terminal()
}

/// A password or passphrase, typed without being shown.
pub(crate) fn secret(prompt: &str) -> io::Result<String> {
    rpassword::prompt_password(prompt)
}

/// Shows these lines and a question, and reads the answer: only `y` and `yes` agree.
pub(crate) fn agreed(lines: &[String], question: &str) -> bool {
    let text = format!("{}\n{question} [y/N] ", lines.join("\n"));
    if show(&text).is_err() {
        return false;
    }
    let mut answer = String::new();
    // The end of the input is a no.
    let read = io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// On standard error; where that goes into a file, on the terminal itself, for a question that nobody sees is no question.
fn show(text: &str) -> io::Result<()> {
    let mut error = io::stderr();
    if error.is_terminal() {
        return error.write_all(text.as_bytes()).and_then(|()| error.flush());
    }
    OpenOptions::new().write(true).open("/dev/tty")?.write_all(text.as_bytes())
}
