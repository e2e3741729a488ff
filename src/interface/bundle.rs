//! The bundle's own commands: `bundle info|list|images|verify|extract|repack|split|sign|sbom`. They work on the running program's
//! own bundle, or on the one that is named. A command and a console flow in, text or JSON flows out.

use std::io::{self, Write};

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand};
use payload::{Bundle, BundleError, Changes, Member, Platform, SignKey, VerifyKey};

use super::bundle_text as text;

/// What to do with a bundle.
#[derive(Clone, Debug, Subcommand)]
pub enum BundleCommand {
    /// Say what the bundle is: version, parts, where its archive begins, signature.
    Info(InfoArgs),
    /// List the members.
    List(ListArgs),
    /// List the container images: bytes, digest, name.
    Images(ListArgs),
    /// Check every byte, and the signature where a key is pinned or given.
    Verify(VerifyArgs),
    /// Unpack into a folder that does all that the bundle does.
    Extract(ExtractArgs),
    /// Write a changed bundle: members added, dropped or replaced.
    Repack(RepackArgs),
    /// Write it in parts, for media that hold no larger file, with a script that joins them.
    ///
    /// The bundle is checked first. Parts of an earlier split in that folder are replaced. On the other side, copy all parts and NAME.join.sh to one folder and run
    /// `sh NAME.join.sh`: it names parts that are missing or damaged, and makes the bundle of good ones.
    Split(SplitArgs),
    /// Sign with a minisign key.
    Sign(SignArgs),
    /// Print packages, images and files as a CycloneDX bill of materials.
    Sbom(ListArgs),
}

/// Which bundle.
#[derive(Clone, Debug, Args)]
pub struct Which {
    /// The bundle, or a folder that one was extracted to [default: this program's own]
    #[arg(value_name = "FILE|DIR", conflicts_with = "bundle")]
    pub file: Option<Utf8PathBuf>,
    /// The same, as an option
    #[arg(long, value_name = "FILE|DIR")]
    pub bundle: Option<Utf8PathBuf>,
}

impl Which {
    fn path(&self) -> Option<&Utf8Path> {
        self.file.as_deref().or(self.bundle.as_deref())
    }
}

/// `bundle info`.
#[derive(Clone, Debug, Args)]
pub struct InfoArgs {
    /// Which bundle.
    #[command(flatten)]
    pub which: Which,
}

/// `bundle list`, `bundle images`, `bundle sbom`.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Which bundle.
    #[command(flatten)]
    pub which: Which,
}

/// `bundle verify`.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// Which bundle.
    #[command(flatten)]
    pub which: Which,
    /// The signature must be this minisign public key's (a file, or its base64).
    #[arg(long, value_name = "KEY")]
    pub pubkey: Option<String>,
}

/// `bundle extract`.
#[derive(Clone, Debug, Args)]
pub struct ExtractArgs {
    /// The bundle [default: this program's own], then the folder; it must be empty or not exist, except with --only
    #[arg(value_name = "[FILE] DIR", required = true, num_args = 1..=2)]
    pub paths: Vec<Utf8PathBuf>,
    /// Only these members: by member name, file name, or package name.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub only: Vec<String>,
    /// The bundle, as an option
    #[arg(long, value_name = "FILE|DIR")]
    pub bundle: Option<Utf8PathBuf>,
}

/// `bundle repack`.
#[derive(Clone, Debug, Args)]
pub struct RepackArgs {
    /// Packages (.rpm) and container images to add: a .tar, .tar.gz, .tgz or .tar.zst, or the folder of an OCI image layout.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub add: Vec<Utf8PathBuf>,
    /// The packages of --add are for hosts of this platform only, such as el9: PLATFORM_ID in their /etc/os-release.
    #[arg(long, value_name = "PLATFORM", requires = "add")]
    pub platform: Option<Platform>,
    /// Members to leave out: by member name, file name, package name, or an image's name.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub drop: Vec<String>,
    /// A network's manifest to add or replace.
    #[arg(long, value_name = "NAME=FILE", num_args = 1.., value_parser = name_and_file)]
    pub manifest: Vec<(String, Utf8PathBuf)>,
    /// An addon's manifest to add or replace.
    #[arg(long, value_name = "NAME=FILE", num_args = 1.., value_parser = name_and_file)]
    pub addon: Vec<(String, Utf8PathBuf)>,
    /// The new conf.ini.
    // The global option of the same name says which conf.ini to deploy from; this one goes into the bundle.
    #[arg(long = "conf", id = "repack-conf", value_name = "FILE")]
    pub conf: Option<Utf8PathBuf>,
    /// The new install.ini.
    #[arg(long = "install-conf", id = "repack-install-conf", value_name = "FILE")]
    pub install_conf: Option<Utf8PathBuf>,
    /// The version that the new bundle states.
    #[arg(long, value_name = "X")]
    pub product_version: Option<String>,
    /// Pin another minisign public key, or `none`. The new bundle has no signature until it is signed.
    #[arg(long, value_name = "KEY|none")]
    pub pin_key: Option<String>,
    /// The bundle to write.
    #[arg(short, long, value_name = "NEW")]
    pub output: Utf8PathBuf,
    /// Which bundle.
    #[command(flatten)]
    pub which: Which,
}

