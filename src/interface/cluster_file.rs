//! Clusters as files: `cluster apply`, `cluster show`, `cluster schema`.

use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, ValueEnum};

use crate::flow::request::{Job, RunOptions};
use crate::flow::{Environment, FlowError, Logins, loss, state_dir};
use crate::host::{Auth, Secret, Target, TargetDefaults};
use crate::spec::{self, ClusterFile, Described, Intent, Leaving, Request, Surroundings, operations};

use super::ask;
use super::cli::{self, Global, Source};
use super::credentials::{Credentials, unlock};
use super::exit::Exit;
use super::login;
use super::start;
use super::terminal::{self, Terminal};

/// More than any cluster's description; what is larger is another file.
const MAX_FILE: u64 = 4 << 20;

/// Options of `cluster apply`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sunshine-installer cluster apply -f cluster.yaml --dry-run
  sunshine-installer cluster apply -f cluster.yaml --prune
  sunshine-installer cluster show | sunshine-installer cluster apply -f - --ssh-key ~/.ssh/id_ed25519

Hosts of the environment that the file does not name stay as they are, and are reported. Passwords are in the file by
reference only: passwordFile, passwordEnv. `cluster schema` lists every field.")]
pub(crate) struct ApplyArgs {
    /// The description of the cluster, YAML or JSON; `-` reads standard input
    #[arg(long, short, value_name = "FILE")]
    file: Utf8PathBuf,
    /// Remove what the file does not name any more: nodes are drained, etcd members leave
    #[arg(long)]
    prune: bool,
    /// Do not ask before hosts are removed
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    pub(crate) source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Yaml,
    Json,
}

/// Options of `cluster show`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sunshine-installer cluster show > cluster.yaml
  sunshine-installer cluster show -o json --environment prod")]
pub(crate) struct ShowArgs {
    /// As YAML or as JSON
    #[arg(long, short, value_enum, default_value = "yaml")]
    output: Form,
}

/// Prints the JSON schema of cluster files.
pub(crate) fn schema() -> Exit {
    terminal::print(&serde_json::to_string_pretty(&spec::schema()).unwrap_or_default());
    Exit::Done
}

/// Prints the environment's cluster as a file that `cluster apply` reads.
pub(crate) fn show(args: &ShowArgs, global: &Global) -> Result<Exit, FlowError> {
    let environment = Environment::find(&state_dir(), &global.environment)?;
    let Some(file) = spec::stored(&environment)? else {
        return Err(FlowError::request_with_help(
            format!("environment {} has no cluster", environment.name),
            "create one with `cluster apply -f FILE`, or name another --environment",
        ));
    };
    match args.output {
        Form::Json => terminal::print(&serde_json::to_string_pretty(&file).unwrap_or_default()),
        _ if global.json => terminal::print_json(&file),
        Form::Yaml => terminal::print(&format!("{HEAD}{}", spec::to_yaml(&file))),
    }
    Ok(Exit::Done)
}

const HEAD: &str = "\
# Passwords are not kept: give them with passwordFile or passwordEnv, under `defaults:` or a host, or on the command line.
";

/// Brings etcd and Kubernetes to what the file says.
pub(crate) fn apply(args: &ApplyArgs, credentials: &Credentials, global: &Global) -> Result<Exit, FlowError> {
    let given = credentials.read()?;
    let mut described = read(&args.file, &given)?;
    let mut named = global.clone();
    named.environment = environment(&described, &args.file, global)?;
    let global = &named;
    unlock_keys(&mut described)?;
    let stored = match Environment::find(&state_dir(), &global.environment) {
        Ok(found) => spec::stored(&found)?,
        Err(_) => None,
    };
    let mut leaving = Vec::new();
    if let Some(stored) = &stored {
        spec::check_kept(&described, stored)?;
        spec::keep(&mut described, stored);
        leaving = spec::leaving(stored, &described.spec);
    }
    // Everything that can be refused is refused before the first host is touched.
    let removal = match &stored {
        Some(stored) if args.prune => remove(&leaving, &described, stored, global)?,
        _ => Vec::new(),
    };
    if !removal.is_empty() && !args.yes && !global.dry_run && !agreed(&removal, args, global)? {
        return Ok(cli::declined(global));
    }
    if removal.is_empty() {
        report(&leaving, args, global);
    }
    let options = RunOptions { login: described.login.clone(), ..global.options() };
    let converge = Request { spec: described.spec, intent: Intent::converge() };
    let job = Job { operations: operations(&converge), options };
    let mut exit = cli::begin(&job, args.source.open()?, global);
    // Hosts leave when those that may take over from them are there.
    for request in &removal {
        if exit != Exit::Done {
            break;
        }
        let job = Job { operations: operations(request), options: job.options.clone() };
        // The log is open.
        exit = start::start(&job, args.source.open()?, global.manner());
    }
    Ok(exit)
}

