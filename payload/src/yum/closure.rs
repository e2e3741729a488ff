//! Is the set closed: does every package find what it requires among the packages, or on the target system?
//! Versions are compared as libsolv does it for dnf; boolean ("rich") requirements after rpm's manual page on them.

use std::collections::{HashMap, HashSet};
use std::fmt;

use rpm::{Dependency, DependencyFlags as Flags};
use rpmrepo_metadata::Evr;

use super::rpmfile::{RpmFile, path_hash};
use crate::member::RpmId;

/// A requirement that nothing meets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unmet {
    /// What is required, as rpm writes it.
    pub requirement: String,
    /// Who requires it.
    pub package: RpmId,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requires {}", self.package, self.requirement)
    }
}

/// What the target system has, one line each: a capability as `rpm -qa --provides` prints it (`bash = 5.1.8-9.el9`,
/// or the name alone for every version), or a path; `*` at the end stands for anything; `#` begins a comment.
#[derive(Clone, Debug, Default)]
pub struct Assumed {
    provides: Vec<Dependency>,
    any_version: HashSet<String>,
    prefixes: Vec<String>,
}

impl Assumed {
    /// Reads the lines.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut assumed = Self::default();
        for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
            match line.strip_suffix('*') {
                Some(prefix) => assumed.prefixes.push(prefix.to_owned()),
                None if line.is_empty() => {}
                None => {
                    let dependency = parse_simple(line);
                    if dependency.version.is_empty() {
                        assumed.any_version.insert(dependency.name);
                    } else {
                        assumed.provides.push(dependency);
                    }
                }
            }
        }
        assumed
    }

    fn has(&self, name: &str) -> bool {
        self.any_version.contains(name) || self.prefixes.iter().any(|prefix| name.starts_with(prefix))
    }
}

/// The requirements of these packages that neither they nor the target system meet, in order, each once per package.
#[must_use]
pub fn unmet(rpms: &[&RpmFile], assumed: &Assumed) -> Vec<Unmet> {
    let mut world = World { provides: HashMap::new(), files: HashSet::new(), assumed };
    for provide in rpms.iter().flat_map(|rpm| &rpm.needs.provides).chain(&assumed.provides) {
        world.provides.entry(&provide.name).or_default().push(provide);
    }
    world.files.extend(rpms.iter().flat_map(|rpm| rpm.needs.files.iter().copied()));
    let mut unmet: Vec<Unmet> = rpms
        .iter()
        .flat_map(|rpm| rpm.needs.requires.iter().map(move |require| (rpm, require)))
        .filter(|(_, require)| !world.meets(require))
        .map(|(rpm, require)| Unmet { requirement: require.to_string(), package: rpm.id.clone() })
        .collect();
    unmet.sort();
    unmet.dedup();
    unmet
}

/// Whether the system meets a requirement, as it stands in a header.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn met(assumed: &Assumed, requirement: &str) -> bool {
    World { provides: HashMap::new(), files: HashSet::new(), assumed }.meets(&Dependency::any(requirement))
}

struct World<'a> {
    provides: HashMap<&'a str, Vec<&'a Dependency>>,
    files: HashSet<u64>,
    assumed: &'a Assumed,
}

impl World<'_> {
    fn meets(&self, require: &Dependency) -> bool {
        // rpmlib(...) is a feature of rpm itself, a missing package is fine for MISSINGOK.
        if require.name.starts_with("rpmlib(") || require.flags.contains(Flags::MISSINGOK) {
            return true;
        }
        if let Some(inner) = require.name.strip_prefix('(') {
            return Rich { words: words(inner), at: 0, depth: 0 }.eval(self);
        }
        self.assumed.has(&require.name)
            || self.provides.get(require.name.as_str()).is_some_and(|them| them.iter().any(|p| matches(p, require)))
            || (require.name.starts_with('/') && self.files.contains(&path_hash(&require.name)))
    }
}

const COMPARE: Flags = Flags::from_bits_retain(0b1110);

