//! One authority, its key, and what it signed.

use std::net::IpAddr;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, SanType,
};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::host::Secret;

use crate::flow::files::write_private;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Ten years: an authority outlives the machines.
const CA_LIFE: Duration = DAY.saturating_mul(3650);
/// Two years for what it signs; renewed by `cluster certs renew`, and by any run in the last third.
pub const CERT_LIFE: Duration = DAY.saturating_mul(730);
/// Certificates begin this much in the past: hosts whose clock is a little behind must not refuse them.
const BACKDATE: Duration = DAY;

/// A certificate with its private key, both PEM.
#[derive(Debug, Clone)]
pub struct KeyPairPem {
    pub cert: String,
    pub key: Secret,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    Server,
    Client,
    /// etcd's members are both to each other.
    Both,
}

/// Which kind of key pair is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// P-256.
    Elliptic,
    /// For programs that read no elliptic key in PKCS#8.
    Rsa,
}

/// A certificate that is wanted.
#[derive(Debug, Clone)]
pub struct CertRequest {
    /// File name under the authority's folder, without ending; must be a plain name.
    pub name: String,
    /// Empty: it has none.
    pub common_name: String,
    pub organizations: Vec<String>,
    pub dns: Vec<String>,
    pub ips: Vec<IpAddr>,
    pub usage: Usage,
}

/// Why a certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("{path}: {source}")]
    Io { path: Utf8PathBuf, source: std::io::Error },
    #[error("{path}: {reason}")]
    Damaged { path: Utf8PathBuf, reason: String },
    #[error("a certificate for {name} cannot be made: {reason}")]
    Make { name: String, reason: String },
}

/// A certificate authority with its key.
#[derive(Debug)]
pub struct Authority {
    dir: Utf8PathBuf,
    pub cert: String,
    key: KeyPair,
}

impl Authority {
    /// The authority kept in `dir`, made there first when there is none.
    ///
    /// # Errors
    /// When the folder cannot be written, or holds a key or certificate that cannot be read: it is never replaced, for
    /// every host of the cluster trusts it.
    pub fn open_or_create(dir: &Utf8Path, common_name: &str) -> Result<Self, PkiError> {
        let (cert_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
        if !cert_path.exists() {
            let (cert, key) = new_authority(common_name)?;
            save(&key_path, key.serialize_pem().as_bytes())?;
            // The certificate comes last: where it is, the key is.
            save(&cert_path, cert.as_bytes())?;
        }
        Self::read(dir)
    }

    /// The authority kept in `dir`; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(dir: &Utf8Path) -> Result<Option<Self>, PkiError> {
        if dir.join("ca.crt").exists() { Self::read(dir).map(Some) } else { Ok(None) }
    }

    fn read(dir: &Utf8Path) -> Result<Self, PkiError> {
        let key_path = dir.join("ca.key");
        let damaged = |reason: String| PkiError::Damaged { path: key_path.clone(), reason };
        let key = KeyPair::from_pem(&read(&key_path)?).map_err(|e| damaged(e.to_string()))?;
        Ok(Self { dir: dir.to_owned(), cert: read(&dir.join("ca.crt"))?, key })
    }

    /// Its own certificate and key.
    pub(super) fn into_pair(self) -> KeyPairPem {
        KeyPairPem { cert: self.cert, key: Secret::new(self.key.serialize_pem()) }
    }

    /// The certificate that is kept and fits `request`.
    pub fn kept(&self, request: &CertRequest) -> Option<KeyPairPem> {
        let wanted = self.fingerprint(request);
        let cut = || IssuedFiles::cut(&self.dir, &request.name).and_then(|old| old.kept(&wanted));
        IssuedFiles::of(&self.dir, &request.name).kept(&wanted).or_else(cut)
    }

