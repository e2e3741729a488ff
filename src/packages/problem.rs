//! Why a package manager refused: its own words, gathered, and told apart by what can be done about them.

/// What went wrong, as far as the output tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Another package manager is at work.
    Locked,
    /// Something arrived that is not what the metadata promises, or metadata that is not signed by the run's key.
    Damaged(String),
    /// It could not be fetched.
    Download(String),
    /// No solution: one text for each problem.
    Unsolvable(Vec<String>),
    /// Anything else.
    Other,
}

/// dnf and yum end with this status when `exit_on_lock` is set and somebody else holds the lock.
const LOCKED: i32 = 200;

/// Reads a failed run's status and output (standard output and error, in one text).
pub(super) fn verdict(status: i32, output: &str) -> Verdict {
    let line = |words: &[&str]| {
        let mut lines = output.lines().map(str::trim);
        lines.find(|line| words.iter().any(|word| line.contains(word))).map(str::to_owned)
    };
    let locked = [
        "Failed to obtain rpm transaction lock",
        "Failed to obtain the transaction lock",
        "can't create transaction lock",
    ];
    if status == LOCKED || line(&locked).is_some() {
        return Verdict::Locked;
    }
    let damaged = [
        "checksum doesn't match",
        "incorrect checksum",
        "does not match checksum",
        "does not match intended download",
        "Checksum error",
        "hecksum mismatch",
        "Bad GPG signature",
        "Bad PGP signature",
        "GPG signature verification error",
        "repomd.xml signature could not be verified",
        "repomd.xml GPG signature verification error",
    ];
    if let Some(line) = line(&damaged) {
        return Verdict::Damaged(line);
    }
    let download = [
        "Curl error",
        "Cannot download",
        "Error downloading packages",
        "Failed to download",
        "Could not resolve",
        "Couldn't connect",
        "Status code: ",
        "No more mirrors to try",
        "Failure when receiving data",
        "[Errno 14]",
        "[Errno 12]",
        "[Errno 256]",
        "Usable URL not found",
    ];
    if let Some(line) = line(&download) {
        return Verdict::Download(line);
    }
    let problems = problems(output);
    if problems.is_empty() { Verdict::Other } else { Verdict::Unsolvable(problems) }
}

/// The problems that a solver prints: dnf's `Problem:` with its list, yum's `Error: Package:` with what it requires; and what rpm has against
/// the transaction, which a package manager passes on below a heading.
fn problems(output: &str) -> Vec<String> {
    let mut problems: Vec<String> = Vec::new();
    let mut is_rpm_s = false;
    for line in output.lines() {
        let text = line.trim();
        let bare = text.strip_prefix("Error: ").unwrap_or(text);
        if RPM_S.iter().any(|heading| bare.eq_ignore_ascii_case(heading)) {
            is_rpm_s = true;
        } else if is_rpm_s && !text.is_empty() {
            problems.push(text.strip_prefix("- ").unwrap_or(text).to_owned());
        } else if is_rpm_s {
            is_rpm_s = false;
        } else if let Some((_, rest)) = bare.split_once(": ").filter(|(head, _)| is_problem_head(head)) {
            problems.push(rest.to_owned());
        } else if let Some(item) = text.strip_prefix("- ").filter(|_| line.starts_with(' ')) {
            append(&mut problems, item);
        } else if let Some(package) = text.strip_prefix("Error: Package: ") {
            problems.push(package.to_owned());
        } else if text.starts_with("Requires: ") || text.starts_with("Conflicts: ") {
            append(&mut problems, text);
        } else if let Some(name) = text.strip_prefix("No match for argument: ") {
            problems.push(format!("no repository has {name}"));
        } else if let Some(name) = text.strip_prefix("No package ").and_then(|rest| rest.strip_suffix(" available.")) {
            problems.push(format!("no repository has {name}"));
        } else if (bare.contains(" conflicts with ") && text.starts_with("Error: "))
            || (text.starts_with("Package ") && text.ends_with(" is not signed"))
        {
            problems.push(bare.to_owned());
        }
    }
    problems.dedup();
    problems
}

/// Headings of what rpm has against a transaction, in dnf 4, dnf 5 and yum 3: a line for each problem follows, up to an empty one.
const RPM_S: [&str; 5] = [
    "Transaction test error:",
    "Transaction check error:",
    "Rpm transaction failed.",
    "Transaction failed: Rpm transaction failed.",
    "ERROR with transaction check vs depsolve:",
];

/// `Problem` or `Problem 2`.
fn is_problem_head(head: &str) -> bool {
    head.strip_prefix("Problem").is_some_and(|number| number.chars().all(|c| c == ' ' || c.is_ascii_digit()))
}

fn append(problems: &mut Vec<String>, item: &str) {
    match problems.last_mut() {
        Some(problem) if !problem.contains(item) => {
            problem.push_str(", ");
            problem.push_str(item);
        }
        Some(_) => {}
        None => problems.push(item.to_owned()),
    }
}

