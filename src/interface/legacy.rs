//! The way in for `-K onekey_deploy_ctl`: its own words go to [`super::onekey`], those of the program as a whole
//! (`--json`, `--forks`, …), wherever they stand, to today's parser.

use std::ffi::OsString;

use clap::FromArgMatches;

use crate::flow::FlowError;
use crate::flow::request::{Job, RunOptions};

use super::accepts;
use super::cli::{self, Cli, Command};
use super::exit::Exit;
use super::terminal::{self, Manner};
use super::{onekey, start};

/// The words beside `-K`, when this command line is of that form: `-K` comes first, or behind program-wide options.
pub(crate) fn words(args: &[OsString]) -> Option<Vec<OsString>> {
    let mut at = 1;
    loop {
        let word = args.get(at)?.to_str()?;
        if word == "-K" || word == "--K" {
            break;
        }
        let (name, has_value) = match word.trim_start_matches('-').split_once('=') {
            Some((name, _)) => (name, true),
            None => (word.trim_start_matches('-'), false),
        };
        let values = accepts::program_wide(name).filter(|_| word.starts_with('-'))?;
        at += if has_value { 1 } else { 1 + values };
    }
    // The name of the form stays first; what stood before it is as good behind it.
    let (before, after) = (&args[1..at], &args[at + 1..]);
    let (name, rest) = after.split_first().map_or((None, after), |(name, rest)| (Some(name.clone()), rest));
    Some(name.into_iter().chain(before.iter().cloned()).chain(rest.iter().cloned()).collect())
}

/// Runs what the words ask for.
pub(crate) fn run(words: Vec<OsString>) -> Exit {
    let words: Result<Vec<String>, _> = words.into_iter().map(OsString::into_string).collect();
    let Ok(words) = words else {
        return start::refuse(&FlowError::request("the command line is not UTF-8"), Manner::default());
    };
    let json = words.iter().any(|w| w == "--json" || w == "-json");
    let manner = Manner { json, ..Manner::default() };
    match words.split_first() {
        Some((name, rest)) if name == onekey::NAME => {
            if rest.iter().any(|w| w == "-h" || w == "--help" || w == "-help") {
                terminal::print(onekey::HELP);
                return Exit::Done;
            }
            begin(rest).unwrap_or_else(|e| start::refuse(&e, manner))
        }
        Some((name, _)) => start::refuse(&FlowError::request(format!("-K {name}: it is {}", onekey::NAME)), manner),
        None => start::refuse(&FlowError::request(format!("-K wants {}", onekey::NAME)), manner),
    }
}

fn begin(words: &[String]) -> Result<Exit, FlowError> {
    let parsed = onekey::parse(words, accepts::program_wide)?;
    // The program-wide options and those of `deploy` are read by today's parser.
    let line = ["sunshine-installer".to_owned(), "deploy".to_owned()].into_iter().chain(parsed.global.iter().cloned());
    let read = accepts::command().try_get_matches_from(line).and_then(|m| Cli::from_arg_matches(&m));
    let cli = match read {
        Ok(cli) => cli,
        Err(e) => return Ok(accepts::said_by_clap(e)),
    };
    let Command::Deploy(deploy) = cli.command else { return Err(FlowError::request("-K: nothing to do")) };
    let defaults = cli.credentials.read()?;
    let operations = parsed.operations(&defaults)?;
    if operations.is_empty() {
        let (job, bundle) = deploy.job(&cli.credentials.defaults()?, &cli.global)?;
        return Ok(cli::begin(&job, bundle, &cli.global));
    }
    let options = RunOptions { login: parsed.login(&defaults)?, ..cli.global.options() };
    let job = Job { operations, options };
    Ok(cli::begin(&job, deploy.source.open()?, &cli.global))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &[&str]) -> Option<Vec<String>> {
        let args: Vec<OsString> = [&["x.bin"], line].concat().into_iter().map(OsString::from).collect();
        words(&args).map(|words| words.into_iter().map(|w| w.into_string().unwrap()).collect())
    }

    #[test]
    fn the_form_is_known_by_its_k() {
        let name = onekey::NAME;
        assert_eq!(found(&["-K", name, "-f"]).unwrap(), [name, "-f"]);
        assert_eq!(
            found(&["--forks", "3", "--json", "-K", name, "-f"]).unwrap(),
            [name, "--forks", "3", "--json", "-f"]
        );
        assert_eq!(found(&["--forks=3", "-K", name]).unwrap(), [name, "--forks=3"]);
        assert_eq!(found(&["-K"]).unwrap(), Vec::<String>::new());
        assert_eq!(found(&["hosts", "exec", "--host", "a", "--", "grep", "-K"]), None);
        assert_eq!(found(&["--environment", "-K", name]), None);
        assert_eq!(found(&[]), None);
    }
}