/// Does this provide meet this requirement of the same name?
fn matches(provide: &Dependency, require: &Dependency) -> bool {
    let wanted = require.flags & COMPARE;
    if wanted.is_empty() || require.version.is_empty() {
        return true;
    }
    if (provide.flags & COMPARE) != Flags::EQUAL {
        // Without a version it meets no requirement of one; with a range (rare) a part of it may.
        return !(provide.flags & COMPARE).is_empty();
    }
    match compare(&provide.version, &require.version) {
        std::cmp::Ordering::Less => wanted.contains(Flags::LESS),
        std::cmp::Ordering::Equal => wanted.contains(Flags::EQUAL),
        std::cmp::Ordering::Greater => wanted.contains(Flags::GREATER),
    }
}

/// Orders two versions; the release counts only when both have one.
fn compare(a: &str, b: &str) -> std::cmp::Ordering {
    let (a, b) = (Evr::parse(a), Evr::parse(b));
    let epoch = |evr: &Evr<'_>| if evr.epoch().is_empty() { "0".to_owned() } else { evr.epoch().to_owned() };
    let releases = !a.release().is_empty() && !b.release().is_empty();
    let cut = |evr: &Evr<'_>| {
        let release = if releases { evr.release() } else { "" };
        Evr::new(epoch(evr), evr.version().to_owned(), release.to_owned())
    };
    cut(&a).cmp(&cut(&b))
}

/// `name`, or `name op version`.
fn parse_simple(text: &str) -> Dependency {
    let mut parts = text.split_whitespace();
    let name = parts.next().unwrap_or_default().to_owned();
    let flags = match parts.next() {
        Some("<") => Flags::LESS,
        Some("<=") => Flags::LE,
        Some("=" | "==") => Flags::EQUAL,
        Some(">=") => Flags::GE,
        Some(">") => Flags::GREATER,
        _ => return Dependency { name, flags: Flags::ANY, version: String::new() },
    };
    Dependency { name, flags, version: parts.next().unwrap_or_default().to_owned() }
}

/// Brackets within brackets, more than any package has.
const DEPTH: usize = 64;

/// A boolean requirement without its first bracket, word by word; a bracket is a word.
struct Rich {
    words: Vec<String>,
    at: usize,
    depth: usize,
}

/// Splits at white space and at brackets, but not at the brackets inside a name such as `libc.so.6(GLIBC_2.2)(64bit)`.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        let opening = word.len() - word.trim_start_matches('(').len();
        words.extend(std::iter::repeat_n("(".to_owned(), opening));
        let word = &word[opening..];
        let extra = word.matches(')').count().saturating_sub(word.matches('(').count());
        let (name, closing) = word.split_at(word.len() - extra.min(word.len() - word.trim_end_matches(')').len()));
        if !name.is_empty() {
            words.push(name.to_owned());
        }
        words.extend(closing.chars().map(|_| ")".to_owned()));
    }
    words
}

impl Rich {
    /// The value up to the closing bracket. What cannot be read counts as met: dnf will tell, we only warn.
    fn eval(&mut self, world: &World<'_>) -> bool {
        let mut value = self.operand(world);
        while let Some(word) = self.next() {
            match word.as_str() {
                "and" | "with" => value &= self.operand(world),
                "or" => value |= self.operand(world),
                // A without B: that one package gives A and not B is beyond a set of capabilities.
                "without" => drop(self.operand(world)),
                "if" => value = self.condition(world, value, true),
                "unless" => value = self.condition(world, value, false),
                _ => return value,
            }
        }
        value
    }

    /// `A if B else C`, the condition being true in the words of `when`.
    fn condition(&mut self, world: &World<'_>, value: bool, when: bool) -> bool {
        let applies = self.operand(world) == when;
        if self.words.get(self.at).is_some_and(|word| word == "else") {
            self.at += 1;
            let other = self.operand(world);
            return if applies { value } else { other };
        }
        !applies || value
    }

