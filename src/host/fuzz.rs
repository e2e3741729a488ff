//! Hosts as users write them, and what hosts say. See [`crate::fuzz`].

use super::facts::{Facts, PackageManager};
use super::target::{Target, TargetDefaults, masked};
use super::text::{harmless, one_line, record, tail};
use crate::fuzz::{SECRET, lossy};

/// A host with its login: what is read is written and read again as the same, and no password is shown.
pub fn host_string(bytes: &[u8]) {
    let text = lossy(bytes);
    let login = TargetDefaults::default();
    match Target::parse(&text, &login) {
        Ok(target) => {
            let password = target.auth.password.as_ref().map(|p| format!(":{}", p.expose())).unwrap_or_default();
            let place = format!("{}@{}", target.user, target.socket());
            let written = format!("{}{password}@{}", target.user, target.socket());
            assert_eq!(Target::parse(&written, &login).as_ref(), Ok(&target), "{text:?}");
            let id = target.id();
            assert_eq!((id.address(), id.port()), (target.address.to_string().as_str(), target.port));
            let shown = masked(&text);
            // A password of stars, or one that stands elsewhere too, may be shown by chance.
            let by_chance = password.len() < 6 || password.starts_with(":*") || text.matches(&password).count() > 1;
            assert!(by_chance || !shown.contains(&password), "{shown}");
            let safe = |b: u8| b.is_ascii_alphanumeric() || b"._-:[]@\\$".contains(&b);
            assert!(place.bytes().all(safe), "{place:?}");
        }
        Err(error) => hides(&text, &error.to_string()),
    }
    hides(&text, &masked(&text));
}

/// All between the first `:` and the last `@` is the password.
fn hides(text: &str, shown: &str) {
    let password = text.find(':').zip(text.rfind('@')).and_then(|(from, to)| text.get(from..to));
    let is_in_it = password.is_some_and(|password| password.contains(SECRET)) && text.matches(SECRET).count() == 1;
    assert!(!is_in_it || !shown.contains(SECRET), "{text:?}: {shown}");
}

/// What the script that collects facts prints: what later stands in commands is plain.
pub fn facts(bytes: &[u8]) {
    let facts = Facts::parse(&lossy(bytes));
    let plain = |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    assert!(facts.announced_on.iter().chain(facts.pod_interfaces.iter().map(|i| &i.name)).all(plain));
    let mtus = facts.route_mtu.iter().chain(facts.interfaces.iter().filter_map(|i| i.mtu.as_ref()));
    assert!(mtus.copied().all(|mtu| (1280..=65535).contains(&mtu)));
    for interface in &facts.interfaces {
        assert!(!interface.addresses.is_empty() && interface.lasting.iter().all(|a| interface.addresses.contains(a)));
    }
    let _ = facts.package_manager.map(PackageManager::program);
    let _ = (facts.disk_free_of("/var/lib/etcd"), facts.disk_free_of("relative"), facts.firewalld());
    if let Some(address) = facts.main_address() {
        let _ = (facts.interface_name(address), facts.mtu_of(address));
    }
}

/// Whatever a host prints, made fit for a terminal and a log.
pub fn remote_text(bytes: &[u8]) {
    let text = lossy(bytes);
    let steers = |c: char| c.is_control() && c != '\t' && c != '\n';
    let shown = tail(bytes, 5);
    assert!(!shown.contains(steers) && shown.lines().count() <= 5, "{shown:?}");
    assert!(!harmless(&text).contains(steers));
    assert!(!one_line(&text).contains(char::is_control));
    assert!(record(&text).lines().skip(1).all(|line| line.starts_with("    | ")), "{text:?}");
}