fn read(path: &Utf8Path, given: &TargetDefaults) -> Result<Described, FlowError> {
    let (name, text) = if path == "-" {
        ("standard input".to_owned(), limited(std::io::stdin().lock()))
    } else {
        (path.to_string(), std::fs::File::open(path).and_then(limited))
    };
    let text = text.map_err(|e| FlowError::request(format!("{name}: {e}")))?;
    let folder = match path.parent() {
        Some(parent) if path != "-" => parent,
        _ => Utf8Path::new(""),
    };
    // What the environment keeps of a login must be true from any folder.
    let here = std::env::current_dir().ok().and_then(|dir| Utf8PathBuf::from_path_buf(dir).ok()).unwrap_or_default();
    let folder = here.join(folder);
    let variable = |name: &str| std::env::var(name).ok();
    spec::describe(&name, &text, Surroundings { folder: &folder, given, variable: &variable })
}

fn limited(from: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(std::io::Error::other("the file is larger than 4 MiB"));
    }
    Ok(text)
}

/// The environment that is meant: the file's, or the command line's where the file names none.
fn environment(described: &Described, path: &Utf8Path, global: &Global) -> Result<String, FlowError> {
    match &described.environment {
        Some(named) if global.environment_given && *named != global.environment => Err(FlowError::request(format!(
            "{path} is about environment {named}, --environment names {}",
            global.environment
        ))),
        Some(named) => Ok(named.clone()),
        None => Ok(global.environment.clone()),
    }
}

/// Asks for the passphrase of every encrypted key once.
fn unlock_keys(described: &mut Described) -> Result<(), FlowError> {
    let mut opened: Vec<(Utf8PathBuf, Option<Secret>)> = Vec::new();
    let mut open = |auth: &mut Auth| -> Result<(), FlowError> {
        let Some(key) = auth.key.clone() else { return Ok(()) };
        if let Some((_, passphrase)) = opened.iter().find(|(known, _)| *known == key) {
            auth.passphrase = auth.passphrase.take().or_else(|| passphrase.clone());
            return Ok(());
        }
        unlock(auth)?;
        opened.push((key, auth.passphrase.clone()));
        Ok(())
    };
    open(&mut described.login.auth)?;
    described.spec.all_mut().try_for_each(|target| open(&mut target.auth))
}

fn remove(
    leaving: &[Leaving],
    described: &Described,
    stored: &ClusterFile,
    global: &Global,
) -> Result<Vec<Request>, FlowError> {
    let root = state_dir();
    let logins = Logins::load(&Environment::find(&root, &global.environment)?)?;
    let sealed: Vec<Target> = match &global.keep_credentials {
        Some(key_file) => login::sealed(&root, key_file, &global.environment)
            .map_err(|e| FlowError::request(format!("--keep-credentials: {e}")))?,
        None => Vec::new(),
    };
    spec::removal(leaving, described, stored, &|host| logins.target(host, &described.login, &sealed))
}

/// Asks as `cluster remove` does. Nobody can be asked where standard input is the file.
fn agreed(requests: &[Request], args: &ApplyArgs, global: &Global) -> Result<bool, FlowError> {
    let mut lost = Vec::new();
    for operation in &spec::of_all(requests) {
        lost.extend(loss(operation, &state_dir(), &global.environment)?);
    }
    if args.file == "-" {
        return Err(FlowError::request_with_help(
            format!("-f - with --prune: nobody can be asked before this is done\n{}", lost.join("\n")),
            "--yes does it without a question",
        ));
    }
    Ok(!ask::is_possible() || ask::agreed(&lost, "Go on?"))
}

/// Says what stays although the file does not name it.
fn report(leaving: &[Leaving], args: &ApplyArgs, global: &Global) {
    if leaving.is_empty() {
        return;
    }
    let names: Vec<String> = leaving.iter().map(Leaving::name).collect();
    Terminal::new(global.manner()).voice().warn(&format!(
        "environment {} has more than {} names: {}. It stays as it is; --prune removes it",
        global.environment,
        args.file,
        names.join(", ")
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_never_ends_is_refused() {
        let error = limited(std::io::repeat(b'x')).unwrap_err().to_string();
        assert!(error.contains("larger than 4 MiB"), "{error}");
    }
}
