//! Images pulled from their registries, on a builder that is online: each becomes an OCI image layout beside the bundle that
//! is being written, and goes into it as any other.

use camino::{Utf8Path, Utf8PathBuf};
use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use payload::oci::{self, Document};
use serde_json::json;

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

/// Pulls images, by their full names, each into a folder of its own in `dir`; the folders, in the same order. `tell` hears
/// which is being pulled.
pub(crate) fn pull(
    names: &[payload::Reference],
    architecture: &str,
    dir: &Utf8Path,
    tell: &mut dyn FnMut(&str),
) -> Result<Vec<Utf8PathBuf>, Vec<NotPulled>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let machine = |why: String| vec![NotPulled { name: names[0].to_string(), why, machine: true }];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| machine(e.to_string()))?;
    let client = client(names);
    let (mut folders, mut failed) = (Vec::new(), Vec::new());
    for (at, name) in names.iter().enumerate() {
        tell(&name.to_string());
        let folder = dir.join(format!("pulled-{at}"));
        match runtime.block_on(one(&client, name, architecture, &folder)) {
            Ok(()) => folders.push(folder),
            Err(error) => failed.push(NotPulled { name: name.to_string(), why: error.text, machine: error.machine }),
        }
    }
    if failed.is_empty() { Ok(folders) } else { Err(failed) }
}

/// Plain HTTP for a registry of this machine alone, as Docker does.
fn client(names: &[payload::Reference]) -> Client {
    let local = |registry: &&str| {
        let host = registry.rsplit_once(':').map_or(*registry, |(host, _)| host);
        host == "localhost" || host.starts_with("127.")
    };
    let exceptions = names.iter().map(payload::Reference::registry).filter(local).map(str::to_owned).collect();
    Client::new(ClientConfig { protocol: ClientProtocol::HttpsExcept(exceptions), ..ClientConfig::default() })
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

async fn one(client: &Client, name: &payload::Reference, architecture: &str, folder: &Utf8Path) -> Result<(), Failed> {
    let image: Reference = name.to_string().parse().map_err(|e| wrong(format!("{e}")))?;
    let login = login(name.registry())?;
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    let (mut bytes, mut digest) = client.pull_manifest_raw(&image, &login, &ACCEPTED).await?;
    let mut document = parse(&bytes)?;
    if document.config.is_none() {
        let chosen = document.manifests.iter().find(|of_platform| of_platform.is_for(architecture));
        let chosen = chosen.ok_or_else(|| wrong(format!("there is none for linux/{architecture}")))?;
        let by_digest = image.clone_with_digest(chosen.digest.clone());
        (bytes, digest) = client.pull_manifest_raw(&by_digest, &login, &ACCEPTED).await?;
        document = parse(&bytes)?;
    }
    save(&blobs, &digest, &bytes)?;
    for blob in document.blobs() {
        let path = blobs.join(hex(&blob.digest)?);
        // Layers may be shared within an image.
        if !path.exists() {
            let file = tokio::fs::File::create(&path).await?;
            client.pull_blob(&image, blob.digest.as_str(), file).await?;
        }
    }
    let media_type = document.media_type.unwrap_or_else(|| oci::MANIFEST.to_owned());
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": media_type, "digest": digest, "size": bytes.len(),
        "annotations": {oci::FULL_NAME: name.to_string()},
    }]});
    std::fs::write(folder.join("index.json"), index.to_string())?;
    Ok(())
}

fn parse(bytes: &[u8]) -> Result<Document, Failed> {
    serde_json::from_slice(bytes).map_err(|e| wrong(format!("its manifest cannot be read: {e}")))
}

/// The payload checks every blob against its digest.
fn save(blobs: &Utf8Path, digest: &str, bytes: &[u8]) -> Result<(), Failed> {
    Ok(std::fs::write(blobs.join(hex(digest)?), bytes)?)
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
