//! What is asked for, checked before anything is fetched.

use camino::Utf8PathBuf;

use super::args::CollectArgs;
use super::distro::Distro;
use super::lock::Lock;
use super::problem::Problem;
use super::resolve::Dnf;
use crate::build::{self, Failure, read_text};
use crate::find;

/// A request that makes sense.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) work: Utf8PathBuf,
    /// What is fetched, where a lock says so.
    pub(super) locked: Option<Lock>,
    /// Needed where none does.
    pub(super) dnf: Option<Dnf>,
    /// The deployer's architecture, in the words of images and of rpm.
    pub(super) image_architecture: &'static str,
    pub(super) rpm_architecture: &'static str,
    /// File names of the packages that are given.
    pub(super) given: Vec<String>,
    /// The repository files of each distribution.
    pub(super) repositories: Vec<(Distro, Vec<String>)>,
}

impl Plan {
    /// Reads what will be needed at the end too, so that a wrong name is not found after an hour of downloads.
    pub(super) fn check(args: &CollectArgs) -> Result<Self, Failure> {
        distributions_differ(&args.distros)?;
        output_has_a_folder(args)?;
        let inputs = build::gather(&args.build)?;
        let image_architecture = inputs.architecture()?;
        inputs.image_names().map_err(Failure::Problems)?;
        let given = find::rpms(&args.build.rpms)?.rpms;
        let given = given.iter().filter_map(|(_, path)| path.file_name().map(str::to_owned)).collect();
        crate::closed::Systems::read(&args.build.assume_provided)?;
        args.build.image_list.as_deref().map(build::listed).transpose()?;
        let files =
            args.build.manifests.iter().chain(&args.build.addons).chain(&args.build.files).map(|(_, path)| path);
        for path in files.chain(&args.build.keys).chain(&args.build.conf).chain(&args.build.install_conf) {
            fs_err::File::open(path).map_err(|source| payload::BundleError::Io {
                action: "read",
                path: path.clone(),
                source,
            })?;
        }
        let repositories = args.distros.iter().map(|distro| Ok((distro.clone(), repository_files(args, distro)?)));
        let repositories = repositories.collect::<Result<_, Failure>>()?;
        let rpm_architecture = match image_architecture {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            other => other,
        };
        let locked = args.lock.as_deref().map(Lock::read).transpose()?.flatten();
        if let (Some(locked), Some(path)) = (&locked, &args.lock) {
            locked.must_be_for(args, rpm_architecture, path)?;
        }
        let dnf = if locked.is_some() { None } else { Some(Dnf::find()?) };
        let beside = || Utf8PathBuf::from(format!("{}.work", args.build.output));
        let work = args.work.clone().unwrap_or_else(beside);
        Ok(Self { work, locked, dnf, image_architecture, rpm_architecture, given, repositories })
    }
}

/// The packages of several distributions are told apart by their hosts' platform.
fn distributions_differ(distros: &[Distro]) -> Result<(), Problem> {
    for (at, distro) in distros.iter().enumerate() {
        let platform = distro.platform();
        if platform.is_none() && distros.len() > 1 {
            let text =
                format!("hosts of {distro} have no PLATFORM_ID by which they would find their packages among others");
            return Err(Problem::input(text, "make a bundle of its own for it"));
        }
        if let Some(other) = distros[..at].iter().find(|other| other.platform() == platform) {
            return Err(Problem::input(
                format!("{other} and {distro} are for the same hosts"),
                "name one of them: their packages are compatible",
            ));
        }
    }
    Ok(())
}

fn output_has_a_folder(args: &CollectArgs) -> Result<(), Problem> {
    let beside = [Some(&args.build.output), args.lock.as_ref()];
    for path in beside.into_iter().flatten() {
        let folder = path.parent().filter(|folder| !folder.as_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) || path.is_dir() {
            return Err(Problem::input(
                format!("{path} cannot be written: it is a folder, or its folder is not there"),
                "correct the path",
            ));
        }
    }
    Ok(())
}

/// The texts of a distribution's repository files: those that were named, or else what is built in.
fn repository_files(args: &CollectArgs, distro: &Distro) -> Result<Vec<String>, Failure> {
    if let Some(other) =
        args.repos.iter().filter_map(|repo| repo.distro.as_ref()).find(|named| !args.distros.contains(named))
    {
        return Err(Problem::input(
            format!("--repo {other}=… is for a distribution that --distro does not name"),
            "name it, or correct it",
        )
        .into());
    }
    if args.repos.is_empty() {
        return Ok(vec![distro.repositories(&args.kubernetes)]);
    }
    let of_this = args.repos.iter().filter(|repo| repo.distro.as_ref().is_none_or(|of| of == distro));
    let texts: Vec<String> = of_this.map(|repo| repository_file(&repo.path)).collect::<Result<_, _>>()?;
    if texts.is_empty() {
        return Err(Problem::input(format!("no --repo is for {distro}"), format!("add --repo {distro}=FILE")).into());
    }
    Ok(texts)
}

fn repository_file(path: &camino::Utf8Path) -> Result<String, Failure> {
    let text = read_text(path)?;
    let lines = || text.lines().map(str::trim);
    let has = |key: &str| lines().any(|line| line.split('=').next().is_some_and(|name| name.trim() == key));
    let located = ["baseurl", "metalink", "mirrorlist"].into_iter().any(has);
    if !lines().any(|line| line.starts_with('[') && line.ends_with(']')) || !located {
        let help = "it has a [section] with a baseurl, metalink or mirrorlist, as files in /etc/yum.repos.d have";
        return Err(Problem::input(format!("{path} is no repository file"), help).into());
    }
    Ok(text)
}
