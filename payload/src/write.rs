//! Writing a bundle: deployer, archive, manifest, footer, in one pass over the inputs.
//!
//! The same inputs give the same bytes: members are ordered by name, no clock and no owner is asked.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::mpsc;

use camino::{Utf8Path, Utf8PathBuf};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::bundle::Bundle;
use crate::digest::{CHUNK, Hasher, Sha256};
use crate::error::{BundleError, Part};
use crate::footer::{FORMAT, Footer, Span};
use crate::manifest::{Deployer, Manifest};
use crate::member::{Member, MemberKind, RpmId, Stored, check_name};
use crate::output::Output;
use crate::tarframe::{self, padding};
use crate::{elf, stamp};

/// Text below this size is not worth a packed name.
const PACK_FROM: usize = 4096;
/// Text above this size would take too much memory to pack; such a file is stored as it is.
const PACK_UP_TO: u64 = 8 << 20;

/// All that a bundle is made of.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Goes into the manifest.
    pub product_version: String,
    /// The executable.
    pub deployer: Source,
    /// A minisign public key (base64) whose signature the deployer is to insist on.
    pub pinned_key: Option<String>,
    /// Seconds since 1970 that the archive's entries carry.
    pub newest_input: u64,
    /// In any order.
    pub members: Vec<NewMember>,
}

/// A member to be.
#[derive(Clone, Debug)]
pub struct NewMember {
    /// Its name, see [`check_name`].
    pub name: String,
    /// What it is for.
    pub kind: MemberKind,
    /// Its contents.
    pub source: Source,
    /// Which package it is.
    pub rpm: Option<RpmId>,
    /// Its modification time in the archive.
    pub mtime: u64,
    /// What its sum was when it was read before; another sum while packing is an error.
    pub sha256: Option<Sha256>,
}

/// Where bytes come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A whole file.
    File(Utf8PathBuf),
    /// A part of a file.
    Range {
        /// The file.
        path: Utf8PathBuf,
        /// Where the part begins.
        at: u64,
        /// Its bytes.
        size: u64,
    },
    /// These bytes.
    Bytes(Vec<u8>),
    /// A member of another bundle.
    Member(Bundle, Box<Member>),
    /// The executable of another bundle.
    Deployer(Bundle),
}

impl Source {
    /// How messages call it.
    pub(crate) fn path(&self) -> Utf8PathBuf {
        match self {
            Self::File(path) | Self::Range { path, .. } => path.clone(),
            Self::Bytes(_) => "(in memory)".into(),
            Self::Member(bundle, member) => bundle.path().join(&member.name),
            Self::Deployer(bundle) => bundle.path().to_owned(),
        }
    }

    pub(crate) fn size(&self) -> Result<u64, BundleError> {
        Ok(match self {
            Self::Range { size, .. } => *size,
            Self::File(path) => fs_err::metadata(path).map_err(BundleError::io("read", path))?.len(),
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Member(_, member) => member.size,
            Self::Deployer(bundle) => bundle.manifest().deployer.size,
        })
    }

