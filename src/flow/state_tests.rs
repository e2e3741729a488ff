use super::*;

#[test]
fn authorities_are_set_aside_and_never_deleted() {
    use crate::flow::pki::Purpose;
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(dir.path()).unwrap();
    let mut kept = Vec::new();
    for force in [None, Some(true), Some(true)] {
        let environment = Environment::open(root, "e").unwrap();
        environment.pki().authority(Purpose::Kubernetes).unwrap();
        let key = std::fs::read(environment.dir.join("pki/kubernetes/ca.key")).unwrap();
        let aside = match force {
            None => environment.empty().unwrap(),
            Some(force) => match forget_environment(root, "e", force).unwrap() {
                Forgotten::Gone(aside) => aside,
                other => panic!("{other:?}"),
            },
        };
        assert!(!environment.dir.join("pki").exists());
        kept.push((aside.unwrap(), key));
    }
    let mode = |path: &Utf8Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for (aside, key) in &kept {
        assert!(aside.as_str().contains("/authorities/e-2"), "{aside}");
        assert_eq!(
            (&std::fs::read(aside.join("kubernetes/ca.key")).unwrap(), mode(&aside.join("kubernetes/ca.key"))),
            (key, 0o600)
        );
        assert_eq!((mode(aside), mode(&root.join("authorities"))), (0o700, 0o700));
    }
    assert_eq!(Environment::open(root, "e").unwrap().empty().unwrap(), None, "there is nothing to keep");
}

#[test]
fn lost_clusters_are_set_aside_with_their_keys_and_the_registry_stays() {
    use crate::flow::pki::Purpose;
    let dir = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(dir.path()).unwrap();
    let environment = Environment::open(root, "e").unwrap();
    let all = [Purpose::Etcd, Purpose::Kubernetes, Purpose::FrontProxy, Purpose::Registry];
    let print = |purpose| environment.pki().fingerprint(purpose);
    let before = all.map(|purpose| {
        environment.pki().authority(purpose).unwrap();
        print(purpose).unwrap()
    });
    OF_CLUSTERS.iter().for_each(|document| environment.save(document, &"kept").unwrap());
    assert_eq!(environment.set_lost_aside().unwrap(), None, "nobody has found them lost");

    let looking = Environment::look(root, "e").unwrap();
    looking.begin_anew();
    assert_eq!((looking.load::<String>("etcd").unwrap(), looking.set_lost_aside().unwrap()), (None, None));

    environment.begin_anew();
    let seen = OF_CLUSTERS.map(|document| environment.load::<String>(document).unwrap().is_some());
    assert_eq!(seen, [false, false, true, true]);
    assert_eq!(print(Purpose::Etcd).unwrap(), before[0], "nothing is moved before the plan is made");
    let aside = environment.set_lost_aside().unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(aside.join("etcd.json")).unwrap(), "\"kept\"");
    let old = Pki::new(aside.clone(), true);
    let found = all.map(|purpose| (old.fingerprint(purpose), print(purpose)));
    let of = |n: usize| Some(before[n].clone());
    assert_eq!(found, [(of(0), None), (of(1), None), (of(2), None), (None, of(3))]);
    environment.save("etcd", &"new").unwrap();
    assert_eq!(environment.load::<String>("etcd").unwrap().as_deref(), Some("new"));
    assert_eq!(environment.load::<String>("kubernetes").unwrap(), None);
}

#[test]
fn a_dry_run_reads_what_is_kept_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(dir.path()).unwrap();
    let looking = Environment::look(root, "e").unwrap();
    assert_eq!(looking.load::<String>("etcd").unwrap(), None);
    looking.save("etcd", &"new").unwrap();
    assert_eq!(std::fs::read_dir(root).unwrap().count(), 0);
    Environment::open(root, "e").unwrap().save("etcd", &"kept").unwrap();
    let looking = Environment::look(root, "e").unwrap();
    looking.save("etcd", &"new").unwrap();
    assert_eq!(looking.load::<String>("etcd").unwrap().as_deref(), Some("kept"));
}
