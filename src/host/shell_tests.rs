use std::process;

use proptest::prelude::*;

use super::*;

/// Runs a line as sshd does: by the login shell's `-c`.
fn run(command: &Command) -> String {
    let output = process::Command::new("/bin/sh").arg("-c").arg(command.line("")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_value_arrives_as_it_was(value in "[^\0]{0,80}") {
        prop_assert_eq!(run(&Command::new("printf").arg("%s").arg(&value)), value.clone());
        prop_assert_eq!(run(&Command::script(r#"printf %s "$1""#).arg(&value)), value);
    }
}

#[test]
fn the_environment_is_known_but_for_what_a_user_typed() {
    let of = |command: &Command| {
        let mut shell = process::Command::new("/bin/sh");
        shell.arg("-c").arg(command.line("")).env("https_proxy", "http://10.0.0.9:3128").env("LC_ALL", "de_DE.UTF-8");
        String::from_utf8(shell.output().unwrap().stdout).unwrap()
    };
    assert_eq!(of(&Command::script("printf '%s %s' \"${https_proxy-none}\" $LC_ALL")), "none C");
    assert_eq!(of(&Command::user_line("printf %s $https_proxy")), "http://10.0.0.9:3128");
}

#[test]
fn hostile_values_stay_values() {
    for value in ["$(touch /tmp/x)", "`id`", "a'b", "'; reboot; '", "\n", "-n", "\\", "*", "~", "#"] {
        assert_eq!(run(&Command::script(r#"printf %s "$1""#).arg(value)), value);
    }
}

#[test]
fn a_command_shows_neither_its_script_nor_its_input() {
    let command = Command::script("set -e\ncat >x").arg("a b").secret_stdin(Secret::new("hunter2"));
    assert_eq!(command.to_string(), "set -e … 'a b'");
    assert!(!format!("{command:?}").contains("hunter2"));
    assert_eq!(Command::new("echo").arg("a\n\x1b[2J").to_string(), "echo 'a\\n\\u{1b}[2J'");
}

#[test]
fn what_the_operator_typed_is_shown_nowhere() {
    let command = Command::user_line("mysql -phunter2 -e 'select 1'");
    assert!(!format!("{command} {command:?}").contains("hunter2"), "{command}");
    assert!(command.line("").contains("hunter2"));
}

#[test]
fn a_terminal_is_there_for_sudo_and_the_streams_pass_it_by() {
    let inner = Command::script("tty </dev/tty >/dev/null && test ! -t 1 && cat && echo warned >&2; exit 7");
    let output = process::Command::new("setsid")
        .args(["-w", "sh", "-c", "printf 'in\\0put\\r\\n' | { eval \"$1\"; }", "sh", &in_terminal(&inner.line(""))])
        .output()
        .unwrap();
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"in\0put\r\n"[..], &b"warned\n"[..]));
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn a_script_with_a_head_runs_both_and_is_called_by_its_own_first_line() {
    let command = Command::script_with("say() { echo \"$1 $2\"; }\nfirst=$1; shift\n", "say \"$first\" \"$1\"")
        .args(["a b", "c"]);
    let output = std::process::Command::new("/bin/sh").args(["-c", &command.line("")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a b c\n");
    assert!(command.to_string().starts_with("say"), "{command}");
}

#[test]
fn a_command_that_outlives_its_connection_says_the_same_and_ends_alike() {
    // It works in /run, where only root may write.
    if !nix::unistd::geteuid().is_root() && std::env::var("SUNSHINE_NO_LAB").is_ok_and(|value| value == "1") {
        eprintln!("SKIPPED: only root can run it");
        return;
    }
    let command = Command::script("printf out; printf err >&2; exit 7").outlives_connection();
    let output = process::Command::new("/bin/sh").arg("-c").arg(command.line("")).output().unwrap();
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out"[..], &b"err"[..]));
    assert_eq!(output.status.code(), Some(7));

    // Nobody reads: a command that prints would be ended by that before it is done.
    let dir = tempfile::tempdir().unwrap();
    let proof = dir.path().join("proof");
    let text = r#"sleep 0.3; echo a; echo b; echo c; printf done >"$1""#;
    let command = Command::script(text).arg(proof.to_str().unwrap()).outlives_connection();
    let mut child = process::Command::new("/bin/sh")
        .arg("-c")
        .arg(command.line(""))
        .stdout(process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    child.wait().unwrap();
    assert_eq!(std::fs::read_to_string(proof).unwrap(), "done");
}

#[test]
fn a_gate_decides_whether_a_command_is_run() {
    let through = Command::new("printf").arg("%s").arg("it's").behind(r#"echo "$1"; shift; exec "$@""#, ["a b"]);
    assert_eq!(run(&through), "a b\nit's");
    assert_eq!(run(&Command::new("false").behind("echo shut; exit 0", [])), "shut\n");
}

#[test]
fn a_script_around_a_command_has_the_last_word() {
    let around =
        Command::new("printf").arg("%s").arg("it's").inside("echo \"$1\"; shift; \"$@\"; echo .", vec!["a b".into()]);
    assert_eq!(run(&around), "a b\nit's.\n");
    assert_eq!(
        run(&around.behind(r#"echo "$1"; shift; exec "$@""#, ["first"]).outlives_connection()),
        "first\na b\nit's.\n"
    );
}

#[test]
fn commands_in_turn_wait_for_one_whose_run_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let first = Command::script(": >\"$1\"; sleep 0.5; : >\"$2\"").args([at("begun"), at("ended")]).in_turn();
    let mut child = process::Command::new("/bin/sh").arg("-c").arg(first.line("")).spawn().unwrap();
    while !dir.path().join("begun").exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let second = Command::script("[ -e \"$1\" ] && echo \"it has ended\"").arg(at("ended")).in_turn().label("look");
    assert_eq!(run(&second), "it has ended\n");
    assert_eq!(second.to_string(), format!("look {}", at("ended")));
    child.wait().unwrap();
}
