//! The footer: the last 1024 bytes of a bundle, as text of fixed width, so that `tail -c 1024` shows a human where
//! everything is. It has exactly one spelling: what is read is spelled again and must give the same bytes.
//!
//! ```text
//! SUNSHINE-INSTALLER BUNDLE, FORMAT 0002
//! deployer  OFFSET SIZE          20 decimal digits each
//! archive   OFFSET SIZE
//! manifest  OFFSET SIZE
//! manifest-sha256 64 hexadecimal digits
//! signature
//! four lines of minisign, or nothing, filled up with newlines
//! footer-sha256 64 hexadecimal digits, over all footer bytes before this line
//! ```

use crate::digest::Sha256;

/// Bytes of the footer.
pub const FOOTER_SIZE: u64 = 1024;
/// The newest bundle format that this program writes and reads.
pub const FORMAT: u32 = 2;

const MAGIC: &str = "SUNSHINE-INSTALLER BUNDLE, FORMAT ";
const SIZE: usize = 1024;
/// `footer-sha256 `, the sum and a newline.
const TAIL: usize = 14 + 64 + 1;

/// Where a part lies in the file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub size: u64,
}

impl Span {
    /// The first byte behind it; None when the numbers are absurd.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.size)
    }
}

/// The footer, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The bundle's format.
    pub format: u32,
    /// The executable, from the first byte.
    pub deployer: Span,
    /// The tar archive.
    pub archive: Span,
    /// The JSON manifest, up to the footer.
    pub manifest: Span,
    /// The manifest's sum.
    pub manifest_sha256: Sha256,
    /// A minisign signature (four lines) over the manifest followed by [`Footer::signed_head`]; empty without one.
    pub signature: String,
}

/// Why 1024 bytes are no footer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FooterError {
    #[error("its first line is missing")]
    Magic,
    #[error("format {0}")]
    Newer(u32),
    #[error("{0}")]
    Damaged(&'static str),
}

impl Footer {
    /// The lines before the signature: with the manifest, this is what is signed.
    #[must_use]
    pub fn signed_head(&self) -> String {
        let Self { format, deployer, archive, manifest, manifest_sha256, .. } = self;
        format!(
            "{MAGIC}{format:04}\n\
             deployer  {:020} {:020}\narchive   {:020} {:020}\nmanifest  {:020} {:020}\n\
             manifest-sha256 {manifest_sha256}\nsignature\n",
            deployer.offset, deployer.size, archive.offset, archive.size, manifest.offset, manifest.size,
        )
    }

    /// Bytes that a signature may have.
    #[must_use]
    pub fn signature_room(&self) -> usize {
        SIZE - TAIL - self.signed_head().len()
    }

    /// The 1024 bytes; None when the signature is too long or ends in an empty line.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        if self.signature.len() > self.signature_room() || self.signature.ends_with('\n') {
            return None;
        }
        let mut text = self.signed_head();
        text.push_str(&self.signature);
        text.extend(std::iter::repeat_n('\n', SIZE - TAIL - text.len()));
        let sum = Sha256::of(text.as_bytes());
        text.push_str(&format!("footer-sha256 {sum}\n"));
        Some(text.into_bytes())
    }

    /// Reads the last 1024 bytes of a file of `file_size` bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FooterError> {
        if bytes.len() != SIZE || !bytes.starts_with(MAGIC.as_bytes()) {
            return Err(FooterError::Magic);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| FooterError::Damaged("it is not text"))?;
        let format = text.get(MAGIC.len()..MAGIC.len() + 4).and_then(|n| n.parse::<u32>().ok());
        let known = format.filter(|format| (1..=FORMAT).contains(format));
        let footer = known.and_then(|format| Self::read_lines(text, format));
        match (footer, format) {
            (Some(footer), _) if footer.encode().as_deref() == Some(bytes) => Ok(footer),
            // A newer footer need not have our lines, but it keeps the size, the first line and its own sum.
            (None, Some(format)) if format > FORMAT && Self::sum_holds(text) => Err(FooterError::Newer(format)),
            _ => Err(FooterError::Damaged("its bytes are not what its own sum says")),
        }
    }

    fn sum_holds(text: &str) -> bool {
        text.split_at_checked(SIZE - TAIL)
            .is_some_and(|(covered, tail)| tail == format!("footer-sha256 {}\n", Sha256::of(covered.as_bytes())))
    }

    fn read_lines(text: &str, format: u32) -> Option<Self> {
        let mut lines = text.split_at_checked(SIZE - TAIL)?.0.splitn(7, '\n').skip(1);
        let mut span = |name: &str| -> Option<Span> {
            let (offset, size) = lines.next()?.strip_prefix(name)?.trim_start().split_once(' ')?;
            Some(Span { offset: offset.parse().ok()?, size: size.parse().ok()? })
        };
        let (deployer, archive, manifest) = (span("deployer")?, span("archive")?, span("manifest")?);
        let manifest_sha256 = lines.next()?.strip_prefix("manifest-sha256 ")?.parse().ok()?;
        let signature = lines.next()?.strip_prefix("signature");
        // splitn(7) left the signature and its filling in the last piece.
        signature.filter(|rest| rest.is_empty())?;
        let signature = lines.next()?.trim_end_matches('\n').to_owned();
        Some(Self { format, deployer, archive, manifest, manifest_sha256, signature })
    }

    /// True when the parts follow each other without a gap that nothing covers, up to the footer.
    #[must_use]
    pub fn fits(&self, file_size: u64) -> bool {
        self.deployer.offset == 0
            && self.deployer.size <= self.archive.offset
            && self.archive.end() == Some(self.manifest.offset)
            && self.manifest.end().and_then(|end| end.checked_add(FOOTER_SIZE)) == Some(file_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(signature: &str) -> Footer {
        Footer {
            format: FORMAT,
            deployer: Span { offset: 0, size: 5000 },
            archive: Span { offset: 8192, size: 1024 },
            manifest: Span { offset: 9216, size: 300 },
            manifest_sha256: Sha256::of(b"manifest"),
            signature: signature.into(),
        }
    }

    #[test]
    fn it_reads_what_it_wrote() {
        for signature in ["", "untrusted comment: x\nAAAA\ntrusted comment: y\nBBBB"] {
            let footer = sample(signature);
            let bytes = footer.encode().unwrap();
            assert_eq!(bytes.len() as u64, FOOTER_SIZE);
            assert_eq!(Footer::decode(&bytes), Ok(footer));
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let bytes = sample("untrusted comment: x\nAAAA\ntrusted comment: y\nBBBB").encode().unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                assert!(Footer::decode(&bytes).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_newer_format_says_so() {
        let text = String::from_utf8(sample("").encode().unwrap()).unwrap().replace("FORMAT 0002", "FORMAT 0003");
        let covered = &text[..SIZE - TAIL];
        let newer = format!("{covered}footer-sha256 {}\n", Sha256::of(covered.as_bytes()));
        assert_eq!(Footer::decode(newer.as_bytes()), Err(FooterError::Newer(3)));
        assert!(matches!(Footer::decode(text.as_bytes()), Err(FooterError::Damaged(_))));
    }

    #[test]
    fn gaps_and_overlaps_do_not_fit() {
        let footer = sample("");
        assert!(footer.fits(9516 + 1024));
        assert!(!footer.fits(9516 + 1025));
        let mut gap = footer.clone();
        gap.manifest.offset += 1;
        assert!(!gap.fits(9517 + 1024));
        let mut absurd = footer;
        absurd.archive.size = u64::MAX;
        assert!(!absurd.fits(9516 + 1024));
    }
}
