use super::*;

#[test]
fn lines_are_read_and_odd_ones_passed_over() {
    let facts = Facts::parse(
        "id\trocky\nlike\trhel centos fedora\nmanager\tdnf\naddress\t10.8.14.200 eth0 9000\naddress\trubbish\n\
         address\tfd10::7 eth0 9000 passing\naddress\tfd10::8 eth0 9000\naddress\t10.9.0.1 eth1 -\naddress\t10.7.0.1\n\
         iptables\tno\nmtu\t1450\npath\t10.0.0.0/8 eth0 static\npath\t10.9.0.1\npath\t10.0.0.0/40 a b\npath\tx\npath\tfd10::/64 eth0 kernel\nannounced\teth0\nannounced\ta;b\nfree\t/ 100\nfree\t/var 50\ncgroup\t2\nunit\tetcd active enabled\nlisten\t2379 etcd\nlisten\t22 -\n\
         pods\tcni0 10.85.0.1/16\npods\tflannel.1 \npods\na;b\n\
         package\tetcd 0 3.4.23 1.el9\nnonsense\nunit\n",
    );
    assert_eq!(facts.package_manager, Some(PackageManager::Dnf));
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    assert_eq!(facts.addresses, ["10.8.14.200", "fd10::7", "fd10::8", "10.9.0.1", "10.7.0.1"].map(ip));
    let lasting = ["10.8.14.200", "fd10::8"].map(ip).to_vec();
    let first = facts.interface_of(ip("fd10::7")).unwrap();
    assert_eq!((first.name.as_str(), first.mtu, &first.lasting), ("eth0", Some(9000), &lasting));
    assert_eq!((facts.interface_name(ip("10.9.0.1")), facts.mtu_of(ip("10.9.0.1"))), (Some("eth1"), None));
    assert_eq!(facts.mtu_of(ip("10.7.0.1")), Some(1450), "that of the default route");
    assert_eq!(facts.disk_free_of("/var/lib/etcd"), Some(50 * 1024));
    assert_eq!(facts.disk_free_of("/opt"), Some(100 * 1024));
    assert!(facts.is_active("etcd") && !facts.firewalld());
    assert_eq!(facts.packages["etcd"].to_string(), "0:3.4.23-1.el9");
    assert_eq!((facts.route_mtu, facts.iptables_modules), (Some(1450), Some(false)));
    let route = |to: &str, interface: &str, protocol: &str| Route {
        to: to.parse().unwrap(),
        interface: interface.into(),
        protocol: protocol.into(),
    };
    let routes =
        [route("10.0.0.0/8", "eth0", "static"), route("10.9.0.1/32", "-", "-"), route("fd10::/64", "eth0", "kernel")];
    assert_eq!(facts.routes, routes);
    let interface = |name: &str, address| PodInterface { name: name.into(), address };
    let bridge = Some((Ipv4Addr::new(10, 85, 0, 1), 16));
    assert_eq!(facts.pod_interfaces, [interface("cni0", bridge), interface("flannel.1", None)]);
    assert_eq!(facts.announced_on.as_deref(), Some("eth0"), "the other one is no name");
    assert_eq!(facts.listening[0], Listening { port: 2379, process: Some("etcd".into()) });
}

#[test]
fn a_clock_that_is_no_number_is_none_and_a_slow_answer_is_no_wrong_clock() {
    assert_eq!(clock_of("id\tx\nclock\t1700000000.5\n"), Some(1_700_000_000.5));
    for lie in ["inf", "-inf", "nan", "x", ""] {
        assert_eq!(clock_of(&format!("clock\t{lie}\n")), None, "{lie}");
    }
    let facts = |clock_offset, clock_doubt| Facts { clock_offset, clock_doubt, ..Facts::default() };
    assert_eq!(facts(-3.0, 0.5).clock_wrong_by(), -2.5);
    assert_eq!(facts(3.0, 4.0).clock_wrong_by(), 0.0);
}

#[test]
fn a_size_of_packets_that_no_interface_has_is_passed_over() {
    for wrong in ["0", "-1", "70000", "x"] {
        assert_eq!(Facts::parse(&format!("mtu\t{wrong}\n")).route_mtu, None, "{wrong}");
    }
}

#[test]
fn the_script_runs_under_plain_sh() {
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", include_str!("facts.sh"), "sh", "", "", ""])
        .output()
        .unwrap();
    let facts = Facts::parse(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(facts.arch, std::env::consts::ARCH);
    assert!(facts.memory_total > 0 && facts.cpus > 0 && !facts.hostname.is_empty());
}

/// Each interface is looked for among those before it, so a hundred thousand would keep the control host busy for minutes.
#[test]
fn addresses_without_end_are_taken_up_to_a_limit() {
    let lines = (0..100_000).map(|n| format!("address\t10.{}.{}.{} eth{n} 1500\n", n >> 16, n >> 8 & 255, n & 255));
    let facts = Facts::parse(&lines.collect::<String>());
    assert_eq!((facts.addresses.len(), facts.interfaces.len()), (reading::MOST_ADDRESSES, reading::MOST_ADDRESSES));
}

#[test]
fn files_are_read_as_they_are_and_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (ours, new, site, none) = (at("ours"), at("new"), at("site"), at("none"));
    std::fs::create_dir_all(dir.path().join("record/backup")).unwrap();
    std::fs::write(&ours, "a: ü\n").unwrap();
    std::fs::write(&new, "").unwrap();
    std::fs::write(&site, "b").unwrap();
    let name = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(ours.as_bytes()));
    std::fs::write(dir.path().join("record/backup").join(name), "before").unwrap();
    std::fs::write(dir.path().join("record/record"), format!("file\t{ours}\tkept\te\nfile\t{new}\t-\te\n")).unwrap();
    let script = include_str!("facts.sh").replace("/var/lib/sunshine-installer", &at("record"));
    let files = [&ours, &new, &site, &none].map(String::as_str).join(" ");
    let output = std::process::Command::new("/bin/sh").args(["-c", &script, "sh", "", "", &files]).output().unwrap();
    let facts = Facts::parse(&String::from_utf8_lossy(&output.stdout));
    let text = |text: &str| Some(text.to_owned());
    let is = |path: &str| (facts.files[path].text.clone(), facts.files[path].before.clone());
    assert_eq!(is(&ours), (text("a: ü\n"), Some(text("before"))));
    assert_eq!((is(&new), is(&site), is(&none)), ((text(""), Some(None)), (text("b"), None), (None, None)));
    assert_eq!((facts.files[&none].mode, facts.files[&site].mode.is_some()), (None, true));
}
