//! `build`: read and check the inputs, write the bundle, say what is in it.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use payload::yum::{self, Assumed, Unmet};
use payload::{BundleError, Inputs, Source, VerifyKey};

use crate::cli::BuildArgs;
use crate::{find, report};

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Each of these is in the way.
    #[error("{} problems", .0.len())]
    Problems(Vec<BundleError>),
    /// `--require-closed`.
    #[error("the set of packages is not closed")]
    NotClosed(Vec<Unmet>),
}

impl From<BundleError> for Failure {
    fn from(error: BundleError) -> Self {
        Self::Problems(vec![error])
    }
}

impl Failure {
    /// 1 when the machine failed, 3 when an input bundle is damaged, 2 when an input is wrong.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Problems(errors) if errors.iter().any(BundleError::is_io) => 1,
            Self::Problems(errors) if errors.iter().any(BundleError::is_damage) => 3,
            Self::Problems(_) | Self::NotClosed(_) => 2,
        }
    }
}

/// Builds the bundle that the arguments describe; the summary goes to `out`.
pub(crate) fn run(args: &BuildArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let mut inputs = gather(args)?;
    inputs.rpms = find::rpms(&args.rpms)?.into_iter().map(Source::File).collect();
    let assumed = match &args.assume_provided {
        Some(path) => Assumed::parse(&read_text(path)?),
        None => Assumed::default(),
    };
    let bar = bar(args, total(&inputs.rpms));
    let assembled = payload::assemble(inputs, &mut |done| bar.inc(done)).map_err(Failure::Problems)?;
    let unmet = yum::unmet(&assembled.rpms, &assumed);
    if args.require_closed && !unmet.is_empty() {
        bar.finish_and_clear();
        return Err(Failure::NotClosed(unmet));
    }
    let checked = bar.position();
    let written = payload::write(&assembled.recipe, &args.output, &mut |done| bar.set_position(checked + done))?;
    bar.finish_and_clear();
    if args.quiet {
        return Ok(());
    }
    let report = report::Report { args, written: &written, same: &assembled.same, unmet: &unmet };
    report.print(out).map_err(|source| BundleError::Io { action: "write", path: "standard output".into(), source })?;
    Ok(())
}

fn gather(args: &BuildArgs) -> Result<Inputs, BundleError> {
    let mut inputs = Inputs::new(&args.product_version, Source::File(args.deployer.clone()));
    inputs.packing = args.metadata.into();
    inputs.pinned_key = args.pin_key.as_deref().map(VerifyKey::read).transpose()?.map(|key| key.to_base64());
    args.images.iter().for_each(|path| inputs.image(path));
    args.manifests.iter().for_each(|(name, path)| inputs.network(name, path));
    args.addons.iter().for_each(|(name, path)| inputs.addon(name, path));
    args.keys.iter().for_each(|path| inputs.key(path));
    args.files.iter().for_each(|(name, path)| inputs.file(name, path));
    args.conf.iter().for_each(|path| inputs.conf(path));
    args.install_conf.iter().for_each(|path| inputs.install_conf(path));
    Ok(inputs)
}

fn read_text(path: &camino::Utf8Path) -> Result<String, BundleError> {
    fs_err::read_to_string(path).map_err(|source| BundleError::Io { action: "read", path: path.to_owned(), source })
}

/// Bytes of work: every package is read once to be checked and once to be packed.
fn total(rpms: &[Source]) -> u64 {
    let size = |source: &Source| match source {
        Source::File(path) => fs_err::metadata(path).map_or(0, |m| m.len()),
        _ => 0,
    };
    rpms.iter().map(size).sum::<u64>() * 2
}

fn bar(args: &BuildArgs, total: u64) -> ProgressBar {
    if args.quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