    pub(crate) fn open(&self) -> Result<Box<dyn Read + Send + '_>, BundleError> {
        Ok(match self {
            Self::File(path) => Box::new(File::open(path).map_err(BundleError::io("open", path))?),
            Self::Range { path, at, size } => {
                let mut file = File::open(path).map_err(BundleError::io("open", path))?;
                file.seek(SeekFrom::Start(*at)).map_err(BundleError::io("read", path))?;
                Box::new(file.take(*size))
            }
            Self::Bytes(bytes) => Box::new(bytes.as_slice()),
            Self::Member(bundle, member) => bundle.reader(member)?,
            Self::Deployer(bundle) => Box::new(bundle.deployer_reader()?),
        })
    }

    pub(crate) fn read_all(&self) -> Result<Vec<u8>, BundleError> {
        let mut bytes = Vec::new();
        self.open()?.read_to_end(&mut bytes).map_err(BundleError::io("read", self.path()))?;
        Ok(bytes)
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Written {
    /// Bytes of the finished bundle.
    pub size: u64,
    /// Its manifest.
    pub manifest: Manifest,
}

/// Writes the bundle to `out`, which appears only when it is whole. `progress` hears the bytes written so far.
pub fn write(recipe: &Recipe, out: &Utf8Path, progress: &mut dyn FnMut(u64)) -> Result<Written, BundleError> {
    let members = prepare(recipe)?;
    let expected = recipe.deployer.size()? + members.iter().map(|(_, size, _)| size + 5 * 1024).sum::<u64>();
    let mut out = Output::create(out, 0o777, expected)?;
    let (deployer, arch) = write_deployer(&mut out, recipe)?;
    let mut frame = Hasher::new();
    let mut framed = |out: &mut Output, bytes: &[u8]| {
        frame.update(bytes);
        out.write(bytes)
    };
    let pad = out.at().next_multiple_of(tarframe::ALIGN) - out.at();
    framed(&mut out, &zeros(pad))?;
    let archive = out.at();
    let mut listed = Vec::with_capacity(members.len());
    for (new, size, packed) in members {
        let name_in_tar = if packed.is_some() { format!("{}.gz", new.name) } else { new.name.clone() };
        let headers = tarframe::headers(&name_in_tar, size, new.mtime, out.at())?;
        framed(&mut out, &headers)?;
        listed.push(write_member(&mut out, new, size, packed.as_deref(), progress)?);
        framed(&mut out, &zeros(padding(size)))?;
    }
    framed(&mut out, &zeros(tarframe::END))?;
    let manifest = Manifest {
        format: FORMAT,
        product: "sunshine-installer".into(),
        product_version: recipe.product_version.clone(),
        arch: arch.to_owned(),
        newest_input: recipe.newest_input,
        deployer,
        archive_sha256: frame.finish(),
        pinned_key: recipe.pinned_key.clone(),
        members: listed,
    };
    write_tail(&mut out, &manifest, archive)?;
    let size = out.at();
    out.commit()?;
    Ok(Written { size, manifest })
}

/// Members in order, each with the size of its stored bytes, and those bytes where packing helps.
type Prepared<'a> = (&'a NewMember, u64, Option<Vec<u8>>);

fn prepare(recipe: &Recipe) -> Result<Vec<Prepared<'_>>, BundleError> {
    let mut members: Vec<&NewMember> = recipe.members.iter().collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(twice) = members.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(BundleError::Unfit {
            path: twice[1].source.path(),
            what: format!("there are two members named {}", twice[1].name),
        });
    }
    let mut prepared = Vec::with_capacity(members.len());
    for new in members {
        check_name(&new.name)?;
        let size = new.source.size()?;
        let packed = pack(new, size)?;
        prepared.push((new, packed.as_ref().map_or(size, |bytes| bytes.len() as u64), packed));
    }
    Ok(prepared)
}

/// The gzip form of a text, when it is worth it.
fn pack(new: &NewMember, size: u64) -> Result<Option<Vec<u8>>, BundleError> {
    let text = !matches!(
        new.kind,
        MemberKind::Rpm | MemberKind::Image | MemberKind::Blob | MemberKind::Layout | MemberKind::Repodata
    );
    if !text || size < PACK_FROM as u64 || size > PACK_UP_TO {
        return Ok(None);
    }
    let bytes = new.source.read_all()?;
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(&bytes).map_err(BundleError::io("pack", new.source.path()))?;
    let packed = packer.finish().map_err(BundleError::io("pack", new.source.path()))?;
    Ok((packed.len() < bytes.len() / 10 * 9).then_some(packed))
}

fn write_member(
    out: &mut Output,
    new: &NewMember,
    size: u64,
    packed: Option<&[u8]>,
    progress: &mut dyn FnMut(u64),
) -> Result<Member, BundleError> {
    let offset = out.at();
    let (size, sha256, stored) = match packed {
        Some(bytes) => {
            out.write(bytes)?;
            let plain = new.source.read_all()?;
            let stored = Stored::Gzip { size, sha256: Sha256::of(bytes) };
            (plain.len() as u64, Sha256::of(&plain), stored)
        }
        None => (size, copy(out, &new.source, size, progress)?, Stored::Plain),
    };
    if new.sha256.is_some_and(|before| before != sha256) {
        return Err(changed(&new.source));
    }
    progress(out.at());
    Ok(Member { name: new.name.clone(), kind: new.kind, size, sha256, offset, stored, rpm: new.rpm.clone() })
}

fn changed(source: &Source) -> BundleError {
    // A bundle's own parts do not change: they are damaged.
    let what = "its bytes do not have the sha256 that the manifest states";
    match source {
        Source::Member(bundle, member) => return bundle.damaged_member(member, what),
        Source::Deployer(bundle) => return BundleError::damaged(bundle.path(), Part::Deployer, what),
        _ => {}
    }
    BundleError::Unfit { path: source.path(), what: "it changed while it was being packed".into() }
}

