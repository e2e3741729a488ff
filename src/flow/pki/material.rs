//! Keys and certificates as a plan names them, before they are made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use camino::Utf8PathBuf;
use sha2::{Digest, Sha256};

use crate::host::Secret;
use crate::plan::{Check, Cx, Made, StepError, Work};

use super::authority::{Authority, CertRequest, KeyKind, KeyPairPem, PkiError};
use super::encryption::{Encryption, KeyUse};
use super::given::Given;
use super::password::Password;

/// What an authority vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    Etcd,
    Kubernetes,
    FrontProxy,
    Registry,
}

impl Purpose {
    const ALL: [Self; 4] = [Self::Etcd, Self::Kubernetes, Self::FrontProxy, Self::Registry];

    fn folder(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Kubernetes => "kubernetes",
            Self::FrontProxy => "front-proxy",
            Self::Registry => "registry",
        }
    }
}

/// The keys and certificates of an environment.
#[derive(Debug, Clone)]
pub struct Pki {
    dir: Utf8PathBuf,
    look_only: bool,
}

impl Pki {
    /// Those kept in `dir`; nothing is made yet, and with `look_only` nothing is ever written there.
    pub fn new(dir: Utf8PathBuf, look_only: bool) -> Self {
        Self { dir, look_only }
    }

    /// The authority for `purpose`, made first when there is none.
    ///
    /// # Errors
    /// As [`Authority::open_or_create`].
    pub fn authority(&self, purpose: Purpose) -> Result<Authority, PkiError> {
        Authority::open_or_create(&self.dir.join(purpose.folder()), &format!("sunshine {} CA", purpose.folder()))
    }

    /// The file with that authority's certificate, once it has been made.
    pub fn authority_file(&self, purpose: Purpose) -> Utf8PathBuf {
        self.dir.join(purpose.folder()).join("ca.crt")
    }

    /// The sha256 of that authority's certificate, in hexadecimal digits, once it has been made.
    pub fn fingerprint(&self, purpose: Purpose) -> Option<String> {
        let pem = std::fs::read(self.authority_file(purpose)).ok()?;
        let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).ok()?;
        Some(hex::encode(Sha256::digest(&pem.contents)))
    }

    fn open(&self, purpose: Purpose) -> Result<Option<Authority>, PkiError> {
        Authority::open(&self.dir.join(purpose.folder()))
    }

    /// What the site gives, such as `ca.crt` in the folder `site-registry`: kept where it is given `now`, else what was kept.
    pub fn given(&self, folder: &str, file: &str, now: Option<Secret>) -> Arc<dyn Made> {
        Arc::new(Given { name: format!("{folder}/{file}"), path: self.given_file(folder, file), now })
    }

    /// Where that is kept.
    pub fn given_file(&self, folder: &str, file: &str) -> Utf8PathBuf {
        self.dir.join(folder).join(file)
    }

    /// The configuration by which API servers encrypt secrets, with its key. `fips`: where it is made now, for hosts in FIPS mode.
    pub fn encryption(&self, fips: bool, key_use: KeyUse) -> Arc<dyn Made> {
        let path = self.given_file("secrets", "encryption.key");
        Arc::new(Encryption { path, look_only: self.look_only, fips, key_use })
    }

    /// The password of etcd's user root.
    pub fn etcd_password(&self) -> Arc<dyn Made> {
        let path = self.given_file("secrets", "etcd-root.password");
        Arc::new(Password { whose: "etcd's user root", path, look_only: self.look_only })
    }

    /// What a plan asks of the authority for `purpose`.
    pub fn material(&self, purpose: Purpose, ask: Ask) -> Material {
        Material(Arc::new(Inner { pki: self.clone(), purpose, ask }))
    }
}

