//! `build`: read and check the inputs, write the bundle, say what is in it.

use std::io::{IsTerminal, Write};

use camino::Utf8PathBuf;
use indicatif::{ProgressBar, ProgressStyle};
use payload::{BundleError, Inputs, Platform, Reference, Source, VerifyKey};

use crate::cli::BuildArgs;
use crate::closed::{self, NotClosed, Systems};
use crate::collect::Problem;
use crate::pull::{self, Access, NotPulled, Wanted};
use crate::required::{self, Missing};
use crate::{etcd, find, report};

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Each of these is in the way.
    #[error("{} problems", .0.len())]
    Problems(Vec<BundleError>),
    /// `--pull`, or a name of `--image-list`.
    #[error("{} images could not be pulled", .0.len())]
    NotPulled(Vec<NotPulled>),
    /// `--require-images`.
    #[error("{} images are missing", .0.len())]
    ImagesMissing(Vec<Missing>),
    /// `--require-closed`.
    #[error("the set of packages is not closed")]
    NotClosed(Vec<NotClosed>),
    /// `collect`.
    #[error("{} problems", .0.len())]
    Collect(Vec<Problem>),
}

impl From<BundleError> for Failure {
    fn from(error: BundleError) -> Self {
        Self::Problems(vec![error])
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Collect(vec![problem])
    }
}

impl Failure {
    /// 1 when the machine failed, 3 when an input bundle is damaged, 2 when an input is wrong.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Problems(errors) if errors.iter().any(BundleError::is_io) => 1,
            Self::Problems(errors) if errors.iter().any(BundleError::is_damage) => 3,
            Self::NotPulled(failed) if failed.iter().any(|one| one.machine) => 1,
            Self::Collect(problems) if problems.iter().any(Problem::is_machine) => 1,
            Self::Collect(_) | Self::NotPulled(_) | Self::Problems(_) | Self::ImagesMissing(_) | Self::NotClosed(_) => {
                2
            }
        }
    }
}

/// Builds the bundle that the arguments describe; the summary goes to `out`.
pub(crate) fn run(args: &BuildArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let mut inputs = gather(args)?;
    let found = find::rpms(&args.rpms)?;
    let required = required::required(args, &found.rpms)?;
    pull_images(args, &mut inputs)?;
    let etcd = etcd::make(&mut inputs, &found.rpms).map_err(Failure::Problems)?;
    let etcd = etcd.or_else(|| required.etcd.as_ref().map(|image| without_etcd(image)));
    let systems = Systems::read(&args.assume_provided)?;
    let bar = bar(args.quiet, total(&found.rpms));
    found.rpms.into_iter().for_each(|(platform, path)| inputs.rpm(platform, Source::File(path)));
    let assembled = payload::assemble(inputs, &mut |done| bar.inc(done)).map_err(Failure::Problems)?;
    let not_closed = closed::not_closed(&assembled.rpms, &systems);
    if args.require_closed && !not_closed.is_empty() {
        bar.finish_and_clear();
        return Err(Failure::NotClosed(not_closed));
    }
    let missing = required.missing(&assembled.images);
    if args.require_images && !missing.is_empty() {
        bar.finish_and_clear();
        return Err(Failure::ImagesMissing(missing));
    }
    let checked = bar.position();
    let written = payload::write(&assembled.recipe, &args.output, &mut |done| bar.set_position(checked + done))?;
    bar.finish_and_clear();
    if args.quiet {
        return Ok(());
    }
    let report = report::Report {
        args,
        written: &written,
        same: &assembled.same,
        not_closed: &not_closed,
        missing: &missing,
        notes: &[found.notes, required.notes, etcd.into_iter().collect()].concat(),
    };
    report.print(out).map_err(|source| BundleError::Io { action: "write", path: "standard output".into(), source })?;
    Ok(())
}

/// A warning: hosts must have etcd already.
fn without_etcd(image: &str) -> String {
    format!("no package of etcd is in the bundle: give one, or the image {image}, of which one is made")
}

pub(crate) fn gather(args: &BuildArgs) -> Result<Inputs, BundleError> {
    let mut inputs = Inputs::new(&args.product_version, Source::File(deployer(args)?), &args.output);
    inputs.packing = args.metadata.into();
    inputs.pinned_key = args.pin_key.as_deref().map(VerifyKey::read).transpose()?.map(|key| key.to_base64());
    args.images.iter().for_each(|image| inputs.image(&image.path, image.name.clone()));
    args.manifests.iter().for_each(|(name, path)| inputs.network(name, path));
    args.addons.iter().for_each(|(name, path)| inputs.addon(name, path));
    args.keys.iter().for_each(|path| inputs.key(path));
    args.files.iter().for_each(|(name, path)| inputs.file(name, path));
    args.conf.iter().for_each(|path| inputs.conf(path));
    args.install_conf.iter().for_each(|path| inputs.install_conf(path));
    Ok(inputs)
}

/// The executable that was named, or the one beside this program.
fn deployer(args: &BuildArgs) -> Result<Utf8PathBuf, BundleError> {
    const NAME: &str = "sunshine-installer";
    if let Some(path) = &args.deployer {
        return Ok(path.clone());
    }
    let this = std::env::current_exe().ok().and_then(|path| Utf8PathBuf::from_path_buf(path).ok());
    let beside = this.map(|this| this.with_file_name(NAME)).filter(|path| path.exists());
    beside.ok_or_else(|| BundleError::Unfit {
        path: NAME.into(),
        what: "it does not lie beside this program: name it with --deployer FILE".into(),
    })
}

/// Images that are named, and those of the list that no file holds.
fn pull_images(args: &BuildArgs, inputs: &mut Inputs) -> Result<(), Failure> {
    let mut wanted = args.pull.clone();
    if let Some(path) = &args.image_list {
        let there = inputs.image_names().map_err(Failure::Problems)?;
        wanted.extend(listed(path)?.into_iter().filter(|name| !there.contains(name)));
    }
    wanted.sort();
    wanted.dedup();
    if wanted.is_empty() {
        return Ok(());
    }
    let (architecture, folder) = (inputs.architecture()?, inputs.scratch()?.join("pulled"));
    let as_named = |name: &Reference| Wanted { name: name.clone(), from: name.clone(), digest: None };
    let wanted: Vec<Wanted> = wanted.iter().map(as_named).collect();
    let mut tell = |name: &str| tell(args.quiet, &format!("pulling {name}"));
    pull::pull(&wanted, &Access::default(), architecture, &folder, &mut tell).map_err(Failure::NotPulled)?;
    inputs.image(&folder, None);
    Ok(())
}

/// A line about what is being done.
pub(crate) fn tell(quiet: bool, line: &str) {
    if !quiet {
        // Nothing can be done about a standard error that is closed.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

pub(crate) fn listed(path: &camino::Utf8Path) -> Result<Vec<Reference>, BundleError> {
    let text = read_text(path)?;
    Reference::list(&text).map_err(|e| BundleError::Unfit { path: path.to_owned(), what: e.to_string() })
}

pub(crate) fn read_text(path: &camino::Utf8Path) -> Result<String, BundleError> {
    fs_err::read_to_string(path).map_err(|source| BundleError::Io { action: "read", path: path.to_owned(), source })
}

/// Bytes of work: every package is read once to be checked and once to be packed.
fn total(rpms: &[(Option<Platform>, Utf8PathBuf)]) -> u64 {
    rpms.iter().map(|(_, path)| fs_err::metadata(path).map_or(0, |m| m.len())).sum::<u64>() * 2
}

pub(crate) fn bar(quiet: bool, total: u64) -> ProgressBar {
    if quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
