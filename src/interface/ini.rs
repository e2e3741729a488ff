//! conf.ini and install.ini (contract, section 2).
//!
//! rust-ini reads what the lines hold once they are in a form it takes: it would read a bare line together with what
//! follows it, process quotes and escapes in a password, and take `#` inside one for a comment. So lines are normalised
//! first (comments by the contract's rule, the BOM, ` =` behind every value, so that all is key), each keeping its number.

use std::net::IpAddr;

use camino::{Utf8Path, Utf8PathBuf};
use ini::{Ini, ParseOption};

use crate::flow::FlowError;

/// A line that means something: its text, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) number: usize,
}

/// A file's sections, in order; the same name may come again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sections {
    file: Utf8PathBuf,
    sections: Vec<(String, Vec<Line>)>,
}

impl Sections {
    /// Reads a file.
    pub(crate) fn read(path: &Utf8Path) -> Result<Self, FlowError> {
        let text = std::fs::read_to_string(path).map_err(|e| FlowError::request(format!("{path}: {e}")))?;
        Self::parse(path, &text)
    }

    pub(crate) fn parse(path: &Utf8Path, text: &str) -> Result<Self, FlowError> {
        let mut normal = String::new();
        let mut numbers = Vec::new();
        let mut section_seen = false;
        for (index, raw) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = without_comment(raw);
            if line.is_empty() {
                continue;
            }
            // rust-ini ends a line at a carriage return too, and the marks below are control characters.
            if line.contains(|c: char| c.is_control() && c != '\t') {
                return Err(wrong(path, index + 1, line, "it has a control character in it"));
            }
            if is_heading(line) {
                section_seen = true;
                normal.push_str(&format!("{line}\n"));
                continue;
            }
            if !section_seen {
                return Err(wrong(path, index + 1, line, "it stands before the first [section]"));
            }
            // The number makes every key its own: the same line twice is for the reader of the section to judge.
            normal.push_str(&format!("{}\u{1}{} =\n", numbers.len(), line.replace('=', "\u{2}").replace(':', "\u{3}")));
            numbers.push(index + 1);
        }
        let options = ParseOption { enabled_quote: false, enabled_escape: false, ..ParseOption::default() };
        let ini =
            Ini::load_from_str_opt(&normal, options).map_err(|e| FlowError::request(format!("{path}: {}", e.msg)))?;
        let mut sections = Vec::new();
        for (name, properties) in ini.iter() {
            let Some(name) = name else { continue };
            let mut lines = Vec::new();
            for (key, _) in properties.iter() {
                let Some((index, line)) = key.split_once('\u{1}') else { continue };
                let number = index.parse::<usize>().ok().and_then(|i| numbers.get(i).copied()).unwrap_or_default();
                lines.push(Line { text: line.replace('\u{2}', "=").replace('\u{3}', ":"), number });
            }
            sections.push((name.to_owned(), lines));
        }
        Ok(Self { file: path.to_owned(), sections })
    }

    /// The lines of all sections of this name; `None` when there is none.
    pub(crate) fn lines(&self, name: &str) -> Option<Vec<&Line>> {
        let mut found = self.sections.iter().filter(|(n, _)| n == name).peekable();
        found.peek()?;
        Some(found.flat_map(|(_, lines)| lines).collect())
    }

    /// Refuses sections that mean nothing here: most likely a slip of the pen.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), FlowError> {
        match self.sections.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => Err(FlowError::request(format!(
                "{}: section [{name}] is not known; there are [{}]",
                self.file,
                known.join("], [")
            ))),
        }
    }

    /// Hosts of a section, in the form of the command line: `address:password` means root.
    pub(crate) fn hosts(&self, name: &str) -> Result<Option<Vec<String>>, FlowError> {
        let Some(lines) = self.lines(name) else { return Ok(None) };
        lines.into_iter().map(|line| self.host(line)).collect::<Result<_, _>>().map(Some)
    }

    fn host(&self, line: &Line) -> Result<String, FlowError> {
        if !begins_with_address(&line.text) && line.text.rsplit_once('@').is_some_and(|(_, place)| is_place(place)) {
            return Ok(line.text.clone());
        }
        // Without user: the address ends at the first colon, or at the bracket of IPv6.
        let split = match line.text.strip_prefix('[') {
            Some(rest) => rest.split_once("]:").map(|(address, password)| (format!("[{address}]"), password)),
            None => line.text.split_once(':').map(|(address, password)| (address.to_owned(), password)),
        };
        match split {
            Some((address, password)) if !password.is_empty() && is_place(&address) => {
                Ok(format!("root:{password}@{address}"))
            }
            None if is_place(&line.text) => Ok(line.text.clone()),
            _ => Err(wrong(
                &self.file,
                line.number,
                &line.text,
                "it is neither address:password nor user:password@address",
            )),
        }
    }
}

