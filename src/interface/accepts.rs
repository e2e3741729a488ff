//! Which of the shared options each command accepts. They are defined once ([`super::cli::Global`],
//! [`super::credentials::Credentials`]) and may stand before or behind the command's name; a command's help shows those
//! that it accepts, the others are refused.

use std::collections::BTreeSet;

use clap::error::ContextValue;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory};

use crate::flow::FlowError;
use crate::host::masked;

use super::cli::Cli;
use super::exit::Exit;

/// What every command accepts: how much is printed, in what form, and where the log lies.
const OUTPUT: &[&str] = &["json", "verbose", "quiet", "log_dir"];
const ENVIRONMENT: &[&str] = &["environment"];
const DRY_RUN: &[&str] = &["dry_run"];
/// How hosts are reached, and how many at once.
const HOSTS: &[&str] = &["forks", "host_key"];
const PACKAGES: &[&str] = &["repo_route", "allow_downgrade", "reinstall"];
const RECREATE: &[&str] = &["recreate"];
const KEEP: &[&str] = &["keep_credentials"];
const LOGIN: &[&str] = &[
    "ssh_user",
    "ssh_key",
    "ssh_key_passphrase_file",
    "ssh_password_file",
    "ssh_sudo_pw",
    "ssh_sudo_pw_file",
    "ssh_agent",
];

/// The shared options of one command, beside [`OUTPUT`].
fn of(command: &[&str]) -> &'static [&'static [&'static str]] {
    match command {
        ["deploy"] | ["etcd", "create"] | ["cluster", "apply" | "create"] => {
            &[ENVIRONMENT, DRY_RUN, HOSTS, PACKAGES, RECREATE, KEEP, LOGIN]
        }
        ["etcd", "add" | "remove"]
        | ["cluster", "add" | "remove" | "replace" | "reset"]
        | ["cluster", "certs", "renew"]
        | ["cluster", "images", "sync"]
        | ["registry", "remove"]
        | ["ec2", "create"] => &[ENVIRONMENT, DRY_RUN, HOSTS, PACKAGES, KEEP, LOGIN],
        ["hosts", _] => &[&["dry_run"], HOSTS, LOGIN],
        ["serve"] => &[HOSTS, PACKAGES, KEEP],
        ["registry", "gc"] => &[ENVIRONMENT, DRY_RUN, HOSTS, KEEP, LOGIN],
        ["registry", "push"] => &[ENVIRONMENT, DRY_RUN],
        ["ec2", "terminate"] => &[ENVIRONMENT, DRY_RUN],
        ["cluster", "schema"] | ["registry", "serve"] => &[],
        ["etcd" | "cluster" | "ec2" | "registry", ..] => &[ENVIRONMENT],
        _ => &[],
    }
}

fn accepts(command: &[&str], option: &str) -> bool {
    OUTPUT.contains(&option) || of(command).iter().any(|group| group.contains(&option))
}

/// The command line's grammar: each command hides the shared options that it does not accept.
pub(crate) fn command() -> Command {
    let root = Cli::command();
    let shared = shared(&root);
    narrowed(root, &mut Vec::new(), &shared).0
}

/// The same without what is hidden: completions would offer it.
pub(crate) fn visible() -> Command {
    fn copy(command: &Command, inherited: &[&Arg]) -> Command {
        let own = command.get_arguments().filter(|arg| !arg.is_hide_set());
        let hidden = |arg: &&&Arg| command.get_arguments().all(|own| own.get_id() != arg.get_id());
        let args: Vec<&Arg> = own.chain(inherited.iter().filter(hidden).copied()).collect();
        let about = command.get_about().cloned().unwrap_or_default();
        let copied = Command::new(command.get_name().to_owned()).about(about);
        let copied = copied.args(args.iter().map(|arg| (*arg).clone().global(false)));
        let below: Vec<&Arg> = args.into_iter().filter(|arg| arg.is_global_set()).collect();
        copied.subcommands(command.get_subcommands().map(|sub| copy(sub, &below)))
    }
    copy(&command(), &[])
}

