//! What is said of etcd. See [`crate::fuzz`].

use super::join::Listed;
use super::probe::Found;

pub(in crate::flow) fn output(text: &str) {
    for member in text.lines().filter_map(Listed::parse) {
        let started = if member.started { "started" } else { "unstarted" };
        let written = format!("{}, {started}, {}, {}, -, {}", member.id, member.name, member.peer_urls, member.learner);
        let again = Listed::parse(&written).map(|m| (m.id, m.started, m.name, m.peer_urls, m.learner));
        assert_eq!(again, Some((member.id, member.started, member.name, member.peer_urls, member.learner)));
    }
    let found = Found::parse(text);
    assert!(!found.is_of(None));
    assert_eq!(found.is_of(found.token.as_deref()), found.has_data && found.token.is_some());
}