    /// A certificate that fits `request`: the one kept, or a new one.
    ///
    /// # Errors
    /// When it cannot be made or kept.
    pub fn issue(&self, request: &CertRequest) -> Result<KeyPairPem, PkiError> {
        let wanted = self.fingerprint(request);
        let place = IssuedFiles::of(&self.dir, &request.name);
        if let Some(kept) = place.kept(&wanted) {
            return Ok(kept);
        }
        // Names were cut at their last dot once, so that `node.a` and `node.b` shared their files. The certificate that was
        // written there last is moved to its whole name.
        if let Some(old) = IssuedFiles::cut(&self.dir, &request.name)
            && let Some(kept) = old.kept(&wanted)
        {
            place.save(&kept, &wanted)?;
            old.remove();
            return Ok(kept);
        }
        let made = self.make(request)?;
        place.save(&made, &wanted)?;
        Ok(made)
    }

    /// A key pair that is made once and never replaced, for what it signed must stay valid: `cert` is its public key.
    ///
    /// # Errors
    /// When it cannot be made, kept or read.
    pub fn lasting_key(&self, name: &str, kind: KeyKind) -> Result<KeyPairPem, PkiError> {
        let path = self.dir.join(format!("{name}.key"));
        if !path.exists() {
            let made = match kind {
                KeyKind::Elliptic => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
                KeyKind::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            };
            let made = made.map_err(|e| PkiError::Make { name: name.to_owned(), reason: e.to_string() })?;
            save(&path, made.serialize_pem().as_bytes())?;
        }
        read_lasting(&path)
    }

    /// What [`Authority::lasting_key`] made; `None` when it did not yet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn kept_lasting_key(&self, name: &str) -> Result<Option<KeyPairPem>, PkiError> {
        let path = self.dir.join(format!("{name}.key"));
        if path.exists() { read_lasting(&path).map(Some) } else { Ok(None) }
    }

    /// Drops every certificate this authority signed, so that the next [`Authority::issue`] makes new ones.
    ///
    /// # Errors
    /// When the folder cannot be changed.
    pub fn forget_issued(&self) -> Result<(), PkiError> {
        let io = |source| PkiError::Io { path: self.dir.clone(), source };
        for entry in self.dir.read_dir_utf8().map_err(io)? {
            let path = entry.map_err(io)?.into_path();
            if path.extension() == Some("for") {
                std::fs::remove_file(&path).map_err(io)?;
            }
        }
        Ok(())
    }

    // Everything that a change of must lead to a new certificate, the authority itself included.
    fn fingerprint(&self, request: &CertRequest) -> String {
        hex::encode(Sha256::digest(format!("{}\n{request:?}", self.cert)))
    }

    /// A new certificate that fits `request`, which is not kept.
    pub(super) fn make(&self, request: &CertRequest) -> Result<KeyPairPem, PkiError> {
        let fail = |e: rcgen::Error| PkiError::Make { name: request.name.clone(), reason: e.to_string() };
        let mut params = CertificateParams::new(request.dns.clone()).map_err(fail)?;
        params.subject_alt_names.extend(request.ips.iter().map(|ip| SanType::IpAddress(*ip)));
        params.distinguished_name = rcgen::DistinguishedName::new();
        for organization in &request.organizations {
            params.distinguished_name.push(DnType::OrganizationName, organization);
        }
        if !request.common_name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, &request.common_name);
        }
        (params.not_before, params.not_after) = validity(CERT_LIFE);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = match request.usage {
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fail)?;
        let issuer = Issuer::from_ca_cert_pem(&self.cert, &self.key).map_err(fail)?;
        let cert = params.signed_by(&key, &issuer).map_err(fail)?;
        Ok(KeyPairPem { cert: cert.pem(), key: Secret::new(key.serialize_pem()) })
    }
}

fn read_lasting(path: &Utf8Path) -> Result<KeyPairPem, PkiError> {
    let key = read(path)?;
    let damaged = |e: rcgen::Error| PkiError::Damaged { path: path.to_owned(), reason: e.to_string() };
    let pair = KeyPair::from_pem(&key).map_err(damaged)?;
    Ok(KeyPairPem { cert: pair.public_key_pem(), key: Secret::new(key) })
}