fn shared(root: &Command) -> Vec<Arg> {
    root.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect()
}

/// Hides what a command does not accept, and in a group of commands what none of them does. clap leaves an option that
/// a command defines itself as that command has it. Returns what is accepted too.
fn narrowed(mut command: Command, path: &mut Vec<String>, shared: &[Arg]) -> (Command, BTreeSet<String>) {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let mut accepted = BTreeSet::new();
    for name in &names {
        command = command.mut_subcommand(name, |sub| {
            path.push(name.clone());
            let (sub, below) = narrowed(sub, path, shared);
            path.pop();
            accepted.extend(below);
            sub
        });
    }
    if names.is_empty() {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let ids = shared.iter().map(|arg| arg.get_id().as_str());
        accepted = ids.filter(|id| accepts(&path, id)).map(str::to_owned).collect();
    }
    if !path.is_empty() {
        let others = shared.iter().filter(|arg| !accepted.contains(arg.get_id().as_str()));
        command = command.args(others.map(|arg| arg.clone().hide(true)));
    }
    (command, accepted)
}

/// Whether the line has a shared option, before the command or behind it.
pub(crate) fn given(matches: &ArgMatches, option: &str) -> bool {
    matches.value_source(option) == Some(ValueSource::CommandLine)
        || matches.subcommand().is_some_and(|(_, below)| given(below, option))
}

/// Refuses shared options that were given to a command that does not accept them.
pub(crate) fn check(matches: &ArgMatches) -> Result<(), FlowError> {
    let mut path = Vec::new();
    let mut level = matches;
    while let Some((name, below)) = level.subcommand() {
        path.push(name);
        level = below;
    }
    for arg in shared(&Cli::command()) {
        let id = arg.get_id().as_str();
        if !accepts(&path, id) && given(matches, id) {
            let (command, option) = (path.join(" "), arg.get_long().unwrap_or(id));
            return Err(FlowError::request_with_help(
                format!("--{option} is not an option of `{command}`"),
                format!("`{command} --help` lists its options"),
            ));
        }
    }
    Ok(())
}

/// Whether `name` is an option that holds beside the `-K` form's own, and how many values it takes.
pub(crate) fn program_wide(name: &str) -> Option<usize> {
    let command = command();
    let deploy = command.find_subcommand("deploy");
    let own = command.get_arguments().chain(deploy.into_iter().flat_map(clap::Command::get_arguments));
    let found = own.into_iter().find(|arg| {
        arg.get_long() == Some(name) || name.chars().count() == 1 && arg.get_short() == name.chars().next()
    })?;
    Some(usize::from(found.get_action().takes_values()))
}

