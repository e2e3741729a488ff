//! Images pulled from their registries, on a builder that is online: they become one OCI image layout, which goes into the bundle
//! as any other. What the folder has already is not pulled again; half a blob is continued.

use std::time::Duration;

use camino::Utf8Path;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use futures_util::TryStreamExt;
use oci_client::client::{BlobResponse, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use payload::Sha256;
use payload::oci::{self, Document};
use serde_json::{Value, json};

use crate::download::Download;

/// What is asked for: an image, or an index of one for several platforms.
const ACCEPTED: [&str; 4] = [oci::MANIFEST, oci::DOCKER_MANIFEST, oci::INDEX, oci::DOCKER_LIST];

/// Why an image could not be pulled.
#[derive(Debug)]
pub(crate) struct NotPulled {
    pub(crate) name: String,
    pub(crate) why: String,
    /// The network or the disk failed, not the name.
    pub(crate) machine: bool,
}

/// An image to pull.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Its name in the bundle.
    pub(crate) name: payload::Reference,
    /// Its name where it is pulled from.
    pub(crate) from: payload::Reference,
    /// What its manifest must have; without it, what the tag is for at this moment.
    pub(crate) digest: Option<String>,
}

/// How registries are reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    /// Registries that are spoken to without TLS; those of this machine need not be named.
    pub(crate) plain: Vec<String>,
    pub(crate) proxy: Option<String>,
}

/// An image that was pulled.
#[derive(Debug)]
pub(crate) struct Pulled {
    pub(crate) name: payload::Reference,
    /// Of the manifest for the platform that was asked for.
    pub(crate) digest: String,
    size: usize,
    media_type: String,
}

/// How long a registry may say nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pulls images into one layout in the folder. `tell` hears which is being pulled.
pub(crate) fn pull(
    wanted: &[Wanted],
    access: &Access,
    architecture: &str,
    folder: &Utf8Path,
    tell: &mut dyn FnMut(&str),
) -> Result<Vec<Pulled>, Vec<NotPulled>> {
    let Some(first) = wanted.first() else {
        return Ok(Vec::new());
    };
    let machine = |why: String| vec![NotPulled { name: first.name.to_string(), why, machine: true }];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| machine(e.to_string()))?;
    let client = client(wanted, access);
    let (mut pulled, mut failed) = (Vec::new(), Vec::new());
    for image in wanted {
        tell(&image.name.to_string());
        match runtime.block_on(one(&client, image, architecture, folder)) {
            Ok(one) => pulled.push(one),
            Err(error) => failed.push(NotPulled { name: named(image), why: error.text, machine: error.machine }),
        }
    }
    if !failed.is_empty() {
        return Err(failed);
    }
    std::fs::write(folder.join("index.json"), index(&pulled).to_string()).map_err(|e| machine(e.to_string()))?;
    Ok(pulled)
}

fn named(image: &Wanted) -> String {
    if image.name == image.from { image.name.to_string() } else { format!("{} (from {})", image.name, image.from) }
}

/// Plain HTTP for a registry of this machine, as Docker does, and where it was asked for.
fn client(wanted: &[Wanted], access: &Access) -> Client {
    let local = |registry: &&str| {
        let host = registry.rsplit_once(':').map_or(*registry, |(host, _)| host);
        host == "localhost" || host.starts_with("127.")
    };
    let local = wanted.iter().map(|image| image.from.registry()).filter(local).map(str::to_owned);
    let no_proxy = || std::env::var("no_proxy").or_else(|_| std::env::var("NO_PROXY")).ok();
    Client::new(ClientConfig {
        protocol: ClientProtocol::HttpsExcept(local.chain(access.plain.iter().cloned()).collect()),
        connect_timeout: Some(PATIENCE),
        read_timeout: Some(PATIENCE),
        https_proxy: access.proxy.clone(),
        http_proxy: access.proxy.clone(),
        no_proxy: access.proxy.as_ref().and_then(|_| no_proxy()),
        ..ClientConfig::default()
    })
}

/// Every image by its name; blobs that they share lie there once.
fn index(pulled: &[Pulled]) -> Value {
    let entry = |image: &Pulled| {
        json!({
            "mediaType": image.media_type, "digest": image.digest, "size": image.size,
            "annotations": {oci::FULL_NAME: image.name.to_string()},
        })
    };
    let manifests: Vec<Value> = pulled.iter().map(entry).collect();
    json!({"schemaVersion": 2, "manifests": manifests})
}

struct Failed {
    text: String,
    machine: bool,
}