fn new_authority(common_name: &str) -> Result<(String, KeyPair), PkiError> {
    let fail = |e: rcgen::Error| PkiError::Make { name: common_name.to_owned(), reason: e.to_string() };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    (params.not_before, params.not_after) = validity(CA_LIFE);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fail)?;
    let cert = params.self_signed(&key).map_err(fail)?;
    Ok((cert.pem(), key))
}

fn validity(life: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - BACKDATE, now + life)
}

/// When a PEM certificate ends, as seconds since 1970; `None` when it cannot be read.
pub fn expires_at(cert_pem: &str) -> Option<i64> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(cert_pem.as_bytes()).ok()?;
    let cert = pem.parse_x509().ok()?;
    Some(cert.validity().not_after.timestamp())
}

/// A certificate kept on the control host.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Kept {
    /// `PURPOSE/NAME`, such as `kubernetes/apiserver-host0`.
    pub name: String,
    pub ends: i64,
    pub days_left: i64,
}

impl Kept {
    /// Of this name, with its end as seconds since 1970.
    pub fn new(name: String, ends: i64) -> Self {
        Self { name, ends, days_left: (ends - OffsetDateTime::now_utc().unix_timestamp()) / (24 * 60 * 60) }
    }
}

/// All certificates under an environment's `pki` folder, those that end first coming first.
pub fn kept(pki: &Utf8Path) -> Vec<Kept> {
    let mut all = Vec::new();
    for purpose in pki.read_dir_utf8().into_iter().flatten().flatten() {
        for file in purpose.path().read_dir_utf8().into_iter().flatten().flatten() {
            let path = file.path();
            if path.extension() == Some("crt")
                && let Some(ends) = read(path).ok().and_then(|cert| expires_at(&cert))
            {
                let name = format!("{}/{}", purpose.file_name(), path.file_stem().unwrap_or_default());
                all.push(Kept::new(name, ends));
            }
        }
    }
    all.sort_by(|a, b| (a.ends, &a.name).cmp(&(b.ends, &b.name)));
    all
}

/// The files of one certificate that was signed.
struct IssuedFiles {
    cert: Utf8PathBuf,
    key: Utf8PathBuf,
    /// What it was made for: [`Authority::fingerprint`].
    stamp: Utf8PathBuf,
}

impl IssuedFiles {
    fn of(dir: &Utf8Path, name: &str) -> Self {
        let file = |ending: &str| dir.join(format!("{name}.{ending}"));
        Self { cert: file("crt"), key: file("key"), stamp: file("for") }
    }

    /// Those of the name cut at its last dot; `None` when it has none.
    fn cut(dir: &Utf8Path, name: &str) -> Option<Self> {
        name.rsplit_once('.').map(|(stem, _)| Self::of(dir, stem))
    }

    /// What is kept, when it was made for the same request and is not about to end.
    fn kept(&self, wanted: &str) -> Option<KeyPairPem> {
        if !std::fs::read_to_string(&self.stamp).is_ok_and(|stamp| stamp == wanted) {
            return None;
        }
        let (cert, key) = (read(&self.cert).ok()?, read(&self.key).ok()?);
        is_fresh(&cert).then(|| KeyPairPem { cert, key: Secret::new(key) })
    }

    fn save(&self, made: &KeyPairPem, wanted: &str) -> Result<(), PkiError> {
        save(&self.key, made.key.expose().as_bytes())?;
        save(&self.cert, made.cert.as_bytes())?;
        save(&self.stamp, wanted.as_bytes())
    }

    /// Deletes them; what is left because that fails is used by nobody.
    fn remove(&self) {
        for path in [&self.stamp, &self.cert, &self.key] {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn is_fresh(cert_pem: &str) -> bool {
    let third = i64::try_from(CERT_LIFE.as_secs() / 3).unwrap_or(i64::MAX);
    expires_at(cert_pem).is_some_and(|end| end - OffsetDateTime::now_utc().unix_timestamp() > third)
}

fn read(path: &Utf8Path) -> Result<String, PkiError> {
    std::fs::read_to_string(path).map_err(|source| PkiError::Io { path: path.to_owned(), source })
}

fn save(path: &Utf8Path, content: &[u8]) -> Result<(), PkiError> {
    write_private(path, content).map_err(|source| PkiError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
