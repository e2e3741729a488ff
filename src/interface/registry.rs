//! `registry`: the bundle's images in a registry of the site, and the environment's own. A command flows in, a table or JSON
//! flows out.

use std::collections::HashMap;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use payload::{Bundle, BundleError, Image, Inputs, Reference, Source as From};

use crate::flow::FlowError;
use crate::flow::request::Operation;
use crate::host::TargetDefaults;
use crate::registry::{Client, Destination, Login, Place, Pushed, Registry, RegistryError, clashes, list, push};

use super::cli::{Global, Source};
use super::cluster_show::table;
use super::credentials::from_file;
use super::exit::Exit;
use super::registry_own::{self, GcArgs, RemoveArgs};
use super::registry_serve::{self, ServeArgs};
use super::terminal;

/// What to do with a registry.
#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// Push images of the bundle, or of archives, to a registry of the site; only what it lacks is sent
    ///
    /// An image keeps its name behind the registry's address and the prefix: registry.k8s.io/pause:3.10 becomes
    /// HOST/PREFIX/pause:3.10. A push that was interrupted continues: run the same command again.
    Push(PushArgs),
    /// List repositories and tags of a registry
    List(ListArgs),
    /// How to log in to the environment's own registry: addresses, authority, users, and the lines for docker and podman
    LoginInfo,
    /// Whether the environment's own registry answers, on each of its hosts; exit code 1 when one does not
    Status,
    /// Delete what no image of the environment's own registry uses any more; it stands still meanwhile
    ///
    /// An image that is deleted there, or whose tag another image took, leaves its layers behind.
    Gc(GcArgs),
    /// Remove the registry from hosts; its images stay there, and the nodes of the cluster forget it
    Remove(RemoveArgs),
    /// Serve the images of an OCI archive to everybody, read-only, until interrupted
    ///
    /// What control plane nodes run where `cluster create --keep-registry` made the cluster. With a certificate it speaks
    /// TLS; without, it listens on the host's own addresses only.
    Serve(ServeArgs),
}

impl RegistryCommand {
    /// What is to be done on hosts, if anything.
    ///
    /// # Errors
    /// When a host is not understood.
    pub(crate) fn operation(&self, defaults: &TargetDefaults) -> Result<Option<Operation>, FlowError> {
        match self {
            Self::Gc(args) => args.operation(defaults).map(Some),
            Self::Remove(args) => args.operation(defaults).map(Some),
            Self::Push(_) | Self::List(_) | Self::LoginInfo | Self::Status | Self::Serve(_) => Ok(None),
        }
    }

    /// Where packages come from that nodes may lack.
    pub(crate) fn source(&self) -> Option<&Source> {
        match self {
            Self::Remove(args) => Some(args.source()),
            _ => None,
        }
    }

    /// Whether the question before something is lost is answered.
    pub(crate) fn yes(&self) -> bool {
        matches!(self, Self::Remove(args) if args.yes())
    }
}

/// Which registry, and how to get in.
#[derive(Debug, Args)]
pub(crate) struct At {
    /// The registry, with what stands before the images' names there, such as the project of Harbor
    #[arg(value_name = "HOST[:PORT][/PREFIX]", value_parser = Place::parse)]
    registry: Place,
    /// The authority that signs its certificate [default: the environment's own for its registry, else those that this
    /// system trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<Utf8PathBuf>,
    /// User there
    #[arg(long, value_name = "NAME", requires = "password_file")]
    user: Option<String>,
    /// File whose first line is the user's password; `-` asks for it
    #[arg(long, value_name = "FILE|-", requires = "user")]
    password_file: Option<Utf8PathBuf>,
    /// The registry has no TLS
    #[arg(long, conflicts_with = "ca")]
    plain_http: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    #[command(flatten)]
    at: At,
    /// Only these images of the bundle, by their names
    #[arg(long, value_name = "NAME", num_args = 1.., value_parser = image)]
    image: Vec<Reference>,
    /// Only the images of the bundle that this file names, one a line
    #[arg(long, value_name = "FILE")]
    image_list: Option<Utf8PathBuf>,
    /// Images that are not in the bundle: archives of `docker save` or OCI image layouts, as a tar or a folder
    #[arg(long, value_name = "FILE|DIR", num_args = 1..)]
    file: Vec<Utf8PathBuf>,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    at: At,
}

