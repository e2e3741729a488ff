//! The site's own domains, which pods find by name servers of the site: in the configuration of kubeadm's CoreDNS. Where DNS is
//! an addon of the bundle, they are in its manifest before that is applied.

use serde_json::json;

use crate::flow::error::FlowError;
use crate::host::Command;
use crate::plan::{Check, Cx, Step, StepError, Work};

use super::component::{Component, On};
use super::corefile::{self, StubDomains, with_stub_domains};
use super::drain::Access;
use super::endpoint;
use super::manifest::Manifest;
use super::nameserver::{COREDNS, LOOK};

const HELP: &str = "repair it: `kubectl -n kube-system edit configmap coredns`; or leave that domain out of kubernetes.dns.stubDomains";

/// The component, on the host that publishes what the whole cluster is to know. Once a cluster has had some, it is looked for
/// them: those that are gone from its description are taken out.
pub(super) struct SiteDomains;

impl Component for SiteDomains {
    fn is_on(&self, on: &On<'_>) -> bool {
        let has = on.cluster.had_stub_domains || !on.cluster.settings.stub_domains.is_empty();
        has && on.publishes && on.control_plane().is_some()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let Some(machine) = on.control_plane() else { return Vec::new() };
        let access = Access { pki: on.keys.pki().clone(), cluster: on.cluster.clone(), force: false };
        let domains = on.cluster.settings.stub_domains.clone();
        let work = Written { access, server: endpoint::of_machine(machine), domains };
        let title = "let CoreDNS forward the site's own domains to its name servers";
        vec![on.step("dns.stub-domains", title, work).after(on.waits.api.iter().cloned())]
    }
}

/// CoreDNS' configuration has these domains, and no others of ours.
#[derive(Debug)]
struct Written {
    access: Access,
    /// The host's own API server.
    server: String,
    domains: StubDomains,
}

impl Written {
    fn wanted(&self, is: &str) -> Result<Option<String>, StepError> {
        let wanted = with_stub_domains(is, &self.domains);
        let wanted = wanted.map_err(|why| StepError::with_help(format!("CoreDNS' Corefile: {why}"), HELP))?;
        // What a host says comes without the last end of a line.
        Ok(Some(wanted).filter(|wanted| wanted.trim_end() != is.trim_end()))
    }

    fn change(&self) -> String {
        let domains: Vec<&str> = self.domains.keys().map(String::as_str).collect();
        match domains.as_slice() {
            [] => "forward no domains of the site".to_owned(),
            domains => format!("forward {}", domains.join(", ")),
        }
    }
}

impl Work for Written {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        // Before there is a cluster only the host can be asked.
        let look = Command::script(LOOK).arg(&self.server).label("kubectl get configmap coredns");
        let said = cx.host()?.run(&look)?;
        let is_so = said.ok() && self.wanted(&said.text())?.is_none();
        Ok(if is_so { Check::Satisfied } else { Check::Needed(vec![self.change()]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let map = self.access.api(cx)?.get(COREDNS)?;
        if let Some(corefile) = self.wanted(map["data"]["Corefile"].as_str().unwrap_or_default())? {
            self.access.api(cx)?.patch(COREDNS, &json!({"data": {"Corefile": corefile}}))?;
        }
        Ok(())
    }
}

/// Whether domains of the site can take effect where DNS is an addon of the bundle.
pub(super) fn check_addons(manifests: &[Manifest], domains: &StubDomains) -> Result<(), FlowError> {
    let field = "kubernetes.dns.stubDomains";
    let mut has_corefile = false;
    for manifest in manifests {
        let text = String::from_utf8_lossy(manifest.content());
        has_corefile |= corefile::is_in(&text);
        corefile::in_manifest(&text, domains).map_err(|why| {
            FlowError::request_with_help(
                format!("{field}: the Corefile in {}: {why}", manifest.name),
                "take it out of the addon, or out of the field",
            )
        })?;
    }
    if has_corefile || domains.is_empty() {
        return Ok(());
    }
    Err(FlowError::request_with_help(
        format!(
            "{field}: it has no effect, for no addon of the bundle has the configuration of CoreDNS (`Corefile: |`)"
        ),
        "put CoreDNS into the bundle (`bundle repack --addon dns=FILE`), or leave the field away",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_need_a_corefile_among_the_addons() {
        let domains: StubDomains = [("corp.example".to_owned(), vec!["10.1.0.53".parse().unwrap()])].into();
        let refused = check_addons(&[Manifest::new("web.yaml", "kind: Pod\n".into())], &domains).unwrap_err();
        assert!(refused.to_string().contains("it has no effect"), "{refused}");
        check_addons(&[], &StubDomains::new()).unwrap();
        let dns =
            |corefile: &str| [Manifest::new("dns.yaml", format!("data:\n  Corefile: |\n    {corefile} {{\n    }}\n"))];
        check_addons(&dns(".:53"), &domains).unwrap();
        let refused = check_addons(&dns("corp.example"), &domains).unwrap_err().to_string();
        assert!(
            refused.contains("the Corefile in dns.yaml: it has a server block for corp.example already"),
            "{refused}"
        );
    }
}
