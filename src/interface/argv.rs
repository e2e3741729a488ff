//! Passwords typed as arguments: everybody on the control host can read them in `ps`, so the first thing the program does
//! is to write stars over them, where the kernel reads them from (`/proc/PID/cmdline`, proc(5)).
//!
//! The span of the arguments is in `/proc/self/stat` (fields 48 and 49), and `/proc/self/mem` writes to it.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

/// The option whose value is a secret itself.
const SECRET_OPTION: &str = "ssh-sudo-pw";

/// Writes stars over every password among the arguments. Where the kernel forbids that, nothing happens: the
/// `…-file` options and prompts are the way that shows nothing to anybody.
pub(crate) fn hide_passwords(args: &[OsString]) {
    let Some((start, end)) = argument_span() else { return };
    let Ok(memory) = OpenOptions::new().read(true).write(true).open("/proc/self/mem") else { return };
    let mut at = start;
    let mut secret_follows = false;
    for arg in args {
        let bytes = arg.as_bytes();
        let hidden = if secret_follows { stars(bytes, 0, bytes.len()) } else { hidden(bytes) };
        secret_follows = names_secret(bytes);
        if let Some(hidden) = hidden
            && at + hidden.len() as u64 <= end
        {
            // Only where the memory really holds this argument.
            let mut there = vec![0; bytes.len()];
            if memory.read_exact_at(&mut there, at).is_ok() && there == bytes {
                let _ = memory.write_all_at(&hidden, at);
            }
        }
        at += bytes.len() as u64 + 1;
    }
}

fn argument_span() -> Option<(u64, u64)> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the program's name, may hold spaces; it ends with the last bracket.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some((fields.get(45)?.parse().ok()?, fields.get(46)?.parse().ok()?))
}

fn names_secret(arg: &[u8]) -> bool {
    let text = String::from_utf8_lossy(arg);
    let name = text.trim_start_matches('-');
    text.starts_with('-') && name == SECRET_OPTION
}

/// The argument with its password starred; `None` when it has none.
pub(super) fn hidden(arg: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(arg).ok()?;
    if let Some((name, value)) = text.split_once('=')
        && names_secret(name.as_bytes())
    {
        return stars(arg, text.len() - value.len(), text.len());
    }
    let login_from = if text.starts_with('-') { text.find('=').map_or(0, |i| i + 1) } else { 0 };
    let place = text.rfind('@')?;
    let colon = text.get(login_from..place)?.find(':')? + login_from;
    stars(arg, colon + 1, place)
}

fn stars(arg: &[u8], from: usize, to: usize) -> Option<Vec<u8>> {
    let mut hidden = arg.to_vec();
    hidden.get_mut(from..to)?.fill(b'*');
    Some(hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_found() {
        let cases = [
            ("root:111111@10.0.0.1", Some("root:******@10.0.0.1")),
            ("root:a@b:c@host", Some("root:*****@host")),
            ("--host=root:x@h", Some("--host=root:*@h")),
            ("--ssh-sudo-pw=secret", Some("--ssh-sudo-pw=******")),
            ("maint@10.0.0.1:22", None),
            ("--json", None),
        ];
        for (arg, expected) in cases {
            let got = hidden(arg.as_bytes()).map(|b| String::from_utf8(b).unwrap());
            assert_eq!(got.as_deref(), expected, "{arg}");
        }
        assert!(names_secret(b"-ssh-sudo-pw") && !names_secret(b"ssh-sudo-pw"));
    }
}
