//! The platform of a host: its distribution and the major version of that, in one word such as `el9`. Packages that were
//! built for one platform are found by it.

/// The platform by what os-release(5) says. `PLATFORM_ID` (`platform:el9`) is asked first; where there is none (RHEL and CentOS 7,
/// Amazon Linux 2, SUSE) the same is made of `ID`, `ID_LIKE` and `VERSION_ID`. Empty when nothing can be said.
pub(super) fn platform(platform_id: &str, id: &str, like: &[String], version: &str) -> String {
    if let Some(platform) = platform_id.strip_prefix("platform:") {
        return platform.to_owned();
    }
    let is = |word: &str| id == word || like.iter().any(|other| other == word);
    let distribution = match id {
        "amzn" => "al",
        "fedora" => "f",
        _ if is("suse") || is("sles") => "suse",
        // Oracle Linux 7 says of itself only that it is like Fedora.
        _ if is("rhel") || is("centos") || is("ol") => "el",
        _ => return String::new(),
    };
    let major: String = version.chars().take_while(char::is_ascii_digit).collect();
    if major.is_empty() { major } else { format!("{distribution}{major}") }
}

#[cfg(test)]
mod tests {
    use super::super::facts::Facts;

    /// The platform of a host with this os-release, as its facts have it.
    fn of(os_release: &str) -> String {
        let fact = |line: &str| {
            let (name, value) = line.split_once('=').unwrap();
            let keys = [("ID", "id"), ("ID_LIKE", "like"), ("VERSION_ID", "version"), ("PLATFORM_ID", "platform")];
            let key = keys.into_iter().find(|(of, _)| *of == name).unwrap().1;
            format!("{key}\t{}\n", value.trim_matches('"'))
        };
        Facts::parse(&os_release.lines().map(fact).collect::<String>()).platform
    }

    #[test]
    fn what_os_release_says_is_taken() {
        for (os_release, platform) in [
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"\nPLATFORM_ID=\"platform:el9\"", "el9"),
            ("ID=\"rhel\"\nID_LIKE=\"centos fedora\"\nVERSION_ID=\"10.0\"\nPLATFORM_ID=\"platform:el10\"", "el10"),
            ("ID=\"ol\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"8.10\"\nPLATFORM_ID=\"platform:el8\"", "el8"),
            ("ID=fedora\nVERSION_ID=41\nPLATFORM_ID=\"platform:f41\"", "f41"),
            ("ID=\"amzn\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"2023\"\nPLATFORM_ID=\"platform:al2023\"", "al2023"),
        ] {
            assert_eq!(of(os_release), platform, "{os_release}");
        }
    }

    #[test]
    fn where_it_says_nothing_it_follows_from_the_distribution() {
        for (os_release, platform) in [
            ("ID=\"centos\"\nID_LIKE=\"rhel fedora\"\nVERSION_ID=\"7\"", "el7"),
            ("ID=\"rhel\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"7.9\"", "el7"),
            ("ID=\"ol\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"7.9\"", "el7"),
            ("ID=\"amzn\"\nID_LIKE=\"centos rhel fedora\"\nVERSION_ID=\"2\"", "al2"),
            ("ID=fedora\nVERSION_ID=27", "f27"),
            ("ID=\"sles\"\nID_LIKE=\"suse\"\nVERSION_ID=\"15.6\"", "suse15"),
            ("ID=\"sles\"\nVERSION_ID=\"12.2\"", "suse12"),
            ("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\nVERSION_ID=\"15.6\"", "suse15"),
            ("ID=debian\nVERSION_ID=\"12\"", ""),
            ("ID=\"centos\"\nID_LIKE=\"rhel fedora\"\nVERSION_ID=\"\"", ""),
        ] {
            assert_eq!(of(os_release), platform, "{os_release}");
        }
        assert_eq!(Facts::parse("arch\tx86_64\n").platform, "", "a host without os-release");
    }
}
