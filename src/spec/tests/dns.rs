//! The site's own domains in a file: read, kept, shown, and refused by line.

use super::super::*;
use super::{WHOLE, environment, folder, problems, read_in};
use crate::host::TargetDefaults;

#[test]
fn stub_domains_are_read_kept_and_shown() {
    let (_dir, root) = folder();
    let set = "kubernetes:\n  dns:\n    stubDomains:\n      Corp.Example: [10.1.0.53, 'fd00::53']\n      10.in-addr.arpa: [10.1.0.53]\n";
    let described = read_in(&format!("{WHOLE}{set}"), &root, &TargetDefaults::default()).unwrap();
    let domains = described.spec.kubernetes.unwrap().settings.stub_domains;
    assert_eq!(domains.keys().collect::<Vec<_>>(), ["10.in-addr.arpa", "corp.example"]);
    assert_eq!(domains["corp.example"].len(), 2);

    let environment = environment(&root);
    let mut cluster = crate::flow::kubernetes::Cluster::load(&environment).unwrap().unwrap();
    assert!(!serde_json::to_string(&cluster).unwrap().contains("stub_domains"), "earlier versions read it");
    cluster.settings.stub_domains = domains.clone();
    cluster.save(&environment).unwrap();
    let shown = to_yaml(&stored(&environment).unwrap().unwrap());
    // The key of the state is not there to be read.
    let again = read_in(&shown.replace("    keyFile: /k\n", ""), &root, &TargetDefaults::default()).unwrap();
    assert_eq!(again.spec.kubernetes.unwrap().settings.stub_domains, domains, "{shown}");
}

#[test]
fn what_cannot_be_a_stub_domain_is_refused() {
    let text = format!(
        "{WHOLE}kubernetes:
  clusterDomain: k8s.corp.example
  dns:
    stubDomains:
      a b: [10.1.0.53]
      'x.example {{ whoami }}': [10.1.0.53]
      one.example: 10.1.0.53
      two.example: []
      three.example: [ns.example, 127.0.0.53]
      corp.example: [10.1.0.53]
      svc.k8s.corp.example: [10.1.0.53]
      Four.example: [10.1.0.53]
      four.example: [10.1.0.53]
"
    );
    let found = problems(&text);
    for wanted in [
        "kubernetes.dns.stubDomains.a b: \"a b\" is not a DNS name",
        "kubernetes.dns.stubDomains.x.example { whoami }: \"x.example { whoami }\" is not a DNS name",
        "kubernetes.dns.stubDomains.one.example: \"10.1.0.53\" is not a list",
        "kubernetes.dns.stubDomains.two.example: the list is empty",
        "kubernetes.dns.stubDomains.three.example[0]: \"ns.example\" is not an IP address",
        "kubernetes.dns.stubDomains.three.example: 127.0.0.53 is no name server that pods can reach",
        "kubernetes.dns.stubDomains.corp.example: names of the cluster's own domain, k8s.corp.example, would be asked",
        "kubernetes.dns.stubDomains.svc.k8s.corp.example: names of the cluster's own domain",
        "kubernetes.dns.stubDomains.four.example: is given twice",
    ] {
        assert!(found.iter().any(|problem| problem.contains(wanted)), "{wanted}: {found:#?}");
    }
}