/// The package that a line about damage names: `[MIRROR] FILE: Downloading successful, but …` or `Package "NAME" …`.
pub(super) fn damaged_package(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("[MIRROR] ").or_else(|| line.strip_prefix("Package \""))?;
    rest.split([':', '"']).next().filter(|name| !name.is_empty())
}

/// What a user can do about these problems.
pub(super) fn way_out(problems: &[String]) -> Option<String> {
    let mut ways: Vec<String> = problems.iter().filter_map(|problem| way_out_of(problem)).collect();
    ways.sort();
    ways.dedup();
    (!ways.is_empty()).then(|| ways.join("; "))
}

/// What a user can do about one of them.
#[must_use]
pub fn way_out_of(problem: &str) -> Option<String> {
    if let Some((_, package)) = problem.split_once(" conflicts with file from package ") {
        let name = name_of(package);
        return Some(format!(
            "a file of {name} on the host stands against it: remove {name} there first (`dnf remove {name}`) when nothing needs it, or put \
             packages into the bundle that agree with it"
        ));
    }
    if let Some((_, packages)) = problem.split_once(" conflicts between attempted installs of ") {
        return Some(format!(
            "{packages} cannot be on one host: put packages into the bundle that agree with each other"
        ));
    }
    if let Some((feature, package)) = problem.split_once(" is needed by ").filter(|_| problem.starts_with("rpmlib(")) {
        let name = name_of(package);
        let rebuild = if feature.starts_with("rpmlib(PayloadIs") {
            "rebuild it with rpmbuild --define '_binary_payload w9.gzdio', or "
        } else {
            ""
        };
        return Some(format!(
            "{name} was built for a newer rpm than the host's: {rebuild}put {name} of the host's own distribution into the bundle"
        ));
    }
    if let Some((_, rest)) = problem.split_once(" needs ").filter(|_| problem.contains(" filesystem")) {
        let mount = rest.split_once(" on the ").map_or("that", |(_, mount)| mount.trim_end_matches(" filesystem"));
        return Some(format!("free space on {mount}"));
    }
    if problem.ends_with(super::signatures::WANTS_SIGNATURES)
        || problem.contains(" does not verify: no signature")
        || problem.ends_with(" is not signed")
    {
        return Some(
            "sign the packages (rpmsign --addsign FILE) and build the bundle of them with the public key (sunshine-bundler build --rpms DIR \
             --gpg-key KEY), or have the host's rpm verify digests alone (%_pkgverify_level digest in /etc/rpm/macros)"
                .to_owned(),
        );
    }
    if let Some(name) = conflicting(problem) {
        let names = if problem.contains("podman") && name != "podman" { format!("podman {name}") } else { name };
        return Some(format!(
            "{names} on the host stands against it: remove it there first (`dnf remove {names}`) when nothing needs it, \
             or install the packages that agree with it"
        ));
    }
    missing(problem)
        .map(|missing| format!("put the package that provides {missing} into the bundle, or give it with -f"))
}

/// The name of the package behind `conflicts with X provided by NEVRA`, or yum's `A conflicts with B`.
fn conflicting(problem: &str) -> Option<String> {
    let (_, rest) = problem.split_once(" conflicts with ")?;
    let package = rest.split_once("provided by ").map_or(rest, |(_, provider)| provider);
    Some(name_of(package).to_owned())
}

/// The name in a package's `NAME-VERSION-RELEASE`, with whatever behind it.
fn name_of(package: &str) -> &str {
    let package = package.split([' ', ',']).next().unwrap_or(package);
    let without_release = package.rsplit_once('-').map_or(package, |(name, _)| name);
    without_release.rsplit_once('-').map_or(without_release, |(name, _)| name)
}

