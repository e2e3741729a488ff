//! Clusters as files, by the program itself: what is refused before any host is touched, the schema by a validator of others,
//! and what a constructed environment shows and is asked to change. No host is there.

#![allow(clippy::expect_used, reason = "helpers of tests: a panic is how a test fails")]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::cargo_bin;
use serde_json::{Value, json};

/// A state folder and files of an operator.
struct Operator {
    dir: tempfile::TempDir,
}

impl Operator {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder") }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("its folder")).expect("its folder");
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// An environment whose hosts are all on ports of the control host on which nobody listens.
    fn environment(&self, name: &str) {
        let machine = |name: &str, address: &str| json!({"name": name, "address": address});
        let member = json!({"name": "a", "address": "127.0.0.2", "joining": {"new": "x"}});
        let mut node = machine("b", "127.0.0.3");
        node["subnet"] = json!(0);
        let cluster = json!({
            "settings": {"pod_cidr": "10.50.0.0/16"},
            "network": "direct",
            "etcd": {"endpoints": ["https://127.0.0.2:2379"], "tls": true},
            "standing": true,
            "masters": {"127.0.0.2": machine("a", "127.0.0.2")},
            "nodes": {"127.0.0.3": node},
        });
        let etcd = json!({"token": "t", "tls": true, "standing": true, "members": {"127.0.0.2": member}});
        let login = json!({"user": "maint", "port": 1, "key": null});
        for (file, value) in
            [("etcd", etcd), ("kubernetes", cluster), ("hosts", json!({"127.0.0.2": login, "127.0.0.3": login}))]
        {
            self.write(&format!("state/environments/{name}/{file}.json"), &value.to_string());
        }
    }

    fn run(&self, line: &[&str], input: &str) -> Output {
        let mut command = Command::new(cargo_bin("sunshine-installer"));
        command.env("SUNSHINE_STATE_DIR", self.dir.path().join("state")).env("CLUSTER_PASSWORD", "geheim");
        command.current_dir(self.dir.path()).args(line).arg("--log-dir").arg(self.dir.path().join("log"));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        // A program that refuses its line does not read on.
        let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
        child.wait_with_output().expect("it ends")
    }

    /// Runs a line that ends with this code; what it said on standard error.
    #[track_caller]
    fn ends(&self, line: &[&str], input: &str, code: i32) -> String {
        let output = self.run(line, input);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line:?}: {said}");
        assert!(!said.contains("geheim") && !text(&output.stdout).contains("geheim"), "{line:?}: {said}");
        said
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn example() -> PathBuf {
    crate::checkout().join("docs/cluster.yaml")
}

/// check-jsonschema from PyPI.
fn validator() -> Command {
    let script = crate::checkout().join("scripts/pypi");
    let output = Command::new(script).args(["check-jsonschema", "check-jsonschema==0.39.0"]).output().expect("a shell");
    assert!(output.status.success(), "{}", text(&output.stderr));
    Command::new(text(&output.stdout).trim())
}

#[test]
fn the_example_fits_the_schema_and_what_the_program_refuses_does_not() {
    let operator = Operator::new();
    let schema = text(&operator.run(&["cluster", "schema"], "").stdout);
    let schema = operator.write("schema.json", &schema);
    let validate = |files: &[PathBuf]| {
        let mut command = validator();
        command.arg("--schemafile").arg(&schema).arg("--no-cache").args(files).output().expect("the validator starts")
    };
    let meta = validator().arg("--check-metaschema").arg(&schema).output().expect("the validator starts");
    assert!(meta.status.success(), "{}", text(&meta.stdout));

    // Everything that the example shows behind `#` is right too.
    let whole = std::fs::read_to_string(example()).expect("the example");
    let uncommented: String = whole.lines().map(|line| uncommented(line) + "\n").collect();
    assert!(uncommented.contains("\n  externalEtcd: ") && uncommented.contains("\n    user: maint"), "{uncommented}");
    let output = validate(&[example(), operator.write("whole.yaml", &uncommented)]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));

    let mut files = Vec::new();
    for (index, (right, wrong)) in [
        ("schema: 1", "schema: 2"),
        ("podCIDR: 10.244.0.0/16", "podCIDR: 10.244.0.0"),
        ("podCIDR:", "podCidr:"),
        ("tls: true", "tls: yes"),
        ("roles: [etcd, worker]", "roles: [etcd, wroker]"),
        ("passwordEnv: CLUSTER_PASSWORD", "password: geheim"),
        ("\nhosts:", "\nhost:"),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(whole.contains(right), "{right}");
        let name = format!("wrong-{index}.yaml");
        files.push(operator.write(&name, &whole.replacen(right, wrong, 1)));
        let said = operator.ends(&["cluster", "apply", "-f", &name], "", 2);
        assert!(said.contains(&format!("{name}:")), "{said}");
    }
    let output = validate(&files);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let accepted = files.iter().find(|file| !said.contains(&file.display().to_string()));
    assert_eq!(accepted, None, "{said}");
}

/// A line of the example with the field that it shows behind `#`.
fn uncommented(line: &str) -> String {
    let trimmed = line.trim_start();
    let field = trimmed.strip_prefix("# ").filter(|rest| {
        rest.split_once(": ").is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric()))
            && line != trimmed
    });
    match field {
        Some(field) => format!("{}{field}", &line[..line.len() - trimmed.len()]),
        None => line.to_owned(),
    }
}