/// Copies a source of exactly `size` bytes and hashes it: one thread reads and hashes, this one writes.
fn copy(out: &mut Output, source: &Source, size: u64, progress: &mut dyn FnMut(u64)) -> Result<Sha256, BundleError> {
    let mut reader = source.open()?;
    if size <= CHUNK as u64 {
        let mut bytes = Vec::with_capacity(CHUNK);
        reader.take(size + 1).read_to_end(&mut bytes).map_err(BundleError::io("read", source.path()))?;
        out.write(&bytes)?;
        return if bytes.len() as u64 == size { Ok(Sha256::of(&bytes)) } else { Err(changed(source)) };
    }
    let (full, filled) = mpsc::sync_channel::<Vec<u8>>(4);
    let (empty, emptied) = mpsc::channel::<Vec<u8>>();
    std::thread::scope(|scope| {
        let hashing = scope.spawn(move || {
            let mut hasher = Hasher::new();
            loop {
                let mut buffer = emptied.try_recv().unwrap_or_default();
                buffer.clear();
                let got = reader.by_ref().take(CHUNK as u64).read_to_end(&mut buffer)?;
                hasher.update(&buffer);
                if got == 0 || full.send(buffer).is_err() {
                    return Ok(hasher.finish());
                }
            }
        });
        let end = out.at() + size;
        for buffer in filled {
            out.write(&buffer)?;
            progress(out.at());
            let _ = empty.send(buffer);
        }
        let sum = hashing.join().unwrap_or_else(|_| Err(std::io::Error::other("the reading thread died")));
        let sum = sum.map_err(BundleError::io("read", source.path()))?;
        if out.at() == end { Ok(sum) } else { Err(changed(source)) }
    })
}

fn zeros(len: u64) -> Vec<u8> {
    vec![0; usize::try_from(len).unwrap_or_default()]
}

fn write_deployer(out: &mut Output, recipe: &Recipe) -> Result<(Deployer, &'static str), BundleError> {
    let unfit = |what: &str| BundleError::Unfit { path: recipe.deployer.path(), what: what.into() };
    let stamp = stamp::body(recipe.pinned_key.as_deref()).ok_or_else(|| unfit("the pinned key is too long"))?;
    let mut stamper = stamp::Stamper::new(stamp);
    let mut reader = recipe.deployer.open()?;
    let (mut before, mut hasher) = (Hasher::new(), Hasher::new());
    let mut arch = None;
    loop {
        let mut buffer = Vec::with_capacity(CHUNK);
        reader
            .by_ref()
            .take(CHUNK as u64)
            .read_to_end(&mut buffer)
            .map_err(BundleError::io("read", recipe.deployer.path()))?;
        let last = buffer.is_empty();
        if out.at() == 0 && arch.is_none() {
            arch = elf::arch(&buffer);
            arch.ok_or_else(|| unfit("the deployer is not a Linux executable (ELF) of a known architecture"))?;
        }
        before.update(&buffer);
        let bytes = stamper.pass(&buffer, last);
        hasher.update(&bytes);
        out.write(&bytes)?;
        if last {
            break;
        }
    }
    if let Source::Deployer(bundle) = &recipe.deployer
        && before.finish() != bundle.manifest().deployer.sha256
    {
        return Err(changed(&recipe.deployer));
    }
    if stamper.found() > 1 {
        return Err(unfit("it carries the bundle's mark more than once"));
    }
    if recipe.pinned_key.is_some() && stamper.found() == 0 {
        return Err(unfit("it has no place for a pinned key: it is not a sunshine-installer"));
    }
    let deployer = Deployer { size: out.at(), sha256: hasher.finish() };
    arch.map(|arch| (deployer, arch)).ok_or_else(|| unfit("the deployer is empty"))
}

fn write_tail(out: &mut Output, manifest: &Manifest, archive: u64) -> Result<(), BundleError> {
    let bytes = manifest.encode().map_err(|e| BundleError::Unfit { path: "manifest".into(), what: e.to_string() })?;
    let footer = Footer {
        format: FORMAT,
        deployer: Span { offset: 0, size: manifest.deployer.size },
        archive: Span { offset: archive, size: out.at() - archive },
        manifest: Span { offset: out.at(), size: bytes.len() as u64 },
        manifest_sha256: Sha256::of(&bytes),
        signature: String::new(),
    };
    out.write(&bytes)?;
    // Without a signature there is always room.
    out.write(&footer.encode().unwrap_or_default())
}