    fn operand(&mut self, world: &World<'_>) -> bool {
        match self.next() {
            // What is nested deeper would not fit the stack, and is not read to its end.
            Some(word) if word == "(" && self.depth == DEPTH => {
                self.at = self.words.len();
                true
            }
            Some(word) if word == "(" => {
                self.depth += 1;
                let value = self.eval(world);
                self.depth -= 1;
                value
            }
            Some(name) => {
                let mut text = name;
                let operator = |w: &String| matches!(w.as_str(), "<" | "<=" | "=" | "==" | ">=" | ">");
                if self.words.get(self.at).is_some_and(operator) {
                    text = format!(
                        "{text} {}",
                        self.words[self.at..].iter().take(2).cloned().collect::<Vec<_>>().join(" ")
                    );
                    self.at += 2;
                }
                world.meets(&parse_simple(&text))
            }
            None => true,
        }
    }

    fn next(&mut self) -> Option<String> {
        let word = self.words.get(self.at).cloned();
        self.at += 1;
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(provides: &[&str], requirement: &str) -> bool {
        let provides: Vec<Dependency> = provides.iter().map(|p| parse_simple(p)).collect();
        let assumed = Assumed::parse("# the system\nassumed\nlibassumed*\n");
        let mut world = World { provides: HashMap::new(), files: [path_hash("/bin/sh")].into(), assumed: &assumed };
        for provide in &provides {
            world.provides.entry(&provide.name).or_default().push(provide);
        }
        if requirement.starts_with('(') {
            return world.meets(&Dependency::any(requirement));
        }
        world.meets(&parse_simple(requirement))
    }

    #[test]
    fn a_requirement_of_brackets_is_left_to_dnf() {
        assert!(met(&[], &"(".repeat(1_000_000)));
        assert!(!met(&[], &format!("{}missing{}", "(".repeat(20), ")".repeat(20))));
    }

    #[test]
    fn brackets_within_a_word_and_strange_letters_are_read() {
        for strange in ["(a )#\u{7f}onew\u{fffd}", "(a)b\u{fffd})", "()a", "(\u{fffd}))"] {
            let _ = met(&[], strange);
        }
        assert!(met(&["b)c = 1"], "(b)c)") && met(&["libc.so.6(x)(64bit)"], "(libc.so.6(x)(64bit))"));
    }

    #[test]
    fn versions_decide() {
        assert!(met(&["a = 1.0-1"], "a"));
        assert!(met(&["a = 1.0-1"], "a = 1.0"));
        assert!(met(&["a = 1.0-1"], "a >= 0.9-5"));
        assert!(!met(&["a = 1.0-1"], "a >= 1.0-2"));
        assert!(!met(&["a = 1.0-1"], "a < 1.0"));
        assert!(met(&["a = 1:0.5"], "a > 9"));
        assert!(met(&["a = 1.10"], "a > 1.9"));
        assert!(met(&["a = 1.0"], "a > 1.0~rc1"));
        assert!(!met(&["a"], "a = 1"));
        assert!(!met(&[], "a"));
    }

    #[test]
    fn files_and_the_system_count() {
        assert!(met(&[], "/bin/sh") && !met(&[], "/bin/zsh"));
        assert!(met(&[], "assumed >= 99") && met(&[], "libassumed.so.1()(64bit)"));
        assert!(met(&[], "rpmlib(CompressedFileNames) <= 3.0.4-1"));
    }

    #[test]
    fn rich_requirements_are_evaluated() {
        assert!(met(&["a", "b"], "(a and b)") && !met(&["a"], "(a and b)"));
        assert!(met(&["b"], "(a or b)") && !met(&[], "(a or b)"));
        assert!(met(&[], "(a if b)") && !met(&["b"], "(a if b)") && met(&["a", "b"], "(a if b)"));
        assert!(met(&["c"], "(a if b else c)") && !met(&["b", "c"], "(a if b else c)"));
        assert!(!met(&[], "(a unless b)") && met(&["b"], "(a unless b)"));
        assert!(met(&["a = 2"], "((a >= 1 with a < 3) or x)") && !met(&["a = 4"], "((a >= 1 with a < 3) and a)"));
        assert!(met(&["libx.so.1(V1)(64bit)"], "(libx.so.1(V1)(64bit) and assumed)"));
    }
}
