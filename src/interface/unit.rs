//! `serve --install`: a systemd unit that runs the listener with the options given beside it, and starts it.

use std::process::Command;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};

use crate::flow::FlowError;

use super::accepts;
use super::terminal::Voice;

/// Units of the machine's administrator (systemd.unit(5)).
const PATH: &str = "/etc/systemd/system/sunshine-installer.service";
const NAME: &str = "sunshine-installer.service";

/// The options that a line with `serve` gives, all but `--install`: `matches` are those of `serve`. The unit is started in
/// another folder, so paths are written in full.
///
/// # Errors
/// When the folder that paths are relative to is not there any more.
pub(crate) fn given(matches: &ArgMatches) -> Result<Vec<String>, FlowError> {
    let grammar = accepts::visible();
    let mut words = Vec::new();
    let options = grammar.find_subcommand("serve").into_iter().flat_map(clap::Command::get_arguments);
    for arg in options.filter(|arg| !["install", "help"].contains(&arg.get_id().as_str())) {
        let (id, Some(long)) = (arg.get_id().as_str(), arg.get_long()) else { continue };
        if matches.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        if !arg.get_action().takes_values() {
            words.push(format!("--{long}"));
            continue;
        }
        for value in matches.get_raw(id).into_iter().flatten() {
            // A file that is not there yet cannot be resolved, its folder can.
            let value = match is_path(arg) {
                true => std::path::absolute(value)
                    .map_err(|e| FlowError::request(format!("--{long} {}: {e}", value.display())))?
                    .into_os_string(),
                false => value.to_owned(),
            };
            words.extend([format!("--{long}"), value.to_string_lossy().into_owned()]);
        }
    }
    Ok(words)
}

/// As its help says it: FILE, DIR, KEYFILE.
fn is_path(arg: &Arg) -> bool {
    arg.get_value_names().unwrap_or_default().iter().any(|name| name.contains("FILE") || name.contains("DIR"))
}

/// Writes the unit with these options ([`given`]), enables and starts it.
pub(crate) fn install(options: &[String], voice: &Voice) -> Result<(), FlowError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(FlowError::request("--install writes a unit of the system: run it as root"));
    }
    let failed =
        |what: &str, e: &dyn std::fmt::Display| FlowError::Failed { error: format!("{what}: {e}"), help: None };
    let exe = std::env::current_exe().map_err(|e| failed("this program's own path", &e))?;
    let exe = exe.to_string_lossy().into_owned();
    if ["/tmp/", "/var/tmp/", "/run/"].iter().any(|dir| exe.starts_with(dir)) {
        voice.warn(&format!("{exe} will not outlive a restart of the control host there: better in /opt"));
    }
    let text = unit(&exe, options, std::env::var("SUNSHINE_STATE_DIR").ok().as_deref());
    fs_err::write(PATH, text).map_err(|e| failed("the unit", &e))?;
    for words in [&["daemon-reload"][..], &["enable", NAME], &["restart", NAME]] {
        let output = Command::new("systemctl").args(words).output().map_err(|e| failed("systemctl", &e))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(failed(&format!("systemctl {}", words.join(" ")), &said));
        }
    }
    Ok(())
}

fn unit(exe: &str, options: &[String], state: Option<&str>) -> String {
    let words = [exe, "serve"].into_iter().chain(options.iter().map(String::as_str));
    // In a command, unlike elsewhere in a unit, a dollar begins a variable.
    let line: Vec<String> = words.map(|word| quoted(word).replace('$', "$$")).collect();
    let state = state.map(|dir| format!("Environment={}\n", quoted(&format!("SUNSHINE_STATE_DIR={dir}"))));
    format!(
        "[Unit]\n\
         Description=sunshine-installer: etcd and Kubernetes clusters over REST\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         ExecStart={}\n\
         {}Restart=on-failure\n\
         RestartSec=2\n\
         # Running tasks are brought to a safe point first.\n\
         KillMode=mixed\n\
         TimeoutStopSec=15min\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        line.join(" "),
        state.unwrap_or_default(),
    )
}

/// A word as systemd.unit(5) and systemd.syntax(7) want it: quoted, and nothing in it is a specifier.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-:=[]".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{}\"", escaped.replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[&str]) -> Vec<String> {
        let line = [&["sunshine-installer", "serve", "--install"], line].concat();
        let matches = accepts::command().try_get_matches_from(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"));
        given(matches.subcommand_matches("serve").unwrap()).unwrap()
    }

    #[test]
    fn every_option_of_serve_is_in_the_unit() {
        let grammar = accepts::visible();
        let serve = grammar.find_subcommand("serve").unwrap();
        let options: Vec<&Arg> =
            serve.get_arguments().filter(|arg| !["install", "help"].contains(&arg.get_id().as_str())).collect();
        assert!(options.len() > 15, "{options:?}");
        let here = std::env::current_dir().unwrap().join("some/file").display().to_string();
        for arg in options {
            let long = format!("--{}", arg.get_long().unwrap());
            let value = match arg.get_id().as_str() {
                _ if is_path(arg) => "some/file".to_owned(),
                "listen" => "127.0.0.1:1".to_owned(),
                "forks" => "7".to_owned(),
                "repo_route" => "push".to_owned(),
                _ => arg.get_possible_values().last().map_or("name".to_owned(), |v| v.get_name().to_owned()),
            };
            let partner: &[&str] = match long.as_str() {
                "--tls-cert" => &["--tls-key", "k"],
                "--tls-key" => &["--tls-cert", "c"],
                _ => &[],
            };
            let alone = [long.as_str()];
            let both = [long.as_str(), value.as_str()];
            let takes = arg.get_action().takes_values();
            let found = words(&[if takes { &both[..] } else { &alone[..] }, partner].concat());
            let at =
                found.iter().position(|word| *word == long).unwrap_or_else(|| panic!("{long} is not in {found:?}"));
            if takes {
                assert_eq!(found[at + 1], if is_path(arg) { here.clone() } else { value }, "{long}");
            }
        }
        assert!(words(&[]).is_empty(), "what is not given is left to its default");
    }

    #[test]
    fn options_given_before_the_command_are_in_it_too() {
        let line = ["sunshine-installer", "--host-key", "strict", "serve", "--install", "--allow-host", "a,b"];
        let matches = accepts::command().try_get_matches_from(line).unwrap();
        let found = given(matches.subcommand_matches("serve").unwrap()).unwrap();
        let text = unit("/opt/a b", &found, Some("/var/lib/x"));
        for word in
            ["ExecStart=\"/opt/a b\" serve ", " --host-key strict", " --allow-host a --allow-host b", "\nEnvironment="]
        {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(!text.contains("--install"), "{text}");
    }

    #[test]
    fn words_survive_systemds_reading() {
        assert_eq!(quoted("/opt/sunshine-installer.bin"), "/opt/sunshine-installer.bin");
        assert_eq!(quoted("/a b/100%$x\"\\"), r#""/a b/100%%$x\"\\""#);
        assert_eq!(quoted(""), "\"\"");
    }
}
