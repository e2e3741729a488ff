//! The change record as a host sends it. See [`crate::fuzz`].

use sha2::{Digest, Sha256};

use super::record::Record;
use crate::fuzz::lossy;

/// A record as it is, and with the digests of its lines put right: else no change of it would come past them.
pub fn change_record(bytes: &[u8]) {
    let text = lossy(bytes);
    let sealed: String = text
        .lines()
        .filter_map(|line| line.rsplit_once('\t'))
        .map(|(content, _)| format!("{content}\t{}\n", &hex::encode(Sha256::digest(content))[..16]))
        .collect();
    for text in [text.as_ref(), &format!("format\t2\t-\n{sealed}")] {
        let record = Record::parse(text);
        assert!(record.lines.len() + record.damaged.len() <= text.lines().count());
        for line in &record.lines {
            assert!(!line.kind.contains(['\t', '\n']) && !line.name.contains(['\t', '\n']), "{line:?}");
        }
    }
}
