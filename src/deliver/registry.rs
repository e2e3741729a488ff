//! The bundle's container images as a read-only registry: the pull part of the OCI distribution specification (1.1), and
//! the list of tags.
//!
//! Clients find it in two places. containerd, told by a `hosts.toml` with `override_path`, asks under the run's token:
//! `/TOKEN/v2/pause/manifests/3.10?ns=registry.k8s.io`. Others know no path in front of `/v2/`: for them the token is the
//! first part of the name, `HOST:PORT/TOKEN/registry.k8s.io/pause:3.10`.
//!
//! A registry that is served to everybody has no token: `/v2/pause/manifests/3.10?ns=registry.k8s.io`, and
//! `HOST:PORT/registry.k8s.io/pause:3.10`.

use std::collections::{BTreeMap, HashMap, HashSet};

use hyper::StatusCode;
use payload::{Image, Reference, Sha256, blob_member};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::path;

/// What a client asked the registry for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Whether it is one.
    Version,
    /// A member, its media type and digest.
    Blob { member: String, media_type: String, digest: String },
    /// The tags of a repository, as JSON.
    Tags(String),
    /// Something that it does not have.
    No(Refusal),
}

/// An error as the specification has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    code: &'static str,
    message: &'static str,
}

impl Refusal {
    const NAME: Refusal = Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no such repository here");
    const MANIFEST: Refusal = Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "no such image here");
    const BLOB: Refusal = Refusal::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "no such blob here");
    const PATH: Refusal = Refusal::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "only pulling is supported");
    /// For any other method than GET and HEAD.
    pub(super) const METHOD: Refusal =
        Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this registry is read-only");

    const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Refusal {
        Refusal { status, code, message }
    }

    pub(super) fn body(self) -> String {
        json!({"errors": [{"code": self.code, "message": self.message, "detail": null}]}).to_string()
    }
}

/// The images, by how they are asked for.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// By registry and repository: the tags and their manifests.
    repositories: HashMap<String, BTreeMap<String, Sha256>>,
    /// Media types of manifests.
    manifests: HashMap<Sha256, String>,
    /// All blobs, manifests too.
    blobs: HashSet<Sha256>,
}

impl Registry {
    pub(super) fn new(images: &[Image]) -> Registry {
        let mut registry = Registry::default();
        for image in images {
            registry.hold(image.manifest.digest, &image.manifest.media_type, image.blobs().map(|blob| blob.digest));
            for name in &image.names {
                registry.tag(name, image.manifest.digest);
            }
        }
        registry
    }

    /// Takes in a manifest, and the blobs that belong to it.
    pub(super) fn hold(&mut self, manifest: Sha256, media_type: &str, blobs: impl IntoIterator<Item = Sha256>) {
        self.manifests.insert(manifest, media_type.to_owned());
        self.blobs.insert(manifest);
        self.blobs.extend(blobs);
    }

    /// Gives a manifest a name.
    pub(super) fn tag(&mut self, name: &Reference, manifest: Sha256) {
        self.repositories.entry(name.without_tag()).or_default().insert(name.tag().to_owned(), manifest);
    }

    /// What a request means; `None` for one that is not of the registry. Without a token everybody may ask.
    pub(super) fn asked(&self, path: &str, query: Option<&str>, token: Option<&str>) -> Option<Asked> {
        let rest = match (path.strip_prefix("/v2"), token) {
            // Says no more than that there is a registry.
            (Some("" | "/"), _) => return Some(Asked::Version),
            (Some(rest), Some(token)) => path::under(rest, token)?,
            (Some(rest), None) => rest.strip_prefix('/')?,
            (None, token) => match path::under(path, token?)?.strip_prefix("v2")? {
                "" | "/" => return Some(Asked::Version),
                rest => rest.strip_prefix('/')?,
            },
        };
        let rest = percent_decode_str(rest).decode_utf8().ok()?;
        Some(self.find(&rest, namespace(query).as_deref()).unwrap_or_else(Asked::No))
    }

    fn find(&self, rest: &str, namespace: Option<&str>) -> Result<Asked, Refusal> {
        let (rest, last) = rest.rsplit_once('/').ok_or(Refusal::PATH)?;
        let (name, kind) = rest.rsplit_once('/').ok_or(Refusal::PATH)?;
        let in_full = namespace.map(|namespace| format!("{namespace}/{name}"));
        let tags = in_full.and_then(|name| self.repositories.get(&name)).or_else(|| self.repositories.get(name));
        let tags =
            tags.ok_or(if matches!(kind, "manifests" | "blobs" | "tags") { Refusal::NAME } else { Refusal::PATH })?;
        let digest = last.strip_prefix("sha256:").and_then(|hex| hex.parse::<Sha256>().ok());
        match kind {
            "manifests" => {
                let digest = digest.or_else(|| tags.get(last).copied()).ok_or(Refusal::MANIFEST)?;
                let media_type = self.manifests.get(&digest).ok_or(Refusal::MANIFEST)?;
                Ok(blob(&digest, media_type))
            }
            "blobs" => {
                let digest = digest.filter(|digest| self.blobs.contains(digest)).ok_or(Refusal::BLOB)?;
                Ok(blob(&digest, "application/octet-stream"))
            }
            "tags" if last == "list" => {
                Ok(Asked::Tags(json!({"name": name, "tags": tags.keys().collect::<Vec<_>>()}).to_string()))
            }
            _ => Err(Refusal::PATH),
        }
    }
}

