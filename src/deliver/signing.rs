//! The run's own signing key: made anew for every run, held in memory only, its public half handed to hosts over SSH,
//! so that `repo_gpgcheck=1` proves that the metadata a host reads is the one that this run serves.
//!
//! RSA 2048 with SHA-256 in version 4 packets (RFC 4880) is what the gpg of CentOS 7 (2.0.22) reads.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use pgp::composed::{ArmorOptions, DetachedSignature, SignedKeyDetails, SignedPublicKey, SubpacketConfig};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{
    KeyFlags, PacketTrait, PubKeyInner, PublicKey, SecretKey, SignatureConfig, SignatureType, Subpacket, SubpacketData,
    UserId,
};
use pgp::types::{KeyDetails, KeyVersion, Password, PlainSecretParams, PublicParams, SecretParams, Timestamp};
use rand08::thread_rng;
use rsa::RsaPrivateKey;
use rsa::pkcs8::DecodePrivateKey;

use super::error::DeliverError;

/// The date of the key and of its signatures, 2017-01-01. Not today's: gpg refuses what is signed in the future, and
/// an air-gapped host's clock may be years behind. The key is known by having come over SSH, not by its date.
const DATE: u32 = 1_483_228_800;

/// How the key calls itself where gpg shows it.
const USER: &str = "sunshine-installer (key of one run)";

/// A key pair.
#[derive(Debug)]
pub(super) struct SigningKey {
    key: SecretKey,
    public: String,
}

impl SigningKey {
    /// Makes a pair. Takes some hundredths of a second, and now and then a tenth: done beside other work.
    pub(super) fn generate() -> Result<SigningKey, DeliverError> {
        let key = secret_key(&numbers()?).map_err(failed)?;
        let public = public_half(&key).map_err(failed)?;
        let public = public.to_armored_string(ArmorOptions::default()).map_err(failed)?;
        Ok(SigningKey { key, public })
    }

    /// The public half, armored: what a .repo file's `gpgkey` points to.
    pub(super) fn public(&self) -> &str {
        &self.public
    }

    /// Its fingerprint in groups of four digits, as gpg, yum and dnf show it.
    pub(super) fn fingerprint(&self) -> String {
        let digits = hex::encode_upper(self.key.fingerprint().as_bytes());
        let groups: Vec<&str> = (0..digits.len()).step_by(4).filter_map(|at| digits.get(at..at + 4)).collect();
        groups.join(" ")
    }

    /// A detached, armored signature: `repomd.xml.asc`.
    pub(super) fn sign(&self, data: &[u8]) -> Result<String, DeliverError> {
        let key = &self.key;
        let packets = || -> pgp::errors::Result<SubpacketConfig> {
            let unhashed = vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id()))?];
            Ok(SubpacketConfig::UserDefined { hashed: vec![dated()?], unhashed })
        };
        let packets = packets().map_err(failed)?;
        let empty = Password::empty();
        let sign = DetachedSignature::sign_binary_data_with_subpackets;
        let signature = sign(thread_rng(), key, &empty, HashAlgorithm::Sha256, data, packets).map_err(failed)?;
        signature.to_armored_string(ArmorOptions::default()).map_err(failed)
    }
}

/// Primes are looked for by AWS-LC: pgp's own choice, the rsa crate, takes three times as long for it.
fn numbers() -> Result<RsaPrivateKey, DeliverError> {
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
    RsaPrivateKey::from_pkcs8_der(der.as_ref()).map_err(failed)
}

fn secret_key(numbers: &RsaPrivateKey) -> pgp::errors::Result<SecretKey> {
    let secret = pgp::crypto::rsa::SecretKey::from(numbers.clone());
    let (date, params) = (Timestamp::from_secs(DATE), PublicParams::RSA((&secret).into()));
    let public = PubKeyInner::new(KeyVersion::V4, PublicKeyAlgorithm::RSA, date, None, params)?;
    SecretKey::new(PublicKey::from_inner(public)?, SecretParams::Plain(PlainSecretParams::RSA(secret)))
}

fn dated() -> pgp::errors::Result<Subpacket> {
    Subpacket::regular(SubpacketData::SignatureCreationTime(Timestamp::from_secs(DATE)))
}

/// The certificate, with a self-signature of the fixed date (the crate's own is always of today).
fn public_half(secret: &SecretKey) -> pgp::errors::Result<SignedPublicKey> {
    let public = secret.public_key().clone();
    let user = UserId::from_str(pgp::types::PacketHeaderVersion::New, USER)?;
    let mut flags = KeyFlags::default();
    flags.set_certify(true);
    flags.set_sign(true);
    let mut config = SignatureConfig::v4(SignatureType::CertPositive, secret.algorithm(), HashAlgorithm::Sha256);
    config.hashed_subpackets = vec![
        dated()?,
        Subpacket::regular(SubpacketData::KeyFlags(flags))?,
        Subpacket::regular(SubpacketData::IsPrimary(true))?,
    ];
    config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(secret.legacy_key_id()))?];
    let signature = config.sign_certification(secret, &public, &Password::empty(), user.tag(), &user)?;
    let users = vec![user.into_signed(signature)];
    Ok(SignedPublicKey::new(public, SignedKeyDetails::new(vec![], vec![], users, vec![]), vec![]))
}

fn failed(error: impl std::fmt::Display) -> DeliverError {
    DeliverError::Signing { why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// gpg itself is the judge, and it must not mind a clock that is behind.
    #[test]
    fn gpg_accepts_the_signature_and_refuses_another_text() {
        let key = SigningKey::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        fs_err::write(file("key.asc"), key.public()).unwrap();
        fs_err::write(file("repomd.xml"), "<repomd/>").unwrap();
        fs_err::write(file("repomd.xml.asc"), key.sign(b"<repomd/>").unwrap()).unwrap();
        let gpg = |arguments: &[&str]| {
            let mut gpg = Command::new("gpg");
            gpg.args(["--batch", "--homedir"]).arg(folder.path()).args(arguments).current_dir(folder.path());
            let output = gpg.output().unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let (imported, said) = gpg(&["--faked-system-time", "20180101T000000", "--import", "key.asc"]);
        assert!(imported, "{said}");
        let verify = ["--faked-system-time", "20180101T000000", "--verify", "repomd.xml.asc", "repomd.xml"];
        let (good, said) = gpg(&verify);
        assert!(good && said.contains("Good signature"), "{said}");
        let mut list = Command::new("gpg");
        list.args(["--batch", "--homedir"]).arg(folder.path()).args(["--with-colons", "--fingerprint"]);
        let shown = list.output().unwrap();
        let own = format!("fpr:::::::::{}:", key.fingerprint().replace(' ', ""));
        assert!(String::from_utf8_lossy(&shown.stdout).contains(&own), "{own} {shown:?}");
        fs_err::write(file("repomd.xml"), "<repomd />").unwrap();
        let (bad, said) = gpg(&verify);
        assert!(!bad && said.contains("BAD signature"), "{said}");
    }
}