/// What is asked of an authority.
#[derive(Debug)]
pub enum Ask {
    /// Its own certificate. Its key goes to control plane nodes of kubeadm alone, which sign by themselves.
    Authority,
    Certificate(CertRequest),
    /// A key pair that is never replaced: [`Authority::lasting_key`].
    LastingKey(&'static str, KeyKind),
}

/// A certificate, or a public key, with its private key.
#[derive(Debug, Clone)]
pub struct Material(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pki: Pki,
    purpose: Purpose,
    ask: Ask,
}

impl Material {
    /// The certificate, or the public key.
    pub fn cert(&self) -> Arc<dyn Made> {
        Arc::new(Pem { of: self.clone(), private: false })
    }

    /// The private key.
    pub fn key(&self) -> Arc<dyn Made> {
        Arc::new(Pem { of: self.clone(), private: true })
    }

    fn name(&self) -> String {
        let name = match &self.0.ask {
            Ask::Authority => "ca",
            Ask::Certificate(request) => &request.name,
            Ask::LastingKey(name, _) => name,
        };
        format!("{}/{name}", self.0.purpose.folder())
    }

    /// What is kept of it.
    fn kept(&self) -> Result<Option<KeyPairPem>, PkiError> {
        let Some(authority) = self.0.pki.open(self.0.purpose)? else { return Ok(None) };
        match &self.0.ask {
            Ask::Authority => Ok(Some(authority.into_pair())),
            Ask::Certificate(request) => Ok(authority.kept(request)),
            Ask::LastingKey(name, _) => authority.kept_lasting_key(name),
        }
    }

    /// It, made first when it is not kept. A dry run keeps nothing: what it needs to ask a cluster is made for itself alone.
    ///
    /// # Errors
    /// When it cannot be made or kept.
    pub fn issue(&self) -> Result<KeyPairPem, PkiError> {
        if self.0.pki.look_only {
            return self.borrow();
        }
        let authority = self.0.pki.authority(self.0.purpose)?;
        match &self.0.ask {
            Ask::Authority => Ok(authority.into_pair()),
            Ask::Certificate(request) => authority.issue(request),
            Ask::LastingKey(name, kind) => authority.lasting_key(name, *kind),
        }
    }

    fn borrow(&self) -> Result<KeyPairPem, PkiError> {
        let none = || PkiError::Make { name: self.name(), reason: "it has not been made yet".to_owned() };
        match (self.kept()?, &self.0.ask) {
            (Some(kept), _) => Ok(kept),
            (None, Ask::Certificate(request)) => self.0.pki.open(self.0.purpose)?.ok_or_else(none)?.make(request),
            (None, _) => Err(none()),
        }
    }

    fn missing(&self) -> Result<Vec<String>, PkiError> {
        let mut missing = Vec::new();
        if self.0.pki.open(self.0.purpose)?.is_none() {
            missing.push(format!("create the certificate authority {}", self.0.purpose.folder()));
        }
        if !matches!(self.0.ask, Ask::Authority) && self.kept()?.is_none() {
            missing.push(format!("create key and certificate {}", self.name()));
        }
        Ok(missing)
    }
}

impl From<PkiError> for StepError {
    fn from(error: PkiError) -> Self {
        Self::failed(error.to_string())
    }
}

/// One half of a key pair, as PEM.
#[derive(Debug)]
struct Pem {
    of: Material,
    private: bool,
}

impl Made for Pem {
    fn name(&self) -> String {
        format!("{}.{}", self.of.name(), if self.private { "key" } else { "crt" })
    }

    fn content(&self) -> Result<Option<Secret>, StepError> {
        let half = |pair: KeyPairPem| if self.private { pair.key } else { Secret::new(pair.cert) };
        Ok(self.of.kept()?.map(half))
    }

    fn missing(&self) -> Result<Vec<String>, StepError> {
        Ok(self.of.missing()?)
    }

    fn make(&self) -> Result<(), StepError> {
        self.of.issue().map(drop).map_err(Into::into)
    }
}

/// A kubeconfig with everything inside.
#[derive(Debug)]
pub struct Kubeconfig {
    pub ca: Material,
    pub client: Material,
    pub user: String,
    /// The API's URL.
    pub server: String,
}

impl Kubeconfig {
    /// The kubeconfig, its certificate made first when it is not kept.
    ///
    /// # Errors
    /// When the certificate cannot be made or kept.
    pub fn issue(&self) -> Result<Secret, PkiError> {
        Ok(self.render(&self.ca.issue()?.cert, &self.client.issue()?))
    }

