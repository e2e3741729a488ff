//! What a package manager says it would do, or did, read from its output.
//!
//! dnf 4 (with `-v`) and yum 3 print one line per package, `---> Package NAME.ARCH EVR will be …`, whatever the
//! terminal's width; dnf 5 prints a table only. Both are printed untranslated under `LC_ALL=C`.

use std::fmt;

use payload::RpmId;

use super::evr;

/// What installing would change on one host.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Transaction {
    /// Packages that come new.
    pub install: Vec<RpmId>,
    /// Packages that replace an older version, with that version.
    pub upgrade: Vec<(String, RpmId)>,
    /// Packages that replace a newer version, with that version.
    pub downgrade: Vec<(String, RpmId)>,
    /// Packages that are installed again.
    pub reinstall: Vec<RpmId>,
    /// Packages that go because another one takes their place.
    pub remove: Vec<RpmId>,
    /// Packages wanted that are there already.
    pub already: Vec<RpmId>,
    /// Why it cannot be done; empty when it can.
    pub problems: Vec<String>,
}

impl Transaction {
    /// True when nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changed().next().is_none() && self.remove.is_empty()
    }

    /// The packages that would be brought to the host.
    pub fn changed(&self) -> impl Iterator<Item = &RpmId> + Clone {
        let replaced = self.upgrade.iter().chain(&self.downgrade).map(|(_, id)| id);
        self.install.iter().chain(replaced).chain(&self.reinstall)
    }

    /// Takes over what another transaction does.
    pub(super) fn merge(&mut self, other: Transaction) {
        self.install.extend(other.install);
        self.upgrade.extend(other.upgrade);
        self.downgrade.extend(other.downgrade);
        self.reinstall.extend(other.reinstall);
        self.remove.extend(other.remove);
        self.already.extend(other.already);
        self.problems.extend(other.problems);
    }
}

impl fmt::Display for Transaction {
    /// One line for the operator.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.problems.is_empty() {
            return write!(f, "cannot be done: {}", self.problems.join("; "));
        }
        let mut parts = Vec::new();
        let mut list = |verb: &str, names: Vec<String>| {
            if !names.is_empty() {
                parts.push(format!("{verb} {}", names.join(" ")));
            }
        };
        let plain = |ids: &[RpmId]| ids.iter().map(|id| format!("{}-{}", id.name, evr::text(id))).collect();
        let replaced = |pairs: &[(String, RpmId)]| {
            pairs.iter().map(|(from, id)| format!("{} {from} to {}", id.name, evr::text(id))).collect::<Vec<_>>()
        };
        list("install", plain(&self.install));
        list("upgrade", replaced(&self.upgrade));
        list("downgrade", replaced(&self.downgrade));
        list("reinstall", plain(&self.reinstall));
        list("remove", plain(&self.remove));
        if parts.is_empty() { f.write_str("nothing to install") } else { f.write_str(&parts.join(", ")) }
    }
}

/// Reads the output of dnf 4 with `-v`, or of yum 3.
pub(super) fn from_lines(output: &str) -> Transaction {
    let mut found = Transaction::default();
    let mut old: Vec<RpmId> = Vec::new();
    for line in output.lines() {
        let Some((id, fate)) = package_line(line) else { continue };
        match fate {
            "installed" => found.install.push(id),
            "reinstalled" => found.reinstall.push(id),
            "an upgrade" | "an update" => found.upgrade.push((String::new(), id)),
            "a downgrade" => found.downgrade.push((String::new(), id)),
            "upgraded" | "updated" | "downgraded" => old.push(id),
            "obsoleted" | "erased" => found.remove.push(id),
            // "obsoleting": the line for its arrival is another one in dnf 4; yum 3 has this one only.
            "obsoleting" => found.install.push(id),
            _ => {}
        }
    }
    found.install.sort();
    found.install.dedup();
    for (from, id) in found.upgrade.iter_mut().chain(&mut found.downgrade) {
        let before = old.iter().find(|before| before.name == id.name && before.arch == id.arch);
        let before = before.or_else(|| old.iter().find(|before| before.name == id.name));
        *from = before.map(evr::text).unwrap_or_default();
    }
    found
}

/// `---> Package etcd.x86_64 0:3.4.23-1.el9 will be installed`
fn package_line(line: &str) -> Option<(RpmId, &str)> {
    let rest = line.trim_start().strip_prefix("---> Package ")?;
    let (name, rest) = rest.split_once(' ')?;
    let (version, fate) = rest.split_once(" will be ")?;
    let (name, arch) = name.rsplit_once('.')?;
    Some((evr::parse(name, version.trim(), arch)?, fate.trim()))
}