/// `[NAME]`: what has another bracket in it is read by rust-ini together with the line behind it.
fn is_heading(line: &str) -> bool {
    let name = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    name.is_some_and(|name| !name.contains(['[', ']']))
}

/// Whether a text is an address with or without a port.
fn is_place(text: &str) -> bool {
    crate::host::Target::parse(text, &crate::host::TargetDefaults::default()).is_ok()
}

/// An address in front is `address:password`, also when the password holds an `@`: nobody's user is called so.
fn begins_with_address(line: &str) -> bool {
    line.starts_with('[') || line.split_once(':').is_some_and(|(first, _)| first.parse::<IpAddr>().is_ok())
}

/// The line with everything that may be a password starred. Unlike on a command line, it may be the last thing on the line, and
/// made of digits.
fn masked(line: &str) -> String {
    match line.split_once(':') {
        Some(_) if line.contains('@') && !begins_with_address(line) => crate::host::masked(line),
        Some((first, _)) => format!("{first}:***"),
        None => line.to_owned(),
    }
}

fn wrong(path: &Utf8Path, number: usize, line: &str, why: &str) -> FlowError {
    FlowError::request(format!("{path}, line {number}: {}: {why}", masked(line)))
}

/// A comment stands alone on a line, or behind a value with white space before it: a password may hold a `#`.
fn without_comment(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return "";
    }
    let mut space = false;
    for (index, c) in line.char_indices() {
        if space && matches!(c, '#' | ';') {
            return line[..index].trim_end();
        }
        space = c.is_whitespace();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Sections, FlowError> {
        Sections::parse(Utf8Path::new("conf.ini"), text)
    }

    #[test]
    fn a_control_character_in_a_line_is_refused_and_windows_line_ends_are_not() {
        for text in ["[k8s]\n10.8.14.200:a\rb\n", "[k8s]\n10.8.14.200:a\u{1}b\n", "[k8s\rx]\n"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("control character"), "{error}");
        }
        assert_eq!(parse("[k8s]\r\n10.8.14.200:a\tb\r\n").unwrap().lines("k8s").map(|lines| lines.len()), Some(1));
    }

    #[test]
    fn hosts_in_all_forms() {
        let ini = parse(
            "\u{feff}# head\r\n[etcd-cluster]   ; behind\n10.8.14.200:111111\n 10.8.14.201:pa#ss ;x # note\n\
             maint:p@s:s@10.8.14.202:2222\n[fe80::1]:se cret\n10.8.14.203\n\n[k8s-cluster]\n10.8.14.200:'q\"\\n=x\n",
        )
        .unwrap();
        assert_eq!(
            ini.hosts("etcd-cluster").unwrap().unwrap(),
            [
                "root:111111@10.8.14.200",
                "root:pa#ss@10.8.14.201",
                "maint:p@s:s@10.8.14.202:2222",
                "root:se cret@[fe80::1]",
                "10.8.14.203",
            ]
        );
        assert_eq!(ini.hosts("k8s-cluster").unwrap().unwrap(), ["root:'q\"\\n=x@10.8.14.200"]);
        assert_eq!(ini.hosts("k8s-master").unwrap(), None);
    }

    #[test]
    fn any_password_of_printable_characters_comes_through() {
        let all: String = (b'!'..=b'~').map(char::from).collect();
        for password in
            [all.as_str(), "p@ss", "x@10.0.0.9", "a:b@c", "pässwört €", "\\n\\t", "\"q\"", "'", "=", "[x]", "a]:b"]
        {
            for (address, user) in [("10.8.14.200", false), ("[fe80::1]", false), ("node-1.example:2222", true)] {
                let line = if user { format!("maint:{password}@{address}") } else { format!("{address}:{password}") };
                let ini = parse(&format!("[etcd-cluster]\n{line}\n")).unwrap();
                let user = if user { "maint" } else { "root" };
                assert_eq!(
                    ini.hosts("etcd-cluster").unwrap().unwrap(),
                    [format!("{user}:{password}@{address}")],
                    "{line}"
                );
            }
        }
    }

    #[test]
    fn bare_lines_do_not_swallow_what_follows() {
        let ini = parse("[etcd-cluster]\na.rpm\n[k8s-cluster]\nb c.rpm\n[etcd-cluster]\nd.rpm").unwrap();
        let text = |name: &str| ini.lines(name).unwrap().iter().map(|l| l.text.clone()).collect::<Vec<_>>();
        assert_eq!(text("etcd-cluster"), ["a.rpm", "d.rpm"]);
        assert_eq!(text("k8s-cluster"), ["b c.rpm"]);
    }

    #[test]
    fn what_only_looks_like_a_section_swallows_nothing() {
        let ini = parse("[etcd-cluster]\n[etcd-cluster]*x]\na.rpm\n[k8s-master]\nb.rpm\n").unwrap();
        let lines =
            |name: &str| ini.lines(name).unwrap().iter().map(|l| (l.number, l.text.clone())).collect::<Vec<_>>();
        assert_eq!(lines("etcd-cluster"), [(2, "[etcd-cluster]*x]".to_owned()), (3, "a.rpm".to_owned())]);
        assert_eq!(lines("k8s-master"), [(5, "b.rpm".to_owned())]);
        assert!(ini.hosts("etcd-cluster").unwrap_err().to_string().contains("line 2"));
    }

    #[test]
    fn no_part_of_a_password_is_shown() {
        for line in [
            "bad host:p@ssS3cr%t!",
            "ro ot:a b@cS3cr%t!",
            "[fe80::1:x@S3cret",
            "bad_host!:10203S3cret",
            "bad_host!:2222S3cret@h!",
        ] {
            let error =
                parse(&format!("[etcd-cluster]\n{line}\n")).unwrap().hosts("etcd-cluster").unwrap_err().to_string();
            assert!(error.contains("line 2") && !error.contains("S3cr"), "{error}");
        }
        let error = parse("[etcd-cluster]\nbad_host!:4711\n").unwrap().hosts("etcd-cluster").unwrap_err().to_string();
        assert!(!error.contains("4711"), "{error}");
    }

    #[test]
    fn errors_name_file_line_and_the_line_without_its_password() {
        let ini = parse("[etcd-cluster]\n10.0.0.1:ok\n10.0.0;reboot:geheim\n").unwrap();
        let error = ini.hosts("etcd-cluster").unwrap_err().to_string();
        assert!(error.contains("conf.ini, line 3: 10.0.0;reboot:***"), "{error}");
        assert!(!error.contains("geheim"), "{error}");
        let error = parse("10.0.0.1:geheim\n").unwrap_err().to_string();
        assert!(error.contains("line 1") && !error.contains("geheim"), "{error}");
        assert!(parse("[etcd]\n").unwrap().only(&["etcd-cluster"]).is_err());
    }
}
