//! `serve --install`: a systemd unit that runs the listener with the options given beside it, and starts it.

use std::process::Command;

use crate::flow::FlowError;

use super::cli::Global;
use super::serve::ServeArgs;
use super::terminal::Voice;

/// Units of the machine's administrator (systemd.unit(5)).
const PATH: &str = "/etc/systemd/system/sunshine-installer.service";
const NAME: &str = "sunshine-installer.service";

/// Writes the unit, enables and starts it.
pub(crate) fn install(args: &ServeArgs, global: &Global, voice: &Voice) -> Result<(), FlowError> {
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
    let text = unit(&exe, args, global, std::env::var("SUNSHINE_STATE_DIR").ok().as_deref())?;
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

fn unit(exe: &str, args: &ServeArgs, global: &Global, state: Option<&str>) -> Result<String, FlowError> {
    let mut words = vec![exe.to_owned(), "serve".to_owned(), "--listen".to_owned(), args.listen.to_string()];
    let files = [
        ("--token-file", args.token_file.as_deref()),
        ("--tls-cert", args.tls_cert.as_deref()),
        ("--tls-key", args.tls_key.as_deref()),
        ("--keep-credentials", global.keep_credentials.as_deref()),
        ("--bundle", args.source.bundle.as_deref()),
        ("--log-dir", global.log_dir.as_deref()),
    ];
    for (option, path) in files {
        let Some(path) = path else { continue };
        // The unit is started in another folder. A file that is not there yet cannot be resolved, its folder can.
        let full = std::path::absolute(path).map_err(|e| FlowError::request(format!("{option} {path}: {e}")))?;
        words.extend([option.to_owned(), full.to_string_lossy().into_owned()]);
    }
    if args.no_auth {
        words.push("--no-auth".to_owned());
    }
    // In a command, unlike elsewhere in a unit, a dollar begins a variable.
    let line: Vec<String> = words.iter().map(|word| quoted(word).replace('$', "$$")).collect();
    let state = state.map(|dir| format!("Environment={}\n", quoted(&format!("SUNSHINE_STATE_DIR={dir}"))));
    Ok(format!(
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
    ))
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

    #[test]
    fn words_survive_systemds_reading() {
        assert_eq!(quoted("/opt/sunshine-installer.bin"), "/opt/sunshine-installer.bin");
        assert_eq!(quoted("/a b/100%$x\"\\"), r#""/a b/100%%$x\"\\""#);
        assert_eq!(quoted(""), "\"\"");
    }
}