fn blob(digest: &Sha256, media_type: &str) -> Asked {
    let digest_text = format!("sha256:{digest}");
    Asked::Blob { member: blob_member(digest), media_type: media_type.to_owned(), digest: digest_text }
}

/// The registry that containerd would have asked, were there no mirror.
fn namespace(query: Option<&str>) -> Option<String> {
    let value = query?.split('&').find_map(|pair| pair.strip_prefix("ns="))?;
    percent_decode_str(value).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use payload::Blob;

    use super::*;

    const TOKEN: &str = "0123abcd";

    fn image(names: &[&str], seed: &str) -> Image {
        let blob = |what: &str, media_type: &str| Blob {
            digest: Sha256::of(format!("{seed}{what}").as_bytes()),
            size: 1,
            media_type: media_type.into(),
        };
        Image {
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            manifest: blob("manifest", "application/vnd.oci.image.manifest.v1+json"),
            config: blob("config", "application/vnd.oci.image.config.v1+json"),
            layers: vec![blob("layer", "application/vnd.oci.image.layer.v1.tar+gzip")],
            unpacked: 1,
        }
    }

    fn registry() -> Registry {
        Registry::new(&[
            image(&["registry.k8s.io/pause:3.10", "registry.k8s.io/pause:latest"], "pause"),
            image(&["busybox"], "busybox"),
        ])
    }

    fn ask(path: &str, query: Option<&str>) -> Option<Asked> {
        registry().asked(path, query, Some(TOKEN))
    }

    #[test]
    fn an_image_is_found_by_both_addresses_by_tag_and_digest() {
        let pause = Sha256::of(b"pausemanifest");
        let expected = Some(blob(&pause, "application/vnd.oci.image.manifest.v1+json"));
        for reference in ["3.10".to_owned(), "latest".to_owned(), format!("sha256:{pause}")] {
            let by_mirror = format!("/{TOKEN}/v2/pause/manifests/{reference}");
            assert_eq!(ask(&by_mirror, Some("ns=registry.k8s.io")), expected);
            let by_name = format!("/v2/{TOKEN}/registry.k8s.io/pause/manifests/{reference}");
            assert_eq!(ask(&by_name, None), expected);
        }
        let layer = Sha256::of(b"busyboxlayer");
        let path = format!("/{TOKEN}/v2/library/busybox/blobs/sha256:{layer}");
        assert_eq!(ask(&path, Some("a=b&ns=docker%2Eio")), Some(blob(&layer, "application/octet-stream")));
        let tags = ask(&format!("/v2/{TOKEN}/registry.k8s.io/pause/tags/list"), None);
        assert_eq!(tags, Some(Asked::Tags(r#"{"name":"registry.k8s.io/pause","tags":["3.10","latest"]}"#.into())));
    }

    #[test]
    fn what_is_not_there_is_refused_as_the_specification_says() {
        let absent = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
        for (path, refusal) in [
            ("registry.k8s.io/none/manifests/3.10", Refusal::NAME),
            ("registry.k8s.io/pause/manifests/4", Refusal::MANIFEST),
            (&format!("registry.k8s.io/pause/manifests/{absent}"), Refusal::MANIFEST),
            (&format!("registry.k8s.io/pause/blobs/{absent}"), Refusal::BLOB),
            ("registry.k8s.io/pause/blobs/sha256:zz", Refusal::BLOB),
            ("registry.k8s.io/pause/blobs/uploads/", Refusal::PATH),
            ("registry.k8s.io/pause/tags/x", Refusal::PATH),
            ("x", Refusal::PATH),
            ("../../etc/passwd", Refusal::PATH),
        ] {
            assert_eq!(ask(&format!("/v2/{TOKEN}/{path}"), None), Some(Asked::No(refusal)), "{path}");
        }
    }

    #[test]
    fn without_the_token_there_is_nothing_but_the_version() {
        assert_eq!(ask("/v2/", None), Some(Asked::Version));
        assert_eq!(ask(&format!("/{TOKEN}/v2/"), None), Some(Asked::Version));
        for path in ["/v2/registry.k8s.io/pause/manifests/3.10", "/v2/0123abce/registry.k8s.io/pause/manifests/3.10"] {
            assert_eq!(ask(path, None), None);
        }
        assert_eq!(ask(&format!("/{TOKEN}/rpms/a.rpm"), None), None);
    }

    #[test]
    fn a_registry_without_a_token_is_open_to_everybody() {
        let ask = |path: &str, query| registry().asked(path, query, None);
        let pause = Sha256::of(b"pausemanifest");
        let expected = Some(blob(&pause, "application/vnd.oci.image.manifest.v1+json"));
        assert_eq!(ask("/v2/pause/manifests/3.10", Some("ns=registry.k8s.io")), expected);
        assert_eq!(ask("/v2/registry.k8s.io/pause/manifests/3.10", None), expected);
        assert_eq!(ask("/v2/", None), Some(Asked::Version));
        assert_eq!(ask("/v2/pause/manifests/3.10", Some("ns=quay.io")), Some(Asked::No(Refusal::NAME)));
        for path in ["/", "/v2x", "/pause/manifests/3.10", "/rpms/a.rpm"] {
            assert_eq!(ask(path, None), None, "{path}");
        }
    }
}
