//! A mark inside the executable: does it belong to a bundle, and which key must have signed that bundle?
//!
//! A bundle that lost its tail (cut off just behind the executable, or treated with `strip`) is otherwise the same
//! file as the deployer alone. So whoever packs a deployer sets this mark in it, and the deployer that finds it set
//! and no payload behind itself says "payload missing" instead of working without one.

/// First bytes of the mark. They stand in the executable only once: whoever searches takes them from there.
const MAGIC: [u8; 32] = *b"\x91SUNSHINE-INSTALLER-STAMP\x0d\x0a\x1a\x00\x91\x17\x02";
/// The magic, one byte (0 bare, 1 packed), and the public key's base64 text filled up with zeros.
const SIZE: usize = 32 + 1 + 95;

#[used]
static STAMP: [u8; SIZE] = bare();

const fn bare() -> [u8; SIZE] {
    let mut stamp = [0; SIZE];
    let mut i = 0;
    while i < MAGIC.len() {
        stamp[i] = MAGIC[i];
        i += 1;
    }
    stamp
}

/// What the mark says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The public key (base64, as in a minisign key file) that the bundle must be signed with.
    pub pinned_key: Option<String>,
}

/// The running program's own mark; None in a deployer that was never packed.
#[must_use]
pub(crate) fn own() -> Option<Stamp> {
    // The file is changed behind the compiler's back, so it must not reason about these bytes.
    read(std::hint::black_box(&STAMP))
}

fn read(stamp: &[u8]) -> Option<Stamp> {
    let (flag, key) = stamp.get(MAGIC.len()..SIZE)?.split_first()?;
    let key: Vec<u8> = key.iter().copied().take_while(|&b| b != 0).collect();
    (*flag == 1).then(|| Stamp { pinned_key: String::from_utf8(key).ok().filter(|k| !k.is_empty()) })
}

/// The mark's bytes behind the magic; None when the key is too long.
pub(crate) fn body(pinned_key: Option<&str>) -> Option<Vec<u8>> {
    let mut body = vec![1];
    body.extend_from_slice(pinned_key.unwrap_or_default().as_bytes());
    (body.len() <= SIZE - MAGIC.len()).then(|| {
        body.resize(SIZE - MAGIC.len(), 0);
        body
    })
}

/// The magic to search for.
pub(crate) fn magic() -> &'static [u8] {
    &std::hint::black_box(&STAMP)[..MAGIC.len()]
}

/// Sets the mark in an executable that passes by in pieces.
#[derive(Debug)]
pub(crate) struct Stamper {
    body: Vec<u8>,
    held: Vec<u8>,
    found: usize,
}

impl Stamper {
    pub(crate) fn new(body: Vec<u8>) -> Self {
        Self { body, held: Vec::new(), found: 0 }
    }

    /// How many marks there were.
    pub(crate) fn found(&self) -> usize {
        self.found
    }

    /// Takes the next piece, returns what is settled; with `last`, all that is left.
    pub(crate) fn pass(&mut self, piece: &[u8], last: bool) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(piece);
        let mut from = 0;
        while let Some(at) = find(&bytes[from..], magic()).map(|at| from + at) {
            let body = at + MAGIC.len();
            if bytes.len() < at + SIZE {
                // The mark's end is still to come, unless the file ends here: then it is no mark.
                if last {
                    break;
                }
                self.held = bytes.split_off(at);
                return bytes;
            }
            bytes[body..at + SIZE].copy_from_slice(&self.body);
            self.found += 1;
            from = at + SIZE;
        }
        if !last {
            let keep = (bytes.len() - from).min(MAGIC.len() - 1);
            self.held = bytes.split_off(bytes.len() - keep);
        }
        bytes
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let (first, mut from) = (needle.first()?, 0);
    while let Some(at) = bytes.get(from..)?.iter().position(|b| b == first) {
        from += at;
        if bytes[from..].starts_with(needle) {
            return Some(from);
        }
        from += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_was_never_packed() {
        assert_eq!(own(), None);
    }

    #[test]
    fn a_mark_reads_as_written() {
        let with = |key| [magic(), &body(key).unwrap()].concat();
        assert_eq!(read(&with(None)), Some(Stamp { pinned_key: None }));
        assert_eq!(read(&with(Some("RWQabc"))), Some(Stamp { pinned_key: Some("RWQabc".into()) }));
        assert_eq!(body(Some(&"k".repeat(96))), None);
    }

    #[test]
    fn the_mark_is_found_across_any_cut() {
        let file = [&[0x91; 40][..], magic(), &[0; SIZE - 32], b"tail"].concat();
        for cut in 0..file.len() {
            let mut stamper = Stamper::new(body(Some("RWQkey")).unwrap());
            let mut out = stamper.pass(&file[..cut], false);
            out.extend(stamper.pass(&file[cut..], false));
            out.extend(stamper.pass(&[], true));
            assert_eq!((out.len(), stamper.found()), (file.len(), 1), "cut at {cut}");
            assert_eq!(read(&out[40..]), Some(Stamp { pinned_key: Some("RWQkey".into()) }));
            assert_eq!((&out[..40], &out[40 + SIZE..]), (&file[..40], &b"tail"[..]));
        }
    }
}