/// What `nothing provides X needed by Y`, or yum's `Requires: X`, names.
fn missing(problem: &str) -> Option<&str> {
    if let Some((_, rest)) = problem.split_once("nothing provides ") {
        return Some(rest.split_once(" needed by ").map_or(rest, |(name, _)| name));
    }
    if let Some((_, rest)) = problem.split_once("Requires: ") {
        return rest.split(", ").next();
    }
    problem.strip_prefix("no repository has ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dnf_s_conflict_is_told_with_the_way_out() {
        let output = "\
--> Starting dependency resolution
--> Finished dependency resolution
Error: 
 Problem: problem with installed package podman-2:4.9.4-1.el9.x86_64
  - package podman-2:4.9.4-1.el9.x86_64 requires runc >= 1.0.0, but none of the providers can be installed
  - package containerd.io-1.6.33-3.1.el9.x86_64 conflicts with runc provided by runc-4:1.1.12-2.el9.x86_64
  - conflicting requests
(try to add '--allowerasing' to command line to replace conflicting packages)
";
        let Verdict::Unsolvable(problems) = verdict(1, output) else { panic!() };
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("problem with installed package podman"), "{problems:?}");
        let way = way_out(&problems).unwrap();
        assert!(way.contains("dnf remove podman runc"), "{way}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let output =
            "Error: \n Problem: conflicting requests\n  - nothing provides nothere >= 3 needed by needs-1.0-1.noarch\n";
        let Verdict::Unsolvable(problems) = verdict(1, output) else { panic!() };
        assert_eq!(problems, ["conflicting requests, nothing provides nothere >= 3 needed by needs-1.0-1.noarch"]);
        assert!(way_out(&problems).unwrap().contains("nothere >= 3"));
        let yum = "Error: Package: needs-1.0-1.noarch (sunshine-installer)\n           Requires: nothere >= 3\n";
        let Verdict::Unsolvable(problems) = verdict(1, yum) else { panic!() };
        assert_eq!(problems, ["needs-1.0-1.noarch (sunshine-installer), Requires: nothere >= 3"]);
        let none = "No match for argument: nothing\nError: Unable to find a match: nothing\n";
        assert_eq!(verdict(1, none), Verdict::Unsolvable(vec!["no repository has nothing".into()]));
    }

    /// What dnf 4.14 and yum 3.4 print when rpm refuses, once everything is downloaded.
    #[test]
    fn what_rpm_has_against_a_transaction_is_told_with_the_way_out() {
        let told = |output: &str| {
            let Verdict::Unsolvable(problems) = verdict(1, output) else { panic!("{output}") };
            let way = way_out(&problems).unwrap();
            (problems, way)
        };
        let between =
            "file /opt/shared/file conflicts between attempted installs of alpha-1-1.noarch and beta-1-1.noarch";
        let dnf = format!("Running transaction test\nError: Transaction test error:\n  {between}\n\n");
        let (problems, way) = told(&dnf);
        assert_eq!(problems, [between]);
        assert!(way.starts_with("alpha-1-1.noarch and beta-1-1.noarch cannot be on one host"), "{way}");
        let (problems, way) = told(
            "\nTransaction check error:\n  file /usr/bin/crictl from install of cri-tools-1-1 conflicts with file from package \
             old-crictl-0.9-2.el7.x86_64\n\nError Summary\n-------------\n",
        );
        assert_eq!(problems.len(), 1);
        assert!(way.contains("dnf remove old-crictl`"), "{way}");
        let (_, way) = told(
            "ERROR with transaction check vs depsolve:\nrpmlib(PayloadIsZstd) <= 5.4.18-1 is needed by etcd-3.4.23-1.el9.x86_64\n",
        );
        assert!(way.contains("etcd was built for a newer rpm") && way.contains("w9.gzdio"), "{way}");
        let (problems, way) = told(
            "Error: Transaction test error:\n  installing package big-1-1.noarch needs 81MB more space on the /opt filesystem\n\n\
             Error Summary\n-------------\nDisk Requirements:\n   At least 81MB more space needed on the /opt filesystem.\n",
        );
        assert_eq!((problems.len(), way.as_str()), (1, "free space on /opt"));
        let (_, way) = told("Package delta-1-1.noarch.rpm is not signed\nError: GPG check FAILED\n");
        assert!(way.contains("rpmsign --addsign"), "{way}");
    }

    #[test]
    fn damage_is_not_a_broken_download() {
        let http = "\
[MIRROR] a.rpm: Downloading successful, but checksum doesn't match. Calculated: 50(sha256)  Expected: b7(sha256) 
[FAILED] a.rpm: No more mirrors to try - All mirrors were already tried without success
Error: Error downloading packages:
  a: Cannot download, all mirrors were already tried without success
";
        assert!(matches!(verdict(1, http), Verdict::Damaged(line) if line.contains("a.rpm")));
        let file = "Package \"a\" from local repository \"sunshine-installer\" has incorrect checksum\n";
        assert!(matches!(verdict(1, file), Verdict::Damaged(_)));
    }

    #[test]
    fn a_broken_download_is_not_a_missing_package() {
        let output = "\
Errors during downloading metadata for repository 'sunshine-installer':
  - Curl error (7): Couldn't connect to server for http://127.0.0.1:8099/x/repodata/repomd.xml
Ignoring repositories: sunshine-installer
Error: Unable to find a match: etcd
";
        assert!(matches!(verdict(1, output), Verdict::Download(line) if line.contains("Curl error (7)")));
    }

    #[test]
    fn a_lock_is_known_by_status_or_words() {
        assert_eq!(verdict(200, ""), Verdict::Locked);
        assert_eq!(verdict(1, "error: can't create transaction lock on /var/lib/rpm/.rpm.lock"), Verdict::Locked);
        assert_eq!(verdict(1, "Segmentation fault"), Verdict::Other);
    }
}
