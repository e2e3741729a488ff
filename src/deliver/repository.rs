//! The yum repositories that a run serves. Each lies below a prefix of the run's address, as the bundle's members do by their
//! names.

use payload::Platform;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Repository {
    /// The bundle's packages for every host.
    Common,
    /// The bundle's packages for hosts of one platform.
    Platform(Platform),
    /// Rpms of the control host, for every host.
    Local,
}

/// The id of the first one in a .repo file; those of the others begin with it.
pub(crate) const ID: &str = "sunshine-installer";

impl Repository {
    /// What the names of all that is in it begin with.
    pub(super) fn prefix(&self) -> String {
        match self {
            Repository::Common => String::new(),
            Repository::Platform(platform) => format!("{platform}/"),
            Repository::Local => "local/".to_owned(),
        }
    }

    /// Its id in a .repo file.
    pub(crate) fn id(&self) -> String {
        match self {
            Repository::Common => ID.to_owned(),
            Repository::Platform(platform) => format!("{ID}-{platform}"),
            Repository::Local => format!("{ID}-local"),
        }
    }

    /// yum.conf(5), dnf.conf(5): of the same package in two repositories that of the cheaper one is taken. An rpm that was
    /// named goes before all, and one that was built for the host before one that is for any.
    pub(super) fn cost(&self) -> u32 {
        match self {
            Repository::Local => 100,
            Repository::Platform(_) => 500,
            Repository::Common => 1000,
        }
    }

    /// Whether this is a name of its metadata.
    pub(super) fn has_metadata(&self, name: &str) -> bool {
        name.strip_prefix(&self.prefix()).is_some_and(|rest| rest.starts_with("repodata/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_told_apart() {
        let el9 = Repository::Platform("el9".parse().unwrap());
        for (name, owner) in [
            ("repodata/repomd.xml", &Repository::Common),
            ("el9/repodata/repomd.xml", &el9),
            ("local/repodata/repomd.xml", &Repository::Local),
        ] {
            for repository in [&Repository::Common, &el9, &Repository::Local] {
                assert_eq!(repository.has_metadata(name), repository == owner, "{repository:?} {name}");
            }
        }
    }
}