/// `bundle split`.
#[derive(Clone, Debug, Args)]
pub struct SplitArgs {
    /// Every part is smaller than this: bytes, or with K, M or G behind the number (4G fits FAT32).
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub size: u64,
    /// The folder to write to [default: the current one]
    #[arg(short, long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    pub output: Utf8PathBuf,
    /// Which bundle.
    #[command(flatten)]
    pub which: Which,
}

/// `bundle sign`.
#[derive(Clone, Debug, Args)]
pub struct SignArgs {
    /// The minisign secret key.
    #[arg(long, value_name = "FILE")]
    pub key: Utf8PathBuf,
    /// A file whose first line is the key's password; without it a locked key's password is asked for.
    #[arg(long, value_name = "FILE")]
    pub key_password_file: Option<Utf8PathBuf>,
    /// A comment that is signed too.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub comment: String,
    /// Which bundle.
    #[command(flatten)]
    pub which: Which,
}

/// Where the commands write, and whom they ask.
pub struct Console<'a> {
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// `--json`.
    pub json: bool,
    /// Hears bytes done and bytes in all.
    pub progress: &'a mut dyn FnMut(u64, u64),
    /// Asks for a password, with this text.
    pub ask: &'a mut dyn FnMut(&str) -> io::Result<String>,
}

impl std::fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("json", &self.json).finish_non_exhaustive()
    }
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum BundleCommandError {
    /// The bundle, or a file that is to go into one.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Several files cannot be packed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<BundleError>),
    /// This program was never packed.
    #[error("this program is a bare deployer: there is no bundle in it")]
    Bare,
    /// A bundle named by place and by option.
    #[error("the bundle is named twice: as FILE and with --bundle")]
    TwoBundles,
    /// A file that `--add` has no place for.
    #[error(
        "cannot add {0}: it is neither a package (.rpm) nor container images (.tar, .tar.gz, .tar.zst, an OCI image layout)"
    )]
    WhatIsIt(Utf8PathBuf),
    /// Standard output is closed.
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
}

impl BundleCommandError {
    /// The process's exit code: 1 the machine failed, 2 the request is wrong, 3 the bundle is damaged.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let errors: &[BundleError] = match self {
            Self::Bundle(error) => std::slice::from_ref(error),
            Self::Several(errors) => errors,
            Self::Output(_) => return 1,
            Self::Bare | Self::TwoBundles | Self::WhatIsIt(_) => return 2,
        };
        if errors.iter().any(BundleError::is_damage) {
            3
        } else if errors.iter().any(BundleError::is_io) {
            1
        } else {
            2
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Bundle(error) => error.help(),
            Self::Several(errors) => errors.first().and_then(BundleError::help),
            Self::Bare => Some("name a bundle: `bundle info FILE`, or build one with sunshine-bundler".into()),
            Self::WhatIsIt(_) => Some("--manifest NAME=FILE and --addon NAME=FILE take the other kinds".into()),
            Self::TwoBundles | Self::Output(_) => None,
        }
    }
}

type Done = Result<(), BundleCommandError>;

/// Runs the command.
pub fn run(command: &BundleCommand, console: &mut Console<'_>) -> Done {
    match command {
        BundleCommand::Info(args) => Ok(text::info(&open(args.which.path())?, console)?),
        BundleCommand::List(args) => Ok(text::list(&open(args.which.path())?, console)?),
        BundleCommand::Images(args) => Ok(text::images(&open(args.which.path())?.images()?, console)?),
        BundleCommand::Sbom(args) => {
            let bundle = open(args.which.path())?;
            Ok(text::sbom(&bundle, &bundle.images()?, console)?)
        }
        BundleCommand::Verify(args) => verify(args, console),
        BundleCommand::Extract(args) => extract(args, console),
        BundleCommand::Repack(args) => repack(args, console),
        BundleCommand::Split(args) => split(args, console),
        BundleCommand::Sign(args) => sign(args, console),
    }
}

fn open(path: Option<&Utf8Path>) -> Result<Bundle, BundleCommandError> {
    match path {
        Some(path) => Ok(Bundle::open(path)?),
        None => Bundle::open_self()?.ok_or(BundleCommandError::Bare),
    }
}

