//! What users and programs send. See [`crate::fuzz`].

use camino::Utf8Path;

use super::argv::hidden;
use super::ini::Sections;
use super::onekey;
use super::rest::fuzz as rest;
use crate::fuzz::{SECRET, lossy};
use crate::host::{Target, TargetDefaults};

pub(crate) use rest::path;
pub use rest::rest_body;

/// `conf.ini` or `install.ini`: lines have their numbers, and no message shows a password, that of the host it is read as included.
pub fn ini(bytes: &[u8]) {
    let text = lossy(bytes);
    let sections = match Sections::parse(Utf8Path::new("conf.ini"), &text) {
        Ok(sections) => sections,
        Err(error) => return hides(&text, &error.to_string()),
    };
    for name in ["etcd-cluster", "k8s-cluster", "k8s-master"] {
        let lines = sections.lines(name).unwrap_or_default();
        assert!(lines.iter().all(|line| (1..=text.lines().count()).contains(&line.number)), "{lines:?}");
        match sections.hosts(name) {
            Ok(hosts) => {
                for host in hosts.iter().flatten() {
                    if let Err(error) = Target::parse(host, &TargetDefaults::default()) {
                        hides(host, &error.to_string());
                    }
                }
            }
            Err(error) => hides(&text, &error.to_string()),
        }
    }
}

/// Where the marked password stands behind a `:` on its line.
fn hides(text: &str, shown: &str) {
    let stands = |line: &str| line.find(':').zip(line.find(SECRET)).is_some_and(|(colon, secret)| colon < secret);
    assert!(!text.lines().filter(|line| line.contains(SECRET)).all(stands) || !shown.contains(SECRET), "{shown}");
}

/// Words behind `-K onekey_deploy_ctl`, one a line.
pub fn command_line(bytes: &[u8]) {
    let text = lossy(bytes);
    let words: Vec<String> = text.lines().map(str::to_owned).collect();
    if let Err(error) = onekey::parse(&words, |name| (name == "json").then_some(0)) {
        let shown = error.to_string();
        let login = |word: &String| {
            word.find(':').zip(word.rfind('@')).and_then(|(from, to)| word.get(from..to).map(str::to_owned))
        };
        let marked = |word: &&String| word.contains(SECRET);
        let all_hidden = words
            .iter()
            .filter(marked)
            .all(|w| w.matches(SECRET).count() == 1 && login(w).is_some_and(|password| password.contains(SECRET)));
        assert!(!all_hidden || !shown.contains(SECRET), "{shown}");
    }
    for word in &words {
        let kept = hidden(word.as_bytes());
        assert!(kept.is_none_or(|stars| stars.len() == word.len()));
    }
}
