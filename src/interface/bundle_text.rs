//! What the bundle's commands print: lines for people, JSON for programs.

use std::collections::BTreeMap;
use std::io;

use camino::Utf8Path;
use indicatif::HumanBytes;
use payload::{Bundle, FOOTER_SIZE, Image, Member, MemberKind, Parts, Reference, VerifyKey, Written};
use serde_json::{Value, json};

use super::bundle::Console;

/// Prints one or the other.
fn say(console: &mut Console<'_>, json: &Value, lines: &str) -> io::Result<()> {
    if console.json { writeln!(console.out, "{json}") } else { writeln!(console.out, "{lines}") }
}

/// Members and bytes of each kind.
fn kinds(members: &[Member]) -> BTreeMap<String, (u64, u64)> {
    let mut kinds = BTreeMap::new();
    for member in members {
        let (count, size) = kinds.entry(member.kind.to_string()).or_insert((0, 0));
        *count += 1;
        *size += member.size;
    }
    kinds
}

pub(super) fn info(bundle: &Bundle, console: &mut Console<'_>) -> io::Result<()> {
    let (manifest, footer) = (bundle.manifest(), bundle.footer());
    let size = footer.manifest.offset + footer.manifest.size + FOOTER_SIZE;
    let tail_from = footer.archive.offset + 1;
    let kinds = kinds(&manifest.members);
    let packages = manifest.package_counts();
    let json = json!({
        "path": bundle.path(), "extracted": bundle.is_folder(), "product": manifest.product,
        "product_version": manifest.product_version, "format": manifest.format, "arch": manifest.arch, "size": size,
        "deployer": manifest.deployer, "newest_input": manifest.newest_input,
        "archive": {"offset": footer.archive.offset, "size": footer.archive.size, "tail_from": tail_from},
        "manifest": {"offset": footer.manifest.offset, "size": footer.manifest.size, "sha256": footer.manifest_sha256},
        "members": kinds.iter().map(|(kind, (count, size))| (kind.clone(), json!({"count": count, "size": size})))
            .collect::<serde_json::Map<_, _>>(),
        "packages": packages.iter().map(|(platform, count)| (platform.unwrap_or("all").to_owned(), json!(count)))
            .collect::<serde_json::Map<_, _>>(),
        "signed": !footer.signature.is_empty(), "pinned_key": bundle.pinned_key(),
    });
    let members = kinds.iter().map(|(kind, (n, size))| format!("{n} {kind} ({})", HumanBytes(*size)));
    let signature = match (footer.signature.is_empty(), bundle.pinned_key()) {
        (true, None) => "none".to_owned(),
        (true, Some(key)) => format!("missing, and key {key} is pinned: it will not deploy until it is signed"),
        (false, None) => "there (check it: bundle verify --pubkey KEY)".to_owned(),
        (false, Some(key)) => format!("there, of pinned key {key} (check it: bundle verify)"),
    };
    let place = if bundle.is_folder() { "extracted to " } else { "" };
    let mut lines = vec![
        format!("product    {} {} for {}", manifest.product, manifest.product_version, manifest.arch),
        format!("bundle     {place}{}, {} bytes, format {}", bundle.path(), size, manifest.format),
        format!("deployer   {} bytes, sha256 {}", manifest.deployer.size, manifest.deployer.sha256),
        format!("archive    {} bytes, from byte {tail_from}: tail -c +{tail_from} FILE | tar tv", footer.archive.size),
        format!("manifest   sha256 {}", footer.manifest_sha256),
        format!("members    {}", members.collect::<Vec<_>>().join(", ")),
        format!("signature  {signature}"),
    ];
    if packages.len() > 1 {
        let packages =
            packages.iter().map(|(platform, count)| format!("{count} for {}", platform.unwrap_or("all hosts")));
        lines.insert(6, format!("packages   {}", packages.collect::<Vec<_>>().join(", ")));
    }
    say(console, &json, &lines.join("\n"))
}

pub(super) fn list(bundle: &Bundle, console: &mut Console<'_>) -> io::Result<()> {
    let members = &bundle.manifest().members;
    if console.json {
        return writeln!(console.out, "{}", json!(members));
    }
    members.iter().try_for_each(|m| writeln!(console.out, "{:9} {:>12}  {}", m.kind, m.size, m.name))
}

/// The images of the layout: their sizes, digests and names.
pub(super) fn images(images: &[Image], console: &mut Console<'_>) -> io::Result<()> {
    if console.json {
        let image = |image: &Image| {
            json!({
                "names": image.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "digest": format!("sha256:{}", image.manifest.digest), "size": image.size(),
                "unpacked": image.unpacked,
            })
        };
        return writeln!(console.out, "{}", images.iter().map(image).collect::<Value>());
    }
    images.iter().try_for_each(|image| {
        image.names.iter().try_for_each(|name| {
            writeln!(console.out, "{:>12}  sha256:{}  {name}", image.size(), image.manifest.digest)
        })
    })
}

