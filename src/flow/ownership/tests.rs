use super::*;

const HOST: &str = "10.0.0.1";

fn asking() -> Asking {
    Asking {
        environment: "a-1".into(),
        authority: Some("ours".into()),
        token: Some("token-a".into()),
        hosts: [HostId::from(HOST)].into(),
        ..Asking::default()
    }
}

fn found(text: &str) -> Found {
    Found::parse(&text.replace(' ', "\t").replace(';', "\n"))
}

fn member(found: Found, token: Option<&str>, running: bool) -> Found {
    Found { etcd: etcd::Found { has_data: true, token: token.map(str::to_owned), running }, ..found }
}

fn decided(asking: &Asking, found: &Found) -> (Share, String) {
    let (share, problems) = asking.decide(&HOST.into(), found);
    let line = |p: &Problem| format!("{:?}: {} | {}\n", p.level, p.text, p.help.as_deref().unwrap_or_default());
    (share, problems.iter().map(line).collect())
}

#[test]
fn a_node_of_the_environment_is_torn_down() {
    for text in ["line a-1;node a-1;authority ours", "line a-1;node a-1"] {
        let (share, said) = decided(&asking(), &found(text));
        assert!(share.node && share.undo == Some(Vec::new()) && said.is_empty(), "{text}: {said}");
    }
}

#[test]
fn a_node_of_another_environment_is_left_and_the_own_member_is_not() {
    let there = member(found("line a-1;line b-2;member a-1;node b-2;authority theirs"), Some("token-a"), true);
    let (share, said) = decided(&asking(), &there);
    assert!(!share.node && share.undo == Some(Vec::new()) && share.data, "{share:?}");
    assert!(said.contains("belongs to environment b-2: it is left alone"), "{said}");
    assert!(said.contains("`cluster reset --environment b --host 10.0.0.1`"), "{said}");
    // The other one, in turn.
    let other = Asking { environment: "b-2".into(), authority: Some("theirs".into()), token: None, ..asking() };
    let (share, said) = decided(&other, &there);
    assert!(share.node && share.undo == Some(Vec::new()) && !share.data, "{share:?}");
    assert!(said.contains("Info: environment a-1 uses this host too"), "{said}");
    assert!(share.foreign_data.unwrap().contains("token-a"));
}

#[test]
fn a_node_that_this_product_did_not_make_is_left() {
    let (share, said) = decided(&asking(), &found("line a-1;member a-1;authority 0123456789abcdef0123"));
    assert!(!share.node && share.undo.is_some());
    assert!(
        said.contains("another cluster than this environment's (sha256 of its authority: 0123456789abcdef…)"),
        "{said}"
    );
    // Where the environment's own once stood, its record is not what the host is any more.
    let (share, said) = decided(&asking(), &found("line a-1;node a-1;authority theirs"));
    assert!(!share.node && share.undo.is_none() && said.contains("nothing is undone on this host"), "{said}");
}

#[test]
fn a_member_of_another_cluster_that_runs_is_left() {
    let (share, said) = decided(&asking(), &member(found("line a-1;member a-1"), Some("theirs"), true));
    assert!(share.undo.is_none() && !share.data && said.contains("a member of another etcd cluster runs"), "{said}");
    let (share, _) = decided(&asking(), &member(found("line a-1;member a-1"), Some("theirs"), false));
    assert!(share.undo.is_some() && !share.data && share.foreign_data.is_some());
}

#[test]
fn data_that_nothing_names_is_nobodys() {
    let (share, _) = decided(&asking(), &member(found("line a-1;member a-1"), None, false));
    assert!(!share.data && share.foreign_data.unwrap().contains("nothing on the host names"));
    let nobody = Asking { token: None, ..asking() };
    assert!(!decided(&nobody, &member(Found::default(), None, false)).0.data);
}

#[test]
fn lines_that_name_nobody_need_a_proof() {
    let nobodys = found("line -;node -;member -");
    let takes = |asking: &Asking, found: &Found| decided(asking, found).0;
    let undone = || Some(vec![NOBODYS.to_owned()]);
    assert!(takes(&asking(), &nobodys).node && takes(&asking(), &nobodys).undo == undone(), "it keeps the host");
    let stranger = Asking { hosts: BTreeSet::new(), ..asking() };
    let (share, said) = decided(&stranger, &nobodys);
    assert!(!share.node && share.undo == Some(Vec::new()) && said.contains("--recorded-by -"), "{share:?} {said}");
    // The cluster's own authority, or its token.
    assert!(takes(&stranger, &found("line -;node -;authority ours")).node);
    assert_eq!(takes(&stranger, &member(nobodys.clone(), Some("token-a"), true)).undo, undone());
    // Another's speaks against it, whatever is kept.
    let share = takes(&asking(), &found("line -;node -;authority theirs"));
    assert!(!share.node && share.undo == Some(Vec::new()));
    let share = takes(&asking(), &member(nobodys.clone(), Some("theirs"), true));
    assert!(!share.node && share.undo == Some(Vec::new()) && !share.data);
    assert!(!takes(&asking(), &found("line -;line b-2;node b-2;member -")).undo.unwrap().contains(&NOBODYS.to_owned()));
    let named = Asking { named: vec![NOBODYS.into()], ..stranger };
    assert!(takes(&named, &nobodys).node && takes(&named, &nobodys).undo == undone());
}