fn image(text: &str) -> Result<Reference, String> {
    text.parse::<Reference>().map_err(|e| e.to_string())
}

impl At {
    fn client(&self, global: &Global) -> Result<Client, FlowError> {
        let password = from_file(self.password_file.as_ref(), "--password-file", "the registry's password: ")?;
        let login = self.user.clone().zip(password).map(|(user, password)| Login { user, password });
        let address = self.registry.address.clone();
        let ca = match &self.ca {
            None if !self.plain_http => registry_own::authority(&address, &global.environment)?,
            given => given.clone(),
        };
        Client::new(Registry { address, plain_http: self.plain_http, ca, login }).map_err(failed)
    }
}

fn failed(error: RegistryError) -> FlowError {
    match error {
        RegistryError::Given(error) => FlowError::request(error),
        RegistryError::Bundle(error) => error.into(),
        error => FlowError::Failed { help: error.help(), error: error.to_string() },
    }
}

/// Runs a command that asks or talks to a registry only.
pub(crate) fn run(command: &RegistryCommand, global: &Global) -> Result<Exit, FlowError> {
    match command {
        RegistryCommand::Push(args) => push_all(args, global),
        RegistryCommand::List(args) => list_all(args, global),
        RegistryCommand::LoginInfo => registry_own::login_info(global),
        RegistryCommand::Status => registry_own::status(global),
        RegistryCommand::Serve(args) => registry_serve::run(args, global),
        // What is done on hosts is run as an operation.
        RegistryCommand::Gc(_) | RegistryCommand::Remove(_) => Ok(Exit::Done),
    }
}

fn push_all(args: &PushArgs, global: &Global) -> Result<Exit, FlowError> {
    let images = args.images()?;
    let destination = Destination { prefix: args.at.registry.prefix.clone() };
    let clashes = clashes(&images, &destination);
    if !clashes.is_empty() {
        return Err(FlowError::request_with_help(
            format!("different images would get the same name there: {}", clashes.join("; ")),
            "push them apart with --image, each to a prefix of its own",
        ));
    }
    let mut client = args.at.client(global)?;
    let (mut known, mut all) = (HashMap::new(), Vec::new());
    for (bundle, image) in &images {
        let pushed = push(&mut client, bundle, image, &destination, &mut known, global.dry_run).map_err(failed)?;
        if !global.json && !global.quiet {
            pushed.iter().for_each(|one| terminal::print(&line(one, global.dry_run)));
        }
        all.extend(pushed);
    }
    if global.json {
        terminal::print_json(&all);
    } else {
        let sent: u64 = all.iter().map(|one| one.sent).sum();
        let there = all.iter().filter(|one| one.there).count();
        let word = if global.dry_run { "would be sent" } else { "sent" };
        terminal::print(&format!("{} image(s), {there} there already, {} {word}\n", all.len(), HumanBytes(sent)));
    }
    Ok(Exit::Done)
}

fn line(one: &Pushed, dry_run: bool) -> String {
    match (one.there, dry_run) {
        (true, _) => format!("{}: is there already\n", one.name),
        (false, true) => format!("{}: would be pushed, {}\n", one.name, HumanBytes(one.sent)),
        (false, false) => format!("{}: pushed, {} sent\n", one.name, HumanBytes(one.sent)),
    }
}

