//! A certificate of the site's own for the registry, in place of one that the environment's authority signs.

use std::net::IpAddr;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::flow::error::FlowError;
use crate::flow::pki::Pki;
use crate::flow::request::CertificateFiles;
use crate::host::Secret;
use crate::plan::Made;

/// The folder of what the site gave, in that of the keys.
const FOLDER: &str = "registry-site";

/// A certificate with its key and, where its hosts do not trust it anyway, the authority that signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteCertificate {
    /// The files that it was read from.
    pub files: CertificateFiles,
    /// The DNS names and addresses that it is for.
    pub names: Vec<String>,
    /// Read in this run; an earlier run's are kept.
    #[serde(skip)]
    given: Option<Given>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Given {
    certificate: Secret,
    key: Secret,
    ca: Option<Secret>,
}

impl SiteCertificate {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// When one cannot be read, the key is not the certificate's, or the certificate is not valid now.
    pub(super) fn read(files: &CertificateFiles) -> Result<Self, FlowError> {
        let certificate = text(&files.certificate)?;
        let wrong = |path: &Utf8Path, why: &str| FlowError::request(format!("{path}: {why}"));
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|e| wrong(&files.certificate, &format!("not a certificate in PEM: {e}")))?;
        let first = chain.first().ok_or_else(|| wrong(&files.certificate, "there is no certificate in it"))?.clone();
        let key_text = Secret::new(text(&files.key)?);
        let key = PrivateKeyDer::from_pem_slice(key_text.expose().as_bytes())
            .map_err(|_| wrong(&files.key, "there is no private key without a passphrase in it (PEM)"))?;
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .map_err(|_| wrong(&files.key, "the private key is of a kind that TLS does not use"))?;
        if CertifiedKey::new(chain, key).keys_match().is_err() {
            return Err(wrong(&files.key, &format!("not the key of the certificate in {}", files.certificate)));
        }
        let names = names(&first).map_err(|why| wrong(&files.certificate, &why))?;
        let ca = files.ca.as_deref().map(text).transpose()?;
        if ca.as_ref().is_some_and(|ca| CertificateDer::from_pem_slice(ca.as_bytes()).is_err()) {
            return Err(wrong(files.ca.as_deref().unwrap_or(Utf8Path::new("")), "there is no certificate in it"));
        }
        let given = Given { certificate: Secret::new(certificate), key: key_text, ca: ca.map(Secret::new) };
        Ok(Self { files: files.clone(), names, given: Some(given) })
    }

    /// The first of these that the certificate is for.
    pub(super) fn covered<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
        names.into_iter().find(|name| self.names.iter().any(|own| covers(own, name)))
    }

    fn of(&self, file: &str, now: impl Fn(&Given) -> Option<Secret>, pki: &Pki) -> Arc<dyn Made> {
        pki.given(FOLDER, file, self.given.as_ref().and_then(now))
    }

    pub(super) fn cert(&self, pki: &Pki) -> Arc<dyn Made> {
        self.of("tls.crt", |given| Some(given.certificate.clone()), pki)
    }

    pub(super) fn key(&self, pki: &Pki) -> Arc<dyn Made> {
        self.of("tls.key", |given| Some(given.key.clone()), pki)
    }

    /// The authority's certificate; `None`: clients trust it anyway.
    pub(super) fn ca(&self, pki: &Pki) -> Option<Arc<dyn Made>> {
        self.files.ca.as_ref().map(|_| self.of("ca.crt", |given| given.ca.clone(), pki))
    }

    /// That file on the control host.
    pub(super) fn ca_file(&self, pki: &Pki) -> Option<Utf8PathBuf> {
        self.files.ca.as_ref().map(|_| pki.given_file(FOLDER, "ca.crt"))
    }
}

fn text(path: &Utf8Path) -> Result<String, FlowError> {
    std::fs::read_to_string(path).map_err(|e| FlowError::request(format!("{path}: {e}")))
}

/// The names of a certificate that is valid now (RFC 5280, subjectAltName).
fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, String> {
    let (_, certificate) = parse_x509_certificate(certificate).map_err(|e| format!("not a certificate: {e}"))?;
    if !certificate.validity().is_valid() {
        return Err(format!(
            "the certificate is valid from {} to {}, not now",
            certificate.validity().not_before,
            certificate.validity().not_after
        ));
    }
    let alternative = certificate.subject_alternative_name().map_err(|e| format!("its names cannot be read: {e}"))?;
    let mut names = Vec::new();
    for name in alternative.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => names.extend(address(bytes).map(|ip| ip.to_string())),
            _ => {}
        }
    }
    if names.is_empty() {
        return Err(
            "the certificate has no subject alternative name, which clients compare the address with".to_owned()
        );
    }
    Ok(names)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    four.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

/// Whether a name of a certificate is that of a host; `*` stands for one label (RFC 6125).
fn covers(own: &str, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    match (own.strip_prefix("*."), name.split_once('.')) {
        (Some(domain), Some((_, rest))) => rest == domain && name.parse::<IpAddr>().is_err(),
        _ => own == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::pki::{Authority, CertRequest, Usage};

    fn request(name: &str, dns: &[&str], ip: &str) -> CertRequest {
        CertRequest {
            name: name.into(),
            common_name: "r".into(),
            organizations: Vec::new(),
            dns: dns.iter().map(|name| (*name).to_owned()).collect(),
            ips: vec![ip.parse().unwrap()],
            usage: Usage::Server,
        }
    }

    #[test]
    fn a_certificate_is_taken_with_its_key_only_and_knows_whom_it_is_for() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let authority = Authority::open_or_create(&dir.join("a"), "a").unwrap();
        let one = authority.issue(&request("one", &["r.example", "*.lab.example"], "10.0.0.3")).unwrap();
        let other = authority.issue(&request("other", &["r.example"], "10.0.0.3")).unwrap();
        let files =
            CertificateFiles { certificate: dir.join("r.crt"), key: dir.join("r.key"), ca: Some(dir.join("a/ca.crt")) };
        std::fs::write(&files.certificate, &one.cert).unwrap();
        std::fs::write(&files.key, other.key.expose()).unwrap();
        let error = SiteCertificate::read(&files).unwrap_err().to_string();
        assert!(error.contains("r.key: not the key of the certificate"), "{error}");
        std::fs::write(&files.key, one.key.expose()).unwrap();
        let read = SiteCertificate::read(&files).unwrap();
        assert_eq!(read.covered(["10.0.0.4", "host3", "R.example"]), Some("R.example"));
        assert_eq!(read.covered(["a.b.lab.example", "a.lab.example"]), Some("a.lab.example"));
        assert_eq!(read.covered(["10.0.0.3"]), Some("10.0.0.3"));
        assert_eq!(read.covered(["host3"]), None);
        assert!(!format!("{read:?}").contains("BEGIN PRIVATE"));
        for (path, word) in [(&files.key, "no private key"), (&files.certificate, "no certificate in it")] {
            let whole = std::fs::read(path).unwrap();
            std::fs::write(path, "nonsense").unwrap();
            let error = SiteCertificate::read(&files).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
            std::fs::write(path, whole).unwrap();
        }
    }
}
