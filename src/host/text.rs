//! What hosts say, made fit to be printed and logged. A host may be somebody else's by now: its text must not steer a
//! terminal, begin a line of a log, or turn what stands around it.

use std::borrow::Cow;

/// Longest line that an error shows, in characters.
const SHOWN: usize = 400;

/// The text without what steers a terminal: its title, colours, what is on its screen, the direction of its writing.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let harms = |c: char| steers(c) && !matches!(c, '\t' | '\n');
    if text.contains(harms) { text.replace(harms, "\u{fffd}").into() } else { text.into() }
}

/// Control characters as escapes, in one line: for what a log or a list shows of a value.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return text.into();
    }
    text.chars().flat_map(|c| if steers(c) { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// A record of a log: harmless, every line but the first indented, so that no text can begin a record of its own.
pub(crate) fn record(text: &str) -> Cow<'_, str> {
    let body = text.strip_suffix('\n').unwrap_or(text);
    if !body.contains(steers) {
        return text.into();
    }
    let end = if body.len() < text.len() { "\n" } else { "" };
    format!("{}{end}", harmless(body).replace('\n', "\n    | ")).into()
}

/// The last lines of an output that a person should read, control characters taken out.
pub(crate) fn tail(bytes: &[u8], lines: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let kept: Vec<String> = text
        .lines()
        .map(|l| l.chars().filter(|c| !steers(*c) || *c == '\t').take(SHOWN).collect::<String>())
        .filter(|l| !l.trim().is_empty())
        .collect();
    kept[kept.len().saturating_sub(lines)..].join("\n")
}

/// Control characters, and those that separate lines or turn the direction of writing unseen (Unicode Standard Annex 9).
fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_cannot_steer_the_terminal() {
        assert_eq!(
            harmless("\x1b]0;title\x07 \x1b[2Jgone\rover \u{9b}2J \u{202e}txt.exe"),
            "\u{fffd}]0;title\u{fffd} \u{fffd}[2Jgone\u{fffd}over \u{fffd}2J \u{fffd}txt.exe"
        );
        assert_eq!(harmless("Rechner-äöü 主机\tb\nc"), "Rechner-äöü 主机\tb\nc");
    }

    #[test]
    fn no_text_begins_a_record_of_a_log() {
        let forged = "2026-01-01 INFO h: done\n2026-01-01 INFO other: forged\r\n\u{2028}x\n";
        let text = record(forged);
        assert_eq!(text, "2026-01-01 INFO h: done\n    | 2026-01-01 INFO other: forged\u{fffd}\n    | \u{fffd}x\n");
        assert_eq!(record("one line\n"), "one line\n");
        assert_eq!(one_line("a\n\u{1b}b\u{202e}"), "a\\n\\u{1b}b\\u{202e}");
    }

    #[test]
    fn the_tail_has_no_control_characters() {
        assert_eq!(tail(b"a\n\x1b[31mred\x07\n\n\nlast\n", 2), "[31mred\nlast");
    }
}