fn list_all(args: &ListArgs, global: &Global) -> Result<Exit, FlowError> {
    let repositories = list(&mut args.at.client(global)?, &args.at.registry.prefix).map_err(failed)?;
    if global.json {
        terminal::print_json(&repositories);
        return Ok(Exit::Done);
    }
    let mut rows = table(&["REPOSITORY", "TAGS"]);
    for repository in &repositories {
        rows.add_row([repository.name.as_str(), &repository.tags.join(" ")]);
    }
    terminal::print(&format!("{rows}\n"));
    Ok(Exit::Done)
}

impl PushArgs {
    /// What is to be pushed, each with the bundle that holds it.
    fn images(&self) -> Result<Vec<(Bundle, Image)>, FlowError> {
        let bundle = self.source.open()?;
        let chosen = !self.image.is_empty() || self.image_list.is_some();
        let mut all = Vec::new();
        if chosen || self.file.is_empty() {
            let Some(bundle) = &bundle else {
                return Err(FlowError::request_with_help(
                    "this program carries no bundle, and no archive is given: there is no image to push",
                    "name a bundle with --bundle, or archives with --file",
                ));
            };
            all.extend(self.of_bundle(bundle, chosen)?);
        }
        if !self.file.is_empty() {
            let packed = pack(&self.file, bundle.as_ref())?;
            all.extend(packed.images()?.into_iter().map(|image| (packed.clone(), image)));
        }
        Ok(all)
    }

    fn of_bundle(&self, bundle: &Bundle, chosen: bool) -> Result<Vec<(Bundle, Image)>, FlowError> {
        let mut wanted = self.image.clone();
        if let Some(path) = &self.image_list {
            wanted.extend(listed(path)?);
        }
        let mut images = bundle.images()?;
        let missing = |name: &&Reference| images.iter().all(|image| !image.names.contains(name));
        let missing: Vec<String> = wanted.iter().filter(missing).map(ToString::to_string).collect();
        if !missing.is_empty() {
            return Err(FlowError::request_with_help(
                format!("not in the bundle: {}", missing.join(", ")),
                "`bundle images` lists those that are; an archive is pushed with --file",
            ));
        }
        if chosen {
            images.iter_mut().for_each(|image| image.names.retain(|name| wanted.contains(name)));
            images.retain(|image| !image.names.is_empty());
        }
        if images.is_empty() {
            return Err(FlowError::request_with_help("the bundle holds no image", "push archives with --file"));
        }
        Ok(images.into_iter().map(|image| (bundle.clone(), image)).collect())
    }
}

fn listed(path: &Utf8Path) -> Result<Vec<Reference>, FlowError> {
    let text = std::fs::read_to_string(path).map_err(|e| FlowError::request(format!("--image-list {path}: {e}")))?;
    Reference::list(&text).map_err(|e| FlowError::request(format!("--image-list {path}: {e}")))
}

/// A bundle of these archives alone: they are checked, and compressed, as those of every bundle. Its file is open, and in no
/// folder any more.
fn pack(files: &[Utf8PathBuf], bundle: Option<&Bundle>) -> Result<Bundle, FlowError> {
    let failed = |why: String| FlowError::Failed { error: format!("a folder for archives: {why}"), help: None };
    let folder = tempfile::tempdir().map_err(|e| failed(e.to_string()))?;
    let scratch = Utf8Path::from_path(folder.path()).ok_or_else(|| failed("its name is not UTF-8".to_owned()))?;
    let deployer = match bundle {
        Some(bundle) => From::Deployer(bundle.clone()),
        None => From::File(Utf8PathBuf::from("/proc/self/exe")),
    };
    let path = scratch.join("images");
    let mut inputs = Inputs::new(env!("CARGO_PKG_VERSION"), deployer, &path);
    files.iter().for_each(|file| inputs.image(file, None));
    let assembled = payload::assemble(inputs, &mut |_| ()).map_err(all_of)?;
    payload::write(&assembled.recipe, &path, &mut |_| ())?;
    Ok(Bundle::open(&path)?)
}

fn all_of(mut errors: Vec<BundleError>) -> FlowError {
    if errors.len() == 1
        && let Some(error) = errors.pop()
    {
        return error.into();
    }
    FlowError::request(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}