#[test]
fn an_environment_that_is_named_is_taken_for_the_own_one() {
    let named = Asking { named: vec!["b-2".into(), "c-3".into()], ..asking() };
    let (share, said) = decided(&named, &found("line b-2;node b-2;authority theirs"));
    assert!(share.node && share.undo == Some(vec!["b-2".into()]) && said.is_empty(), "{said}");
}

#[test]
fn a_host_without_anything_loses_nothing() {
    let (share, said) = decided(&asking(), &Found::default());
    assert!(!share.node && share.undo == Some(Vec::new()) && said.is_empty());
    // Without a record, the authority is the proof.
    assert!(decided(&asking(), &found("authority ours")).0.node);
}

/// Runs the script on this machine, with the record and the host's own files in `dir`.
fn looked(dir: &std::path::Path) -> Found {
    let here = |text: &str| {
        let text = text.replace("/var/lib/sunshine-installer", dir.to_str().unwrap());
        text.replace("/etc/kubernetes/kubelet", &format!("{}/kubelet", dir.display()))
            .replace("/etc/kubernetes/pki", &format!("{}/pki", dir.display()))
            .replace("pgrep -x kubelet", "true")
    };
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", &format!("{}{}", here(READS_RECORD), here(LOOK))])
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    Found::parse(&String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_host_says_whose_its_node_is() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(looked(dir.path()), Found::default());
    let record = "file\t/etc/kubernetes/old\t-\nformat\t2\t-\nunit\tetcd.service\tx/y\ta-1\t0.1.0\t0\n\
                  package\tdocker-distribution.x86_64\t-\tc-3\t0.1.0\t0\nsysctl\trmem\t1\t2\t3\tc-3\t0.1.0\t0\n\
                  unit\tkubelet.service\tx/y\tb-2\t0.1.0\t0\n";
    std::fs::write(dir.path().join("record"), record).unwrap();
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let found = looked(dir.path());
    assert_eq!(found.lines, set(&["-", "a-1", "b-2", "c-3"]));
    assert_eq!((found.nodes, found.members), (set(&["-", "b-2"]), set(&["a-1"])));

    // The fingerprint that the host sees is the one that the control host has, however the certificate is wrapped.
    let root = camino::Utf8Path::from_path(dir.path()).unwrap();
    let pki = super::super::pki::Pki::new(root.join("own"), false);
    pki.authority(Purpose::Kubernetes).unwrap();
    let pem = std::fs::read_to_string(pki.authority_file(Purpose::Kubernetes)).unwrap();
    let own = pki.fingerprint(Purpose::Kubernetes).unwrap();
    std::fs::create_dir(dir.path().join("pki")).unwrap();
    std::fs::write(dir.path().join("pki/ca.crt"), pem.replace('\n', "\r\n").replace('\r', "")).unwrap();
    assert_eq!(looked(dir.path()).authorities, set(&[&own]));
    // The kubelet's own configuration comes first: YAML or JSON.
    let other = super::super::pki::Pki::new(root.join("other"), false);
    other.authority(Purpose::Kubernetes).unwrap();
    let data = STANDARD.encode(std::fs::read_to_string(other.authority_file(Purpose::Kubernetes)).unwrap());
    for text in [
        format!("clusters:\n- cluster:\n    certificate-authority-data: {data}\n    server: https://x\n"),
        format!(
            "{{\n  \"cluster\": {{\n    \"certificate-authority-data\": \"{data}\",\n    \"server\": \"x\"\n}}\n}}\n"
        ),
        format!("    certificate-authority: {}\n", other.authority_file(Purpose::Kubernetes)),
    ] {
        std::fs::write(dir.path().join("kubelet.conf"), text).unwrap();
        assert_eq!(looked(dir.path()).authorities, set(&[&other.fingerprint(Purpose::Kubernetes).unwrap()]));
    }
}

#[test]
fn a_host_holds_a_cluster_by_its_data_or_by_a_kubelet_at_work() {
    let held = |found: &Found, has_kubelet| found.held("token-a", Some("ours"), has_kubelet).is_some();
    let bare = found("line a-1;member a-1;node a-1");
    assert!(!held(&bare, true), "left by an attempt that failed");
    assert!(held(&member(bare.clone(), Some("token-a"), false), false));
    assert!(held(&member(bare.clone(), None, false), false), "it may be the cluster's");
    assert!(!held(&member(bare, Some("token-b"), true), false));
    let node = found("authority ours");
    assert!(held(&node, true) && !held(&node, false) && !held(&found("authority theirs"), true));
}
