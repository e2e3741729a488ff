//! The command line.

use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand, ValueEnum};
use payload::yum::Packing;
use payload::{Platform, Reference};

use crate::collect::CollectArgs;

/// Packs a deployer, packages and settings into one bundle.
#[derive(Debug, Parser)]
#[command(name = "sunshine-bundler", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build a bundle.
    ///
    /// Exit codes: 0 built; 1 the disk or another part of the machine failed; 2 an option or an input is wrong.
    Build(Box<BuildArgs>),
    /// Collect packages and images from the internet, and build a bundle of them.
    ///
    /// For one version of Kubernetes and the distributions of the hosts: packages with all that they require (by dnf, as if nothing
    /// was installed), the images that the kubeadm among them lists and those that --manifest and --addon name. What `build` takes
    /// goes into the bundle too.
    ///
    /// Exit codes: 0 built; 1 this machine, the network or a repository failed; 2 an option or an input is wrong.
    Collect(Box<CollectArgs>),
    /// Make a yum repository of a folder: write its repodata/, as createrepo_c does.
    ///
    /// Packages' payloads are not checked here; `build` checks them.
    Metadata(MetadataArgs),
}

/// Which folder.
#[derive(Debug, Args)]
pub(crate) struct MetadataArgs {
    /// The folder; the packages lie in it, not below it.
    pub(crate) dir: Utf8PathBuf,
    /// How the metadata is packed; CentOS 7 reads gzip only.
    #[arg(long, value_enum, default_value_t = Metadata::Gzip)]
    pub(crate) packing: Metadata,
}

/// What goes into the bundle.
#[derive(Clone, Debug, Args)]
pub(crate) struct BuildArgs {
    /// The sunshine-installer executable, stripped already; without it, that beside this program.
    #[arg(long, value_name = "FILE")]
    pub(crate) deployer: Option<Utf8PathBuf>,
    /// Packages, and folders that are searched for *.rpm.
    ///
    /// What lies in a folder directly below DIR that is named like a platform (el8, el9, f41, suse15) is for hosts of that platform
    /// only, all else is for all hosts. A host's platform is PLATFORM_ID in its /etc/os-release.
    #[arg(long, value_name = "DIR|FILE", num_args = 1..)]
    pub(crate) rpms: Vec<Utf8PathBuf>,
    /// Container images: what `docker save` writes, or OCI image layouts, as a tar (plain, gzip, zstd) or a folder.
    ///
    /// With NAME in front, that is the name of the only image in it; else each has the names that are in the file.
    #[arg(long = "image", value_name = "[NAME=]FILE|DIR", num_args = 1.., value_parser = image)]
    pub(crate) images: Vec<ImageArg>,
    /// Images to pull from their registries; logins are those of Docker's configuration file.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub(crate) pull: Vec<Reference>,
    /// A list of images that must be in the bundle: one name a line, # comments. Those that no --image holds are pulled.
    #[arg(long, value_name = "FILE")]
    pub(crate) image_list: Option<Utf8PathBuf>,
    /// Refuse a bundle that lacks an image which a manifest, an addon or its own kubeadm names; else that is a warning.
    #[arg(long)]
    pub(crate) require_images: bool,
    /// Network manifests, by the name that --k8s-cni-module takes.
    #[arg(long = "manifest", value_name = "NAME=FILE", num_args = 1.., value_parser = name_and_file)]
    pub(crate) manifests: Vec<(String, Utf8PathBuf)>,
    /// Addon manifests, by name.
    #[arg(long = "addon", value_name = "NAME=FILE", num_args = 1.., value_parser = name_and_file)]
    pub(crate) addons: Vec<(String, Utf8PathBuf)>,
    /// Public keys that the packages are signed with.
    #[arg(long = "gpg-key", value_name = "FILE", num_args = 1..)]
    pub(crate) keys: Vec<Utf8PathBuf>,
    /// Other files, by their name in the bundle.
    #[arg(long = "file", value_name = "NAME=FILE", num_args = 1.., value_parser = name_and_file)]
    pub(crate) files: Vec<(String, Utf8PathBuf)>,
    /// The conf.ini to ship.
    #[arg(long, value_name = "FILE")]
    pub(crate) conf: Option<Utf8PathBuf>,
    /// The install.ini to ship.
    #[arg(long, value_name = "FILE")]
    pub(crate) install_conf: Option<Utf8PathBuf>,
    /// The version that the bundle states.
    #[arg(long, value_name = "X", default_value = env!("CARGO_PKG_VERSION"))]
    pub(crate) product_version: String,
    /// Pin this minisign public key (file, or base64): the bundle then deploys only when it is signed with it.
    #[arg(long, value_name = "KEY")]
    pub(crate) pin_key: Option<String>,
    /// How yum metadata is packed; CentOS 7 reads gzip only.
    #[arg(long, value_enum, default_value_t = Metadata::Gzip)]
    pub(crate) metadata: Metadata,
    /// Refuse a set in which a package requires what no package provides.
    #[arg(long)]
    pub(crate) require_closed: bool,
    /// What the target systems have: lines as `rpm -qa --provides` prints them, or paths; * at the end, # comments.
    ///
    /// With PLATFORM in front, such as el9, what those of that platform have.
    #[arg(long, value_name = "[PLATFORM=]FILE", value_parser = crate::closed::assume)]
    pub(crate) assume_provided: Vec<AssumeArg>,
    /// No progress bar, no summary.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The bundle to write.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Utf8PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Metadata {
    Gzip,
    Zstd,
}

impl From<Metadata> for Packing {
    fn from(metadata: Metadata) -> Self {
        match metadata {
            Metadata::Gzip => Self::Gzip,
            Metadata::Zstd => Self::Zstd,
        }
    }
}

/// Images that are in a file or folder.
#[derive(Clone, Debug)]
pub(crate) struct ImageArg {
    pub(crate) name: Option<Reference>,
    pub(crate) path: Utf8PathBuf,
}

/// A file that says what target systems have.
#[derive(Clone, Debug)]
pub(crate) struct AssumeArg {
    pub(crate) platform: Option<Platform>,
    pub(crate) path: Utf8PathBuf,
}

/// A path may have an equals sign too.
fn image(text: &str) -> Result<ImageArg, String> {
    let whole = ImageArg { name: None, path: text.into() };
    match text.split_once('=') {
        Some((name, path)) if !whole.path.exists() && !path.is_empty() => {
            let name = name.parse().map_err(|e: payload::NameProblem| e.to_string())?;
            Ok(ImageArg { name: Some(name), path: path.into() })
        }
        _ => Ok(whole),
    }
}

fn name_and_file(text: &str) -> Result<(String, Utf8PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.to_owned(), file.into())),
        _ => Err("it must be NAME=FILE".into()),
    }
}