#[test]
fn the_example_is_understood_and_its_hosts_are_asked() {
    let operator = Operator::new();
    let whole = std::fs::read_to_string(example()).expect("the example");
    // Nobody listens there.
    let text =
        whole.replace("10.8.14.200", "127.0.0.1").replace("10.8.14.201", "127.0.0.2").replace("# port: 22", "port: 1");
    operator.write("cluster.yaml", &text.replace("10.8.14.202", "127.0.0.3"));
    let said = operator.ends(&["cluster", "apply", "-f", "cluster.yaml"], "", 1);
    assert!(said.contains("127.0.0.3:122: cannot connect"), "{said}");
}

#[test]
fn every_problem_of_a_file_is_said_at_once_with_its_line() {
    let operator = Operator::new();
    operator.write(
        "my cluster.yaml",
        "schema: 1\nhosts:\n  - address: 127.0.0.2\n    roles: [etcd, control-plane]\n    password: geheim\n\
         kubernetes:\n  podCIDR: 10.244.0.0/33\n",
    );
    let said = operator.ends(&["cluster", "apply", "-f", "my cluster.yaml"], "", 2);
    assert!(said.contains("my cluster.yaml:5: hosts[0].password: secrets do not belong in this file"), "{said}");
    let wanted = "my cluster.yaml:7: kubernetes.podCIDR: \"10.244.0.0/33\" is not a network such as 10.244.0.0/16";
    assert!(said.contains(wanted), "{said}");
    let said = operator.ends(&["cluster", "apply", "-f", "no-such.yaml"], "", 2);
    assert!(said.contains("no-such.yaml: No such file"), "{said}");
    let said = operator.ends(&["cluster", "apply", "-f", "-"], "", 2);
    assert!(said.contains("standard input:1: the file is empty"), "{said}");
    let said = operator.ends(&["cluster", "apply"], "", 2);
    assert!(said.contains("--file <FILE>"), "{said}");
}

#[test]
fn what_is_shown_is_applied_again_and_names_the_same_hosts() {
    let operator = Operator::new();
    operator.environment("prod");
    let show = operator.run(&["cluster", "show", "--environment", "prod"], "");
    assert!(show.status.success(), "{}", text(&show.stderr));
    let shown = text(&show.stdout);
    assert!(shown.contains("environment: prod") && shown.contains("podCIDR: 10.50.0.0/16"), "{shown}");
    let json = operator.run(&["cluster", "show", "-o", "json", "--environment", "prod"], "").stdout;
    let value: Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(value["hosts"][1], json!({"address": "127.0.0.3", "roles": ["worker"], "user": "maint", "port": 1}));
    // Both are read, nothing is missing in them, and the hosts are asked.
    for input in [shown, text(&json)] {
        let said = operator.ends(&["cluster", "apply", "-f", "-"], &input, 1);
        assert!(said.contains("127.0.0.2:1: cannot connect") && said.contains("127.0.0.3:1: cannot connect"), "{said}");
        assert!(!said.contains("--prune"), "{said}");
    }
    let said = operator.ends(&["cluster", "show"], "", 2);
    assert!(said.contains("there is no environment default"), "{said}");
    let said = operator.ends(&["cluster", "apply", "-f", "-", "--environment", "default"], &text(&show.stdout), 2);
    assert!(said.contains("is about environment prod"), "{said}");
}

#[test]
fn what_a_file_no_longer_names_stays_and_is_said() {
    let operator = Operator::new();
    operator.environment("default");
    let file = "schema: 1\nhosts:\n  - {address: 127.0.0.2, port: 1, roles: [etcd, control-plane]}\n  \
                - {address: 127.0.0.4, port: 1, roles: [worker]}\ndefaults: {passwordEnv: CLUSTER_PASSWORD}\n";
    operator.write("cluster.yaml", file);
    let said = operator.ends(&["cluster", "apply", "-f", "cluster.yaml"], "", 1);
    let warning =
        "environment default has more than cluster.yaml names: 127.0.0.3:1 (worker). It stays as it is; --prune";
    assert!(said.contains(warning), "{said}");
    // With it, nobody can be asked where the file is standard input.
    let said = operator.ends(&["cluster", "apply", "-f", "-", "--prune"], file, 2);
    assert!(said.contains("127.0.0.3:1 (node): its pods are evicted") && said.contains("--yes"), "{said}");
    // Hosts that cannot be reached end the run before anything is removed.
    let said = operator.ends(&["cluster", "apply", "-f", "-", "--prune", "--yes"], file, 1);
    assert!(said.contains("nothing was changed") && !said.contains("remove 0"), "{said}");
    // What cannot be changed is refused by line.
    let other = format!("{file}kubernetes:\n  podCIDR: 10.60.0.0/16\n");
    let said = operator.ends(&["cluster", "apply", "-f", "-"], &other, 2);
    let wanted = "standard input:7: kubernetes.podCIDR: the cluster has \"10.50.0.0/16\", which cannot be changed";
    assert!(said.contains(wanted), "{said}");
    let none = "schema: 1\nhosts: [{address: 127.0.0.2, port: 1, roles: [etcd]}]\n";
    let said = operator.ends(&["cluster", "apply", "-f", "-", "--prune", "--yes"], none, 2);
    assert!(said.contains("the last control plane node cannot be removed"), "{said}");
}