fn verify(args: &VerifyArgs, console: &mut Console<'_>) -> Done {
    let bundle = open(args.which.path())?;
    let key = args.pubkey.as_deref().map(VerifyKey::read).transpose()?;
    let total = bundle.verify_size();
    bundle.verify(&mut |done| (console.progress)(done, total))?;
    let comment = key.map(|key| bundle.check_signature(&key)).transpose()?;
    Ok(text::verified(&bundle, comment.as_deref(), console)?)
}

fn extract(args: &ExtractArgs, console: &mut Console<'_>) -> Done {
    let (file, dir) = match (args.paths.as_slice(), &args.bundle) {
        ([dir], bundle) => (bundle.as_deref(), dir),
        ([file, dir], None) => (Some(file.as_path()), dir),
        _ => return Err(BundleCommandError::TwoBundles),
    };
    let bundle = open(file)?;
    let mut chosen: Vec<&Member> = Vec::new();
    for word in &args.only {
        let before = chosen.len();
        chosen.extend(bundle.matching(word));
        if chosen.len() == before {
            return Err(bundle.no_member(word).into());
        }
    }
    let only = (!args.only.is_empty()).then_some(chosen.as_slice());
    let total = match only {
        Some(members) => members.iter().map(|m| m.size).sum(),
        None => bundle.manifest().members_size() + bundle.manifest().deployer.size,
    };
    payload::extract(&bundle, dir, only, &mut |done| (console.progress)(done, total))?;
    Ok(text::extracted(&bundle, dir, only, console)?)
}

fn repack(args: &RepackArgs, console: &mut Console<'_>) -> Done {
    let bundle = open(args.which.path())?;
    let mut changes = Changes {
        networks: args.manifest.clone(),
        addons: args.addon.clone(),
        drop: args.drop.clone(),
        conf: args.conf.clone(),
        install_conf: args.install_conf.clone(),
        product_version: args.product_version.clone(),
        platform: args.platform.clone(),
        ..Changes::default()
    };
    changes.pinned_key = match args.pin_key.as_deref() {
        None => None,
        Some("none") => Some(None),
        Some(key) => Some(Some(VerifyKey::read(key)?.to_base64())),
    };
    for path in &args.add {
        let name = path.file_name().unwrap_or_default();
        let is_image = [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|end| name.ends_with(end));
        match path.extension() {
            Some("rpm") => changes.rpms.push(path.clone()),
            _ if is_image || path.join("oci-layout").is_file() => changes.images.push(path.clone()),
            _ => return Err(BundleCommandError::WhatIsIt(path.clone())),
        }
    }
    let total = bundle.manifest().members_size() * 2;
    let mut checked = 0;
    let assembled = payload::repack(&bundle, &changes, &args.output, &mut |size| {
        checked += size;
        (console.progress)(checked, total);
    });
    let assembled = assembled.map_err(BundleCommandError::Several)?;
    let written = payload::write(&assembled.recipe, &args.output, &mut |done| {
        (console.progress)(checked + done, total);
    })?;
    Ok(text::repacked(&args.output, &written, console)?)
}

fn split(args: &SplitArgs, console: &mut Console<'_>) -> Done {
    let bundle = open(args.which.path())?;
    let checked = bundle.verify_size();
    let total = checked * 2;
    bundle.verify_bytes(&mut |done| (console.progress)(done, total))?;
    let parts =
        payload::split(&bundle, &args.output, args.size, &mut |done| (console.progress)(checked + done, total))?;
    Ok(text::split(&bundle, &parts, console)?)
}

fn sign(args: &SignArgs, console: &mut Console<'_>) -> Done {
    let bundle = open(args.which.path())?;
    let mut password = || match &args.key_password_file {
        Some(path) => first_line(path),
        None => (console.ask)(&format!("Password of {}: ", args.key)).map_err(|source| BundleError::Io {
            action: "ask for the password of",
            path: args.key.clone(),
            source,
        }),
    };
    let key = SignKey::read(&args.key, &mut password)?;
    let total = bundle.verify_size();
    // Nobody should put a name to bytes that are not those that were packed.
    bundle.verify_bytes(&mut |done| (console.progress)(done, total))?;
    let public = key.public()?;
    let signed = bundle.sign(&key, &args.comment)?;
    signed.check_signature(&public)?;
    Ok(text::signed(&signed, &public, console)?)
}

fn first_line(path: &Utf8Path) -> Result<String, BundleError> {
    let text = fs_err::read_to_string(path);
    let text = text.map_err(|source| BundleError::Io { action: "read", path: path.to_owned(), source })?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// A number of bytes, in units of 1024 where a letter says so.
fn bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let number: Option<u64> = digits.parse().ok();
    let size = number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or("it must be a number of bytes, such as 700M or 4G")?;
    if size < payload::SMALLEST_LIMIT { Err("parts are at least 1M".into()) } else { Ok(size) }
}

fn name_and_file(text: &str) -> Result<(String, Utf8PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.to_owned(), file.into())),
        _ => Err("it must be NAME=FILE".into()),
    }
}
