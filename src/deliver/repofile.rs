//! The .repo file: what a host's package manager is told about this repository.
//!
//! Options are those of yum.conf(5), dnf.conf(5) and dnf5.conf(5); one that an older program does not know is skipped
//! by it.

use std::fmt::Write;

use super::repository::Repository;

/// The file for a host that sees these repositories, below `base` (ends in `/`), with `keys` as URLs.
pub(crate) fn text(repositories: &[Repository], base: &str, keys: &[String]) -> String {
    repositories.iter().map(|repository| section(repository, base, keys, true)).collect()
}

/// A file that may be put on any host: what is for a platform is for its administrator to enable.
pub(super) fn for_any_host(repositories: &[Repository], base: &str, key: &str) -> String {
    let section = |repository: &Repository| {
        let keys = [key.to_owned()];
        let Repository::Platform(platform) = repository else { return section(repository, base, &keys, true) };
        let id = repository.id();
        let comment = format!(
            "# for hosts of {platform} (PLATFORM_ID in /etc/os-release): enabled=1 there, or --enablerepo={id}\n"
        );
        comment + &section(repository, base, &keys, false)
    };
    repositories.iter().map(section).collect()
}

fn section(repository: &Repository, base: &str, keys: &[String], enabled: bool) -> String {
    let platform = match repository {
        Repository::Platform(platform) => format!(" for {platform}"),
        Repository::Common | Repository::Local => String::new(),
    };
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "[{id}]\n\
         name=sunshine-installer {version}{platform}\n\
         baseurl={base}{prefix}\n\
         enabled={enabled}\n\
         cost={cost}\n\
         repo_gpgcheck=1\n\
         gpgcheck=0\n\
         gpgkey={keys}\n\
         module_hotfixes=1\n\
         skip_if_unavailable=0\n\
         proxy=_none_\n\n",
        id = repository.id(),
        version = env!("CARGO_PKG_VERSION"),
        prefix = repository.prefix(),
        enabled = u8::from(enabled),
        cost = repository.cost(),
        keys = keys.join("\n       "),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_s_repository_is_enabled_only_where_it_belongs() {
        let all = [Repository::Common, Repository::Platform("el9".parse().unwrap()), Repository::Local];
        let (base, key) = ("http://10.8.14.1:80/token/", "http://10.8.14.1:80/token/KEY");
        let own = text(&all, base, &[key.to_owned()]);
        assert_eq!((own.matches("enabled=1\n").count(), own.matches("enabled=0\n").count()), (3, 0), "{own}");
        assert!(own.contains("[sunshine-installer-el9]\n") && own.contains("baseurl=http://10.8.14.1:80/token/el9/\n"));
        let any = for_any_host(&all, base, key);
        let (before, platform) = any.split_once("# for hosts of el9 ").unwrap();
        let (platform, after) = platform.split_once("\n\n").unwrap();
        assert!(platform.contains("[sunshine-installer-el9]\n") && platform.contains("enabled=0\n"), "{platform}");
        assert!(before.contains("enabled=1\n") && after.contains("enabled=1\n"), "{any}");
    }
}
