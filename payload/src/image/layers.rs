//! Layers on their way into a bundle: each is read once, its sums are compared with those that its image states, and it is
//! packed where it was not packed.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use camino::Utf8PathBuf;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::digest::{CHUNK, Hasher, Sha256};
use crate::error::BundleError;
use crate::output::{Spool, SpoolFile};
use crate::write::Source;

use super::document::{LAYER_GZIP, LAYER_ZSTD};
use super::tree::{Packing, packing, unpacker};

/// The level of gzip that `docker push` takes too.
const LEVEL: u32 = 6;

/// A layer as it was found.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub(super) source: Source,
    /// The sum of the unpacked layer, as the image's configuration states it.
    pub(super) diff_id: Sha256,
    /// Its digest, where a manifest names it: then it stays as it is. Else it is packed here unless it is already.
    pub(super) digest: Option<Sha256>,
    /// What the user named.
    pub(super) input: Utf8PathBuf,
}

/// A layer as it goes into the bundle.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) source: Source,
    pub(super) digest: Sha256,
    pub(super) size: u64,
    /// Bytes, unpacked.
    pub(super) unpacked: u64,
    pub(super) media_type: &'static str,
}

/// Layers by what they unpack to and the digest that is asked for.
pub(super) type Prepared = HashMap<(Sha256, Option<Sha256>), Ready>;

/// Prepares all layers, each once, on all cores. `progress` hears the bytes read by each of them.
pub(super) fn prepare(
    layers: &[&Raw],
    spool: &Spool,
    progress: &mut dyn FnMut(u64),
) -> Result<Prepared, Vec<BundleError>> {
    let mut once: Vec<&Raw> = Vec::new();
    for layer in layers {
        if once.iter().all(|known| (known.diff_id, known.digest) != (layer.diff_id, layer.digest)) {
            once.push(layer);
        }
    }
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(once.len());
    std::thread::scope(|scope| {
        let (send, receive) = std::sync::mpsc::channel();
        for _ in 0..threads {
            let (send, once, next, done) = (send.clone(), &once, &next, &done);
            scope.spawn(move || {
                while let Some(raw) = once.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let ready = one(raw, spool);
                    // Nobody listens any more when the build was given up.
                    let _ = send.send(raw.source.size().unwrap_or_default());
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((*raw, ready));
                }
            });
        }
        drop(send);
        receive.iter().for_each(progress);
    });
    let (mut prepared, mut refused) = (HashMap::new(), Vec::new());
    for (raw, ready) in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
        match ready {
            Ok(ready) => drop(prepared.insert((raw.diff_id, raw.digest), ready)),
            Err(error) => refused.push(error),
        }
    }
    if refused.is_empty() { Ok(prepared) } else { Err(refused) }
}

fn one(raw: &Raw, spool: &Spool) -> Result<Ready, BundleError> {
    let found = packing(&raw.source)?;
    match (found, raw.digest) {
        (Packing::None, None) => pack(raw, spool),
        (packing, _) => keep(raw, packing),
    }
}

/// A layer that stays as it is.
fn keep(raw: &Raw, packing: Packing) -> Result<Ready, BundleError> {
    let mut stored = Counting { inner: raw.source.open()?, hasher: Hasher::new(), size: 0 };
    let unreadable = |e: io::Error| unfit(raw, format!("a layer is damaged: it cannot be unpacked: {e}"));
    let (mut plain, mut unpacked) = (Hasher::new(), 0);
    {
        let mut reader = unpacker(Box::new(&mut stored), packing).map_err(unreadable)?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let got = reader.read(&mut buffer).map_err(unreadable)?;
            if got == 0 {
                break;
            }
            plain.update(&buffer[..got]);
            unpacked += got as u64;
        }
    }
    io::copy(&mut stored, &mut io::sink()).map_err(BundleError::io("read", raw.source.path()))?;
    let (digest, size) = (stored.hasher.finish(), stored.size);
    if let Some(stated) = raw.digest.filter(|stated| *stated != digest) {
        return Err(unfit(raw, format!("a layer is damaged: its sha256 is {digest}, the manifest says {stated}")));
    }
    check(raw, plain.finish())?;
    let media_type = if packing == Packing::Zstd { LAYER_ZSTD } else { LAYER_GZIP };
    Ok(Ready { source: raw.source.clone(), digest, size, unpacked, media_type })
}

/// A layer that is packed here: the same bytes on every build, since gzip's header is given no time and no name.
fn pack(raw: &Raw, spool: &Spool) -> Result<Ready, BundleError> {
    let mut reader = raw.source.open()?;
    let file = Packed { file: spool.file()?, hasher: Hasher::new(), failed: None };
    let mut packer = GzEncoder::new(file, Compression::new(LEVEL));
    let mut plain = Hasher::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        let got = reader.read(&mut buffer).map_err(BundleError::io("read", raw.source.path()))?;
        if got == 0 {
            break;
        }
        plain.update(&buffer[..got]);
        if let Err(error) = packer.write_all(&buffer[..got]) {
            return Err(packer.get_mut().failure(error));
        }
    }
    if let Err(error) = packer.try_finish() {
        return Err(packer.get_mut().failure(error));
    }
    check(raw, plain.finish())?;
    let Packed { file, hasher, .. } = packer.finish().map_err(BundleError::io("pack", raw.source.path()))?;
    let source = Source::File(file.path.clone());
    let (size, unpacked) = (file.written, raw.source.size()?);
    Ok(Ready { source, digest: hasher.finish(), size, unpacked, media_type: LAYER_GZIP })
}

fn check(raw: &Raw, found: Sha256) -> Result<(), BundleError> {
    if found == raw.diff_id {
        return Ok(());
    }
    let what =
        format!("a layer is damaged: unpacked its sha256 is {found}, the image's configuration says {}", raw.diff_id);
    Err(unfit(raw, what))
}

fn unfit(raw: &Raw, what: String) -> BundleError {
    BundleError::Unfit { path: raw.input.clone(), what }
}

/// A reader that hashes and counts what passes.
struct Counting<'a> {
    inner: Box<dyn Read + Send + 'a>,
    hasher: Hasher,
    size: u64,
}

impl Read for Counting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..got]);
        self.size += got as u64;
        Ok(got)
    }
}

/// A file that is hashed while it is written, and keeps why it could not be.
struct Packed {
    file: SpoolFile,
    hasher: Hasher,
    failed: Option<BundleError>,
}

impl Packed {
    fn failure(&mut self, error: io::Error) -> BundleError {
        self.failed.take().unwrap_or_else(|| BundleError::io("pack", &self.file.path)(error))
    }
}

impl Write for Packed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.file.write(bytes) {
            self.failed = Some(error);
            return Err(io::Error::other("the file cannot be written"));
        }
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