pub(super) fn verified(bundle: &Bundle, comment: Option<&str>, console: &mut Console<'_>) -> io::Result<()> {
    let checked = comment.is_some() || bundle.pinned_key().is_some();
    let bytes = bundle.verify_size();
    let members = bundle.manifest().members.len();
    let json = json!({
        "path": bundle.path(), "intact": true, "bytes": bytes, "members": members,
        "signature": if checked { "holds" } else if bundle.footer().signature.is_empty() { "none" } else { "not checked" },
        "comment": comment,
    });
    let mut lines = format!("{}: intact, {members} members, {bytes} bytes", bundle.path());
    if checked {
        lines.push_str("\nthe signature holds");
    }
    if let Some(comment) = comment.filter(|c| !c.is_empty()) {
        lines.push_str(&format!(": {comment}"));
    }
    say(console, &json, &lines)
}

pub(super) fn extracted(
    bundle: &Bundle,
    dir: &Utf8Path,
    only: Option<&[&Member]>,
    console: &mut Console<'_>,
) -> io::Result<()> {
    let count = only.map_or(bundle.manifest().members.len(), <[_]>::len);
    let json = json!({"dir": dir, "members": count, "complete": only.is_none()});
    let lines = match only {
        Some(_) => format!("{dir}: {count} members"),
        None => format!("{dir}: {count} members; {dir}/{} does all that the bundle does", payload::folder::DEPLOYER),
    };
    say(console, &json, &lines)
}

pub(super) fn repacked(path: &Utf8Path, written: &Written, console: &mut Console<'_>) -> io::Result<()> {
    let manifest = &written.manifest;
    let json = json!({"path": path, "size": written.size, "members": manifest.members.len(), "pinned_key": manifest.pinned_key});
    let mut lines = format!("{path}: {}, {} members", HumanBytes(written.size), manifest.members.len());
    if manifest.pinned_key.is_some() {
        lines.push_str("\nnote: a key is pinned: the new bundle will not deploy until it is signed (bundle sign)");
    }
    say(console, &json, &lines)
}

pub(super) fn split(bundle: &Bundle, parts: &Parts, console: &mut Console<'_>) -> io::Result<()> {
    let json = json!({"path": bundle.path(), "parts": parts.parts, "script": parts.script});
    let mut lines: String = parts.parts.iter().map(|part| format!("{part}\n")).collect();
    lines.push_str(&format!(
        "{}\ncopy these {} files to one folder on the other side, then: sh {}",
        parts.script,
        parts.parts.len() + 1,
        parts.script.file_name().unwrap_or_default(),
    ));
    say(console, &json, &lines)
}

pub(super) fn signed(bundle: &Bundle, key: &VerifyKey, console: &mut Console<'_>) -> io::Result<()> {
    let json = json!({"path": bundle.path(), "public_key": key.to_base64()});
    say(console, &json, &format!("{}: signed; the public key is {}", bundle.path(), key.to_base64()))
}

/// CycloneDX 1.5, without time and serial number: the same bundle gives the same document.
pub(super) fn sbom(bundle: &Bundle, images: &[Image], console: &mut Console<'_>) -> io::Result<()> {
    let manifest = bundle.manifest();
    let members = manifest.members.iter().filter(|m| m.kind != MemberKind::Repodata).map(component);
    let images = images.iter().flat_map(|image| image.names.iter().map(|name| container(image, name)));
    let components: Vec<Value> = members.chain(images).collect();
    let document = json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": {
            "type": "application", "bom-ref": manifest.product, "name": manifest.product,
            "version": manifest.product_version,
            "hashes": [{"alg": "SHA-256", "content": manifest.deployer.sha256}],
        }},
        "components": components,
    });
    writeln!(console.out, "{document:#}")
}

/// An image under one of its names (package-url, type "oci").
fn container(image: &Image, name: &Reference) -> Value {
    let digest = image.manifest.digest;
    let repository = name.without_tag();
    let short = repository.rsplit('/').next().unwrap_or_default();
    json!({
        "type": "container", "bom-ref": name.to_string(), "name": repository, "version": name.tag(),
        "purl": format!("pkg:oci/{short}@sha256%3A{digest}?repository_url={repository}&tag={}", name.tag()),
        "hashes": [{"alg": "SHA-256", "content": digest}],
    })
}

fn component(member: &Member) -> Value {
    let hashes = json!([{"alg": "SHA-256", "content": member.sha256}]);
    match &member.rpm {
        Some(id) => {
            let epoch = if id.epoch == 0 { String::new() } else { format!("&epoch={}", id.epoch) };
            let distro = member.platform().map(|platform| format!("&distro={platform}")).unwrap_or_default();
            json!({
                "type": "library", "bom-ref": member.name, "name": id.name,
                "version": format!("{}-{}", id.version, id.release),
                "purl": format!("pkg:rpm/{}@{}-{}?arch={}{distro}{epoch}", id.name, id.version, id.release, id.arch),
                "hashes": hashes,
            })
        }
        None => json!({"type": "file", "bom-ref": member.name, "name": member.name, "hashes": hashes}),
    }
}