    /// JSON, which is YAML too.
    fn render(&self, ca: &str, client: &KeyPairPem) -> Secret {
        let Self { user, server, .. } = self;
        let value = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "kubernetes",
                "cluster": {"server": server, "certificate-authority-data": STANDARD.encode(ca)},
            }],
            "users": [{"name": user, "user": {
                "client-certificate-data": STANDARD.encode(&client.cert),
                "client-key-data": STANDARD.encode(client.key.expose()),
            }}],
            "contexts": [{"name": "kubernetes", "context": {"cluster": "kubernetes", "user": user}}],
            "current-context": "kubernetes",
        });
        Secret::new(format!("{value:#}\n"))
    }
}

impl Made for Kubeconfig {
    fn name(&self) -> String {
        format!("kubeconfig of {} ({}) for {}", self.user, self.client.name(), self.server)
    }

    fn content(&self) -> Result<Option<Secret>, StepError> {
        Ok(self.ca.kept()?.zip(self.client.kept()?).map(|(ca, client)| self.render(&ca.cert, &client)))
    }

    fn missing(&self) -> Result<Vec<String>, StepError> {
        Ok([self.ca.missing()?, self.client.missing()?].concat())
    }

    fn make(&self) -> Result<(), StepError> {
        self.issue().map(drop).map_err(Into::into)
    }
}

/// What the authorities have signed is forgotten, so that the steps behind this one make it anew. The authorities stay.
#[derive(Debug)]
pub struct Forget {
    pki: Pki,
    done: AtomicBool,
}

impl Forget {
    pub fn new(pki: Pki) -> Self {
        Self { pki, done: AtomicBool::new(false) }
    }
}

impl Work for Forget {
    fn check(&self, _: &Cx<'_>) -> Result<Check, StepError> {
        if self.done.load(Ordering::SeqCst) {
            return Ok(Check::Satisfied);
        }
        Ok(Check::Needed(vec!["replace all certificates, under the same authorities".to_owned()]))
    }

    fn apply(&self, _: &Cx<'_>) -> Result<(), StepError> {
        for purpose in Purpose::ALL {
            if let Some(authority) = self.pki.open(purpose)? {
                authority.forget_issued()?;
            }
        }
        self.done.store(true, Ordering::SeqCst);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::super::authority::Usage;
    use super::*;

    fn request(name: &str) -> CertRequest {
        let (organizations, dns, ips) = (Vec::new(), Vec::new(), Vec::new());
        let (name, common_name) = (name.to_owned(), name.to_owned());
        CertRequest { name, common_name, organizations, dns, ips, usage: Usage::Client }
    }

    #[test]
    fn what_a_plan_names_is_made_when_it_is_asked_for_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(dir.path()).unwrap().join("pki");
        let pki = Pki::new(folder.clone(), false);
        let client = pki.material(Purpose::Kubernetes, Ask::Certificate(request("admin")));
        let ca = pki.material(Purpose::Kubernetes, Ask::Authority);
        let config = Kubeconfig { ca, client: client.clone(), user: "u".into(), server: "https://h:6443".into() };
        assert!(config.content().unwrap().is_none() && client.key().content().unwrap().is_none());
        assert_eq!(
            client.key().missing().unwrap(),
            ["create the certificate authority kubernetes", "create key and certificate kubernetes/admin"]
        );
        assert!(!folder.exists(), "naming and looking make nothing");
        config.make().unwrap();
        assert!(config.missing().unwrap().is_empty());
        let text = config.content().unwrap().unwrap();
        let pem = client.key().content().unwrap().unwrap();
        assert!(pem.expose().starts_with("-----BEGIN PRIVATE KEY"));
        assert!(text.expose().contains(&STANDARD.encode(pem.expose())) && text.expose().contains("https://h:6443"));
        assert!(!format!("{config:?} {client:?}").contains("BEGIN"));
    }
}
