//! CoreDNS' configuration, with server blocks for the site's own domains between two comments; what else is in it stays
//! (CoreDNS manual, "Configuration" and the plugin "forward").

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Domains of the site, each with its name servers.
pub(super) type StubDomains = BTreeMap<String, Vec<IpAddr>>;

const BEGIN: &str = "# Begin of the stub domains of sunshine-installer: what is written here is lost.";
const END: &str = "# End of the stub domains of sunshine-installer.";

/// The configuration with server blocks for these domains, and for no others that were written before.
///
/// # Errors
/// A sentence, where it has a server block of somebody else's for one of them, or a comment of ours has lost its other.
pub(super) fn with_stub_domains(corefile: &str, domains: &StubDomains) -> Result<String, String> {
    let mut text = without_ours(corefile)?;
    if let Some(zone) = zones(&text).find(|zone| domains.contains_key(zone)) {
        return Err(format!("it has a server block for {zone} already"));
    }
    if domains.is_empty() {
        return Ok(text);
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(BEGIN);
    text.push('\n');
    for (domain, servers) in domains {
        let servers: Vec<String> = servers.iter().map(|ip| SocketAddr::new(*ip, 53).to_string()).collect();
        text.push_str(&format!("{domain}:53 {{\n    errors\n    cache 30\n    forward . {}\n}}\n", servers.join(" ")));
    }
    text.push_str(END);
    text.push('\n');
    Ok(text)
}

fn without_ours(corefile: &str) -> Result<String, String> {
    let mut kept = String::with_capacity(corefile.len());
    let mut within = false;
    for line in corefile.split_inclusive('\n') {
        match line.trim() {
            BEGIN if !within => within = true,
            END if within => within = false,
            BEGIN | END => return Err(format!("the comment {:?} stands there alone", line.trim())),
            _ if !within => kept.push_str(line),
            _ => {}
        }
    }
    if within { Err(format!("the comment {BEGIN:?} stands there alone")) } else { Ok(kept) }
}

/// The zones that have a server block, without port and last dot.
fn zones(corefile: &str) -> impl Iterator<Item = String> {
    let mut open = 0_usize;
    let lines = corefile.lines().filter_map(move |line| {
        let line = line.split('#').next().unwrap_or_default();
        let heading = (open == 0).then(|| line.split('{').next().unwrap_or_default());
        open = (open + line.matches('{').count()).saturating_sub(line.matches('}').count());
        heading
    });
    lines.flat_map(|heading| heading.split(|c: char| c.is_whitespace() || c == ',')).map(|word| {
        let zone = word.split_once("://").map_or(word, |(_, zone)| zone);
        let zone = zone.split_once(':').map_or(zone, |(zone, _)| zone);
        zone.trim_end_matches('.').to_ascii_lowercase()
    })
}

/// The same for the Corefile in a manifest, a block of YAML as CoreDNS' own manifests have it.
///
/// # Errors
/// As [`with_stub_domains`].
pub(super) fn in_manifest(manifest: &str, domains: &StubDomains) -> Result<String, String> {
    let lines: Vec<&str> = manifest.split_inclusive('\n').collect();
    let Some(heading) = lines.iter().position(|line| is_heading(line)) else { return Ok(manifest.to_owned()) };
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let is_blank = |line: &str| line.trim().is_empty();
    let outer = indent(lines[heading]);
    let body = &lines[heading + 1..];
    let length = body.iter().position(|line| !is_blank(line) && indent(line) <= outer).unwrap_or(body.len());
    // Empty lines before what follows are not the block's.
    let length = body[..length].iter().rposition(|line| !is_blank(line)).map_or(0, |last| last + 1);
    let inner = body[..length].iter().find(|line| !is_blank(line)).map_or(outer + 2, |line| indent(line));
    let of_block =
        |line: &&str| if is_blank(line) { "\n".to_owned() } else { line[inner.min(indent(line))..].to_owned() };
    let corefile: String = body[..length].iter().map(of_block).collect();
    let corefile = with_stub_domains(&corefile, domains)?;
    let mut text = lines[..=heading].concat();
    for line in corefile.split_inclusive('\n') {
        // What is of blanks alone is empty, or it would be something else when it is read again.
        if is_blank(line) {
            text.push('\n');
        } else {
            text.push_str(&" ".repeat(inner));
            text.push_str(line);
        }
    }
    text.push_str(&body[length..].concat());
    Ok(text)
}

/// Whether a manifest has a Corefile that [`in_manifest`] finds.
pub(super) fn is_in(manifest: &str) -> bool {
    manifest.lines().any(is_heading)
}

fn is_heading(line: &str) -> bool {
    line.trim().strip_prefix("Corefile:").is_some_and(|rest| matches!(rest.trim(), "|" | "|-" | "|+"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_blanks_is_the_same_when_it_is_read_again() {
        let domains = StubDomains::from([("corp.example".to_owned(), vec![std::net::IpAddr::from([10, 1, 0, 53])])]);
        for manifest in ["data:\n  Corefile: |\n    .:53 {\n     \n    }\n", "Corefile: |\n  \n .:53 {\n }\n"] {
            let once = in_manifest(manifest, &domains).unwrap();
            assert_eq!(in_manifest(&once, &domains).unwrap(), once);
        }
    }

    fn domains(of: &[(&str, &[&str])]) -> StubDomains {
        let servers = |ips: &[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
        of.iter().map(|(domain, ips)| ((*domain).to_owned(), servers(ips))).collect()
    }

    const COREFILE: &str = ".:53 {\n    errors\n    kubernetes cluster.local {\n       pods insecure\n    }\n    reload\n}\nown.example {\n    whoami\n}\n";

    #[test]
    fn blocks_are_written_changed_and_taken_out_and_the_rest_stays() {
        let two = domains(&[("corp.example", &["10.1.0.53", "fd00::53"]), ("lab.example", &["10.2.0.53"])]);
        let with = with_stub_domains(COREFILE, &two).unwrap();
        insta::assert_snapshot!(with);
        assert_eq!(with_stub_domains(&with, &two).unwrap(), with, "again nothing changes");
        let behind = format!("{with}later.example {{\n    whoami\n}}\n");
        let one = with_stub_domains(&behind, &domains(&[("corp.example", &["10.9.0.53"])])).unwrap();
        assert!(
            one.contains("forward . 10.9.0.53:53\n") && one.contains("later.example {") && !one.contains("lab.example")
        );
        assert_eq!(with_stub_domains(&with, &StubDomains::new()).unwrap(), COREFILE);
    }

    #[test]
    fn what_the_site_wrote_for_the_same_domain_is_named() {
        for own in
            ["corp.example {\n", "a.example, Corp.Example. {\n", "dns://corp.example:53 {\n", "corp.example:5353 b {\n"]
        {
            let corefile = format!("{COREFILE}{own}    forward . 10.7.0.53\n}}\n");
            let error = with_stub_domains(&corefile, &domains(&[("corp.example", &["10.1.0.53"])])).unwrap_err();
            assert_eq!(error, "it has a server block for corp.example already", "{own}");
        }
        let cut = "corp.example\r";
        assert!(with_stub_domains(cut, &domains(&[("corp.example", &["10.1.0.53"])])).is_err());
        let inside = "# corp.example {\n.:53 {\n    rewrite name corp.example {\n    }\n}\n";
        assert!(with_stub_domains(inside, &domains(&[("corp.example", &["10.1.0.53"])])).is_ok());
    }

    #[test]
    fn a_comment_without_its_other_is_no_reason_to_delete() {
        let with = with_stub_domains(COREFILE, &domains(&[("corp.example", &["10.1.0.53"])])).unwrap();
        for broken in [with.replace(END, ""), with.replace(BEGIN, ""), with.replace(END, BEGIN)] {
            assert!(
                with_stub_domains(&broken, &StubDomains::new()).unwrap_err().contains("stands there alone"),
                "{broken}"
            );
        }
    }

    #[test]
    fn the_corefile_of_a_manifest_is_found() {
        let manifest = "kind: ConfigMap\ndata:\n  Corefile: |\n    .:53 {\n        errors\n\n        reload\n    }\n\n---\nkind: Service\n";
        let one = domains(&[("corp.example", &["10.1.0.53"])]);
        let with = in_manifest(manifest, &one).unwrap();
        insta::assert_snapshot!(with);
        assert_eq!(in_manifest(&with, &one).unwrap(), with);
        assert_eq!(in_manifest(&with, &StubDomains::new()).unwrap(), manifest);
        assert_eq!(in_manifest("kind: Pod\n", &one).unwrap(), "kind: Pod\n");
        let last = "data:\n  Corefile: |-\n    .:53 {\n    }";
        assert!(in_manifest(last, &one).unwrap().contains("    }\n    # Begin"));
        assert!(is_in(manifest) && !is_in("data: {Corefile: x}\n"));
    }
}