/// clap has its own words for errors, help and version; the exit code is ours, and that no password is quoted: a host whose
/// option was forgotten stands in them.
pub(crate) fn said_by_clap(mut error: clap::Error) -> Exit {
    let quoted: Vec<_> = error.context().map(|(kind, value)| (kind, without_passwords(value))).collect();
    for (kind, value) in quoted {
        if let Some(value) = value {
            error.insert(kind, value);
        }
    }
    // Nothing can be done about a closed standard output.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}

/// A quoted text that is starred, when it has to be.
fn without_passwords(value: &ContextValue) -> Option<ContextValue> {
    let starred = |text: &String| match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://***@{place}"),
        // A path, an image, an address of the web: no host.
        (_, None) if text.contains('/') => text.clone(),
        _ => masked(text),
    };
    match value {
        ContextValue::String(text) => Some(ContextValue::String(starred(text))),
        ContextValue::Strings(texts) => Some(ContextValue::Strings(texts.iter().map(starred).collect())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(words: &[&str]) -> String {
        let line = [&["sunshine-installer"], words, &["--help"]].concat();
        command().try_get_matches_from(line).unwrap_err().to_string()
    }

    fn checked(line: &[&str]) -> Result<(), FlowError> {
        check(&command().try_get_matches_from([&["sunshine-installer"], line].concat()).unwrap())
    }

    /// Every command with no command below it.
    fn leaves(command: &Command, path: &[String], found: &mut Vec<Vec<String>>) {
        for sub in command.get_subcommands() {
            let path = [path, &[sub.get_name().to_owned()]].concat();
            if sub.has_subcommands() { leaves(sub, &path, found) } else { found.push(path) }
        }
    }

    #[test]
    fn the_grammar_is_consistent() {
        command().debug_assert();
        visible().debug_assert();
    }

    #[test]
    fn every_name_in_the_lists_is_an_option() {
        let root = Cli::command();
        let ids: BTreeSet<String> = shared(&root).iter().map(|arg| arg.get_id().to_string()).collect();
        let listed: BTreeSet<String> = [OUTPUT, ENVIRONMENT, DRY_RUN, HOSTS, PACKAGES, RECREATE, KEEP, LOGIN]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect();
        assert_eq!(ids, listed);
    }

    #[test]
    fn help_shows_exactly_what_is_accepted() {
        let root = Cli::command();
        let mut found = Vec::new();
        leaves(&root, &[], &mut found);
        assert!(found.len() > 20, "{found:?}");
        for path in found {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let text = help(&path);
            for arg in shared(&root) {
                let long = format!("--{}", arg.get_long().unwrap());
                let shown = text.split_whitespace().any(|word| word.trim_end_matches(',') == long);
                // `--ssh-key` may be named in another option's text.
                if accepts(&path, arg.get_id().as_str()) {
                    assert!(shown, "{path:?} {long}: {text}");
                } else {
                    let listed = text.lines().any(|l| l.trim_start().starts_with(&format!("{long} ")));
                    assert!(!listed, "{path:?} {long}: {text}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_accepted_is_refused_before_and_behind_the_command() {
        for line in [
            &["--ssh-key", "k", "bundle", "verify"][..],
            &["bundle", "--ssh-key", "k", "verify"],
            &["bundle", "verify", "--ssh-key", "k"],
            &["etcd", "status", "--dry-run"],
            &["hosts", "check", "h", "--repo-route", "tunnel"],
            &["serve", "--environment", "e"],
        ] {
            let error = checked(line).unwrap_err();
            assert!(error.to_string().contains("is not an option of `"), "{line:?}: {error}");
        }
        for line in [
            &["--json", "--log-dir", "/l", "bundle", "verify"][..],
            &["--forks", "3", "--ssh-key", "k", "deploy", "--dry-run"],
            &["--environment", "e", "cluster", "status", "-v"],
            &["ec2", "terminate", "--dry-run"],
        ] {
            checked(line).unwrap();
        }
    }

    #[test]
    fn completions_offer_what_is_accepted() {
        let grammar = visible();
        let at = |path: [&str; 2]| {
            let group = grammar.find_subcommand(path[0]).unwrap();
            let ids: Vec<String> =
                group.find_subcommand(path[1]).unwrap().get_arguments().map(|arg| arg.get_id().to_string()).collect();
            ids
        };
        assert!(at(["etcd", "create"]).contains(&"ssh_key".to_owned()));
        assert!(at(["cluster", "apply"]).contains(&"prune".to_owned()));
        assert!(at(["bundle", "verify"]).contains(&"json".to_owned()));
        assert!(!at(["bundle", "verify"]).contains(&"ssh_key".to_owned()));
    }

    #[test]
    fn program_wide_options_are_known_with_their_values() {
        assert_eq!(program_wide("json"), Some(0));
        assert_eq!(program_wide("forks"), Some(1));
        assert_eq!(program_wide("conf"), Some(1));
        assert_eq!(program_wide("v"), Some(0));
        assert_eq!(program_wide("nonsense"), None);
    }
}
