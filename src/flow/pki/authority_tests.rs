use std::os::unix::fs::PermissionsExt;

use super::*;

fn request(dns: &str) -> CertRequest {
    CertRequest {
        name: "m1".into(),
        common_name: "m1".into(),
        organizations: vec!["system:masters".into()],
        dns: vec![dns.into()],
        ips: vec!["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
        usage: Usage::Both,
    }
}

fn authority() -> (tempfile::TempDir, Authority) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8Path::from_path(dir.path()).unwrap().join("pki/etcd");
    let authority = Authority::open_or_create(&path, "test ca").unwrap();
    (dir, authority)
}

#[test]
fn the_same_request_gives_the_same_certificate_and_another_a_new_one() {
    let (_keep, ca) = authority();
    let first = ca.issue(&request("a")).unwrap();
    let again = Authority::open_or_create(&ca.dir, "ignored").unwrap().issue(&request("a")).unwrap();
    assert_eq!(first.cert, again.cert);
    assert_eq!(first.key.expose(), again.key.expose());
    assert_ne!(first.cert, ca.issue(&request("b")).unwrap().cert);
}

fn named(name: &str) -> CertRequest {
    CertRequest { name: name.into(), common_name: name.into(), ..request(name) }
}

#[test]
fn names_that_differ_behind_a_dot_do_not_share_files() {
    let (_keep, ca) = authority();
    let (a, b) = (ca.issue(&named("node.a")).unwrap(), ca.issue(&named("node.b")).unwrap());
    assert_ne!(a.cert, b.cert);
    assert_eq!(ca.issue(&named("node.a")).unwrap().cert, a.cert, "made anew: the files were another's");
    assert_eq!(ca.issue(&named("node.b")).unwrap().cert, b.cert);
    let names: Vec<String> = kept(ca.dir.parent().unwrap()).into_iter().map(|kept| kept.name).collect();
    assert!(names.contains(&"etcd/node.a".to_owned()) && names.contains(&"etcd/node.b".to_owned()), "{names:?}");
}

#[test]
fn a_certificate_under_a_cut_name_is_still_used() {
    let (_keep, ca) = authority();
    let made = ca.issue(&named("node.a")).unwrap();
    for ending in ["crt", "key", "for"] {
        let (whole, cut) = (ca.dir.join(format!("node.a.{ending}")), ca.dir.join(format!("node.{ending}")));
        std::fs::rename(whole, cut).unwrap();
    }
    assert_eq!(ca.issue(&named("node.a")).unwrap().cert, made.cert);
    assert!(ca.dir.join("node.a.crt").is_file() && !ca.dir.join("node.crt").exists());
}

#[test]
fn renewal_makes_new_ones_under_the_same_authority() {
    let (_keep, ca) = authority();
    let first = ca.issue(&request("a")).unwrap();
    ca.forget_issued().unwrap();
    assert_ne!(first.cert, ca.issue(&request("a")).unwrap().cert);
}

#[test]
fn keys_are_private_and_certificates_hold_what_was_asked() {
    let (_keep, ca) = authority();
    let made = ca.issue(&request("host.example")).unwrap();
    for name in ["ca.key", "m1.key"] {
        let mode = std::fs::metadata(ca.dir.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let (_, pem) = x509_parser::pem::parse_x509_pem(made.cert.as_bytes()).unwrap();
    let cert = pem.parse_x509().unwrap();
    let san = format!("{:?}", cert.subject_alternative_name().unwrap().unwrap().value);
    assert!(san.contains("host.example") && cert.subject().to_string().contains("O=system:masters"));
    assert!(is_fresh(&made.cert));
}

/// Kubernetes 1.5 reads RSA in PKCS#8, and elliptic keys only in SEC 1.
#[test]
fn a_lasting_key_is_of_the_kind_asked_for_and_made_once() {
    let (_keep, ca) = authority();
    for (name, kind, rsa) in [("ec", KeyKind::Elliptic, false), ("rsa", KeyKind::Rsa, true)] {
        let made = ca.lasting_key(name, kind).unwrap();
        assert!(
            made.key.expose().starts_with("-----BEGIN PRIVATE KEY") && made.cert.starts_with("-----BEGIN PUBLIC KEY")
        );
        let (_, pem) = x509_parser::pem::parse_x509_pem(made.cert.as_bytes()).unwrap();
        assert_eq!(pem.contents.len() > 256, rsa, "the modulus alone has 256 bytes");
        assert!(ca.lasting_key(name, kind).unwrap().key == made.key && ca.kept_lasting_key(name).unwrap().is_some());
    }
}

#[test]
fn a_damaged_authority_is_named_not_replaced() {
    let (_keep, ca) = authority();
    std::fs::write(ca.dir.join("ca.key"), "rubbish").unwrap();
    let error = Authority::open_or_create(&ca.dir, "x").unwrap_err().to_string();
    assert!(error.contains("ca.key"), "{error}");
}
