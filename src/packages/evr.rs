//! Versions of packages: comparing them as rpm does, and writing them down.

use std::cmp::Ordering;

use payload::RpmId;

/// `[epoch:]version-release`, as dnf prints it.
pub(super) fn text(id: &RpmId) -> String {
    let RpmId { epoch, version, release, .. } = id;
    if *epoch == 0 { format!("{version}-{release}") } else { format!("{epoch}:{version}-{release}") }
}

/// Epoch, then version, then release, by rpm's rules.
pub(super) fn compare(a: &RpmId, b: &RpmId) -> Ordering {
    let full = |id: &RpmId| format!("{}:{}-{}", id.epoch, id.version, id.release);
    rpm_version::rpm_evr_compare(&full(a), &full(b))
}

/// Reads `[epoch:]version-release`; an epoch that is missing, or `(none)` as rpm prints it, is 0.
pub(super) fn parse(name: &str, evr: &str, arch: &str) -> Option<RpmId> {
    let (epoch, rest) = evr.split_once(':').unwrap_or(("0", evr));
    let epoch = if epoch == "(none)" { 0 } else { epoch.parse().ok()? };
    let (version, release) = rest.split_once('-')?;
    // rpm has no `:` in a version or release.
    let filled = [name, version, release, arch].iter().all(|part| !part.is_empty()) && !rest.contains(':');
    filled.then(|| RpmId {
        name: name.into(),
        epoch,
        version: version.into(),
        release: release.into(),
        arch: arch.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(evr: &str) -> RpmId {
        parse("x", evr, "x86_64").unwrap()
    }

    #[test]
    fn compared_as_rpm_does() {
        for (low, high) in [
            ("1.9-1", "1.10-1"),
            ("3.2.18-1.el7", "3.4.23-1.el9"),
            ("2.0-1", "1:1.0-1"),
            ("1.0~rc1-1", "1.0-1"),
            ("1.0-1", "1.0^git1-1"),
            ("1.5.2-0.7.git269f928.el7", "1.5.2-1.el7"),
        ] {
            assert_eq!(compare(&id(low), &id(high)), Ordering::Less, "{low} {high}");
            assert_eq!(compare(&id(high), &id(low)), Ordering::Greater, "{high} {low}");
        }
        assert_eq!(compare(&id("0:1.0-1"), &id("(none):1.0-1")), Ordering::Equal);
    }

    #[test]
    fn what_could_not_be_read_again_is_no_version() {
        assert_eq!(parse("x", "0:3.4-1Package y 2:20-4", "x86_64"), None);
        assert_eq!(parse("x", "1:2:3-1", "x86_64"), None);
    }

    #[test]
    fn written_as_dnf_does() {
        assert_eq!(text(&id("0:1.0-1")), "1.0-1");
        assert_eq!(text(&id("2:1.0-1")), "2:1.0-1");
        assert_eq!(parse("x", "1.0", "noarch"), None);
        assert_eq!(parse("x", "y:1.0-1", "noarch"), None);
    }
}