/// Reads the table of dnf 5: sections, and below each rows of name, architecture, version, repository, size.
pub(super) fn from_table(output: &str) -> Transaction {
    let mut found = Transaction::default();
    let mut section = "";
    for line in output.lines() {
        let indented = line.starts_with(' ');
        if !indented {
            section = line.strip_suffix(':').unwrap_or_default();
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["replacing", name, arch, version, ..] = words[..] {
            let replaced = found.upgrade.iter_mut().chain(&mut found.downgrade).rfind(|(_, id)| id.name == name);
            if let (Some((from, _)), Some(before)) = (replaced, evr::parse(name, version, arch)) {
                *from = evr::text(&before);
            }
            continue;
        }
        let [name, arch, version, _repository, _size, ..] = words[..] else { continue };
        let Some(id) = evr::parse(name, version, arch) else { continue };
        match section.split_whitespace().next() {
            Some("Installing") => found.install.push(id),
            Some("Upgrading") => found.upgrade.push((String::new(), id)),
            Some("Downgrading") => found.downgrade.push((String::new(), id)),
            Some("Reinstalling") => found.reinstall.push(id),
            Some("Removing") => found.remove.push(id),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(ids: &[RpmId]) -> Vec<String> {
        ids.iter().map(RpmId::to_string).collect()
    }

    #[test]
    fn dnf_4_says_one_line_per_package() {
        let output = "\
repo: using cache for: sunshine-installer
--> Starting dependency resolution
---> Package alpha.noarch 1.0-1.el9 will be upgraded
---> Package alpha.noarch 2.0-1.el9 will be an upgrade
---> Package etcd.x86_64 1:3.4.23-1.el9 will be installed
---> Package gamma-with-a-really-long-package-name-that-must-wrap.noarch 10.20.30.git1234567890abcdef-0.7.rc1.el9 will be installed
---> Package beta.noarch 1.2-1.el9 will be reinstalled
---> Package delta.noarch 3-1 will be a downgrade
---> Package delta.noarch 4-1 will be downgraded
--> Finished dependency resolution
Dependencies resolved.
";
        let found = from_lines(output);
        assert_eq!(
            shown(&found.install),
            [
                "etcd-1:3.4.23-1.el9.x86_64",
                "gamma-with-a-really-long-package-name-that-must-wrap-10.20.30.git1234567890abcdef-0.7.rc1.el9.noarch"
            ]
        );
        assert_eq!(found.upgrade[0].0, "1.0-1.el9");
        assert_eq!(found.upgrade[0].1.to_string(), "alpha-2.0-1.el9.noarch");
        assert_eq!(
            (found.downgrade[0].0.as_str(), found.downgrade[0].1.to_string().as_str()),
            ("4-1", "delta-3-1.noarch")
        );
        assert_eq!(shown(&found.reinstall), ["beta-1.2-1.el9.noarch"]);
        assert_eq!(found.changed().count(), 5);
    }

    #[test]
    fn yum_3_says_the_same_with_its_own_words() {
        let output = "\
Resolving Dependencies
--> Running transaction check
---> Package etcd.x86_64 0:3.2.18-1.el7 will be updated
---> Package etcd.x86_64 0:3.3.11-2.el7.centos will be an update
---> Package runc.x86_64 0:1.0.0-69 will be obsoleted
---> Package containerd.io.x86_64 0:1.6.33-3.1.el7 will be obsoleting
--> Finished Dependency Resolution
";
        let found = from_lines(output);
        assert_eq!(
            found.upgrade,
            [("3.2.18-1.el7".to_owned(), evr::parse("etcd", "3.3.11-2.el7.centos", "x86_64").unwrap())]
        );
        assert_eq!(shown(&found.remove), ["runc-1.0.0-69.x86_64"]);
        assert_eq!(shown(&found.install), ["containerd.io-1.6.33-3.1.el7.x86_64"]);
    }

    #[test]
    fn dnf_5_prints_a_table() {
        let output = "\
Updating and loading repositories:
Repositories loaded.
Package    Arch   Version      Repository            Size
Installing:
 etcd      x86_64 3.5.16-1.el9 sunshine-installer 55.8 MiB
Installing dependencies:
 beta      noarch 1:1.2-1      sunshine-installer  1.0 KiB
Upgrading:
 alpha     noarch 2.0-1.el9    sunshine-installer  1.0 KiB
   replacing alpha noarch 1.0-1.el9 @System        1.0 KiB

Transaction Summary:
 Installing:         2 packages
 Upgrading:          1 package
 Replacing:          1 package

Operation aborted by the user.
";
        let found = from_table(output);
        assert_eq!(shown(&found.install), ["etcd-3.5.16-1.el9.x86_64", "beta-1:1.2-1.noarch"]);
        assert_eq!(found.upgrade.len(), 1);
        assert_eq!(found.upgrade[0].0, "1.0-1.el9");
    }

    #[test]
    fn other_output_says_nothing() {
        for output in ["", "Nothing to do.\nComplete!\n", "---> Package broken", "---> Package x.y z will be installed"]
        {
            assert!(from_lines(output).is_empty(), "{output}");
            assert!(from_table(output).is_empty(), "{output}");
        }
    }
}