impl From<OciDistributionError> for Failed {
    fn from(error: OciDistributionError) -> Self {
        use OciDistributionError::{IoError, RequestError, ServerError};
        let machine = matches!(error, IoError(_) | RequestError(_) | ServerError { .. });
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Self { text, machine }
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self { text: error.to_string(), machine: true }
    }
}

fn wrong(text: impl Into<String>) -> Failed {
    Failed { text: text.into(), machine: false }
}

async fn one(client: &Client, wanted: &Wanted, architecture: &str, folder: &Utf8Path) -> Result<Pulled, Failed> {
    let image: Reference = wanted.from.to_string().parse().map_err(|e| wrong(format!("{e}")))?;
    let login = login(wanted.from.registry())?;
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    let asked = wanted.digest.as_ref().map_or_else(|| image.clone(), |digest| image.clone_with_digest(digest.clone()));
    let (mut bytes, _) = client.pull_manifest_raw(&asked, &login, &ACCEPTED).await?;
    let mut document = parse(&bytes)?;
    if document.config.is_none() {
        let chosen = document.manifests.iter().find(|of_platform| of_platform.is_for(architecture));
        let chosen = chosen.ok_or_else(|| wrong(format!("there is none for linux/{architecture}")))?;
        let by_digest = image.clone_with_digest(chosen.digest.clone());
        (bytes, _) = client.pull_manifest_raw(&by_digest, &login, &ACCEPTED).await?;
        document = parse(&bytes)?;
    }
    let digest = format!("sha256:{}", Sha256::of(&bytes));
    if let Some(expected) = wanted.digest.as_ref().filter(|expected| **expected != digest) {
        return Err(wrong(format!("its digest is {digest}, not {expected}")));
    }
    std::fs::write(blobs.join(hex(&digest)?), &bytes)?;
    for blob in document.blobs() {
        fetch(client, &image, &blob.digest, folder).await?;
    }
    let media_type = document.media_type.unwrap_or_else(|| oci::MANIFEST.to_owned());
    Ok(Pulled { name: wanted.name.clone(), digest, size: bytes.len(), media_type })
}

fn parse(bytes: &[u8]) -> Result<Document, Failed> {
    serde_json::from_slice(bytes).map_err(|e| wrong(format!("its manifest cannot be read: {e}")))
}

/// Fetches a blob unless it is there, and goes on with one of which a part is.
async fn fetch(client: &Client, image: &Reference, digest: &str, folder: &Utf8Path) -> Result<(), Failed> {
    let hex = hex(digest)?;
    let blob = Download::new(folder.join("blobs/sha256").join(hex), folder, hex);
    if blob.is_done()? {
        return Ok(());
    }
    let there = blob.there();
    if there > 0 && append(client, image, digest, &blob, there).await.is_ok() && blob.finish()?.is_ok() {
        return Ok(());
    }
    append(client, image, digest, &blob, 0).await?;
    blob.finish()?.map_err(|sum| wrong(format!("the registry sends for {digest} what has the sum {sum}")))
}

/// Writes a blob from the offset on.
async fn append(client: &Client, image: &Reference, digest: &str, blob: &Download, offset: u64) -> Result<(), Failed> {
    let (mut stream, offset) = match client.pull_blob_stream_partial(image, digest, offset, None).await? {
        BlobResponse::Full(stream) => (stream, 0),
        BlobResponse::Partial(stream) => (stream, offset),
    };
    let mut part = blob.open(offset)?;
    while let Some(bytes) = stream.try_next().await? {
        part.write(&bytes)?;
    }
    Ok(())
}

fn hex(digest: &str) -> Result<&str, Failed> {
    let hex =
        digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
    hex.ok_or_else(|| wrong(format!("its digest {digest} is no sha256")))
}

/// The login for a registry in Docker's configuration file; without one it is asked anonymously.
fn login(registry: &str) -> Result<RegistryAuth, Failed> {
    // Where `docker login` keeps the login of Docker's own registry.
    let server = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
    match docker_credential::get_credential(server) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(RegistryAuth::Basic(user, password)),
        Ok(DockerCredential::IdentityToken(_)) => Err(wrong(format!(
            "the login for {registry} is an identity token, which is not supported: log in by password"
        ))),
        Err(
            CredentialRetrievalError::ConfigNotFound
            | CredentialRetrievalError::NoCredentialConfigured
            | CredentialRetrievalError::ConfigReadError,
        ) => Ok(RegistryAuth::Anonymous),
        // What a helper printed may hold the password.
        Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
            Err(wrong(format!("the login for {registry}: the credential helper {helper} failed")))
        }
        Err(error) => Err(wrong(format!("the login for {registry} in Docker's configuration file: {error}"))),
    }
}
