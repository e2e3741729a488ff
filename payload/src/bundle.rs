//! A bundle, opened: one `.bin` file, or the folder that `bundle extract` made of it.
//! Opening reads the footer and the manifest and nothing else, so it costs the same on every size.
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use camino::{Utf8Path, Utf8PathBuf};
use flate2::read::GzDecoder;

use crate::digest::{CHUNK, Hasher, Sha256};
use crate::error::{BundleError, Part};
use crate::filestate::FileState;
use crate::footer::{FOOTER_SIZE, Footer, FooterError, Span};
use crate::manifest::Manifest;
use crate::member::{Member, MemberKind, Stored};
use crate::range::{Handle, RangeReader, read_span};
use crate::{folder, stamp};

/// A manifest larger than this is no manifest: 64 MiB would list some 200,000 members.
const MANIFEST_LIMIT: u64 = 64 << 20;

/// A bundle, opened. Cheap to clone; all clones share one file handle and one map.
#[derive(Clone, Debug)]
pub struct Bundle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: Utf8PathBuf,
    place: Place,
    footer: Footer,
    manifest: Manifest,
    manifest_bytes: Vec<u8>,
    own_stamp: Option<stamp::Stamp>,
    /// Members found whole, by name, and what their file was then.
    whole: Mutex<HashMap<String, FileState>>,
}

#[derive(Debug)]
enum Place {
    File { file: File, map: OnceLock<Bytes> },
    Folder,
}

impl Bundle {
    /// Opens a bundle file or an extracted folder. Checks the footer and the manifest, not the members.
    pub fn open(path: &Utf8Path) -> Result<Self, BundleError> {
        if path.is_dir() {
            return Self::open_folder(path);
        }
        let file = File::open(path).map_err(BundleError::io("open", path))?;
        Self::open_file(path, file)
    }

    /// Opens another bundle for the running program to work with: it must be signed with the key that is pinned in the program.
    pub fn open_for_work(path: &Utf8Path) -> Result<Self, BundleError> {
        Self::open(path)?.held_to(stamp::own())
    }

    fn held_to(self, program: Option<stamp::Stamp>) -> Result<Self, BundleError> {
        let bundle = self.with_stamp(program);
        bundle.check_pinned_key()?;
        Ok(bundle)
    }

    /// The bundle that the running program is part of: its own file, or the folder it was extracted to.
    /// None when it is a deployer that was never packed.
    pub fn open_self() -> Result<Option<Self>, BundleError> {
        let path = own_path()?;
        // Through /proc the running file is reached even when it was renamed or replaced meanwhile.
        let file = File::open("/proc/self/exe").map_err(BundleError::io("open", &path))?;
        let stamp = stamp::own();
        let beside = path.parent().filter(|dir| dir.join(folder::FOOTER).is_file());
        let opened = match (Self::open_file(&path, file), &stamp, beside) {
            (Ok(bundle), ..) => bundle,
            (Err(_), _, Some(dir)) => Self::open_folder(dir)?,
            (Err(error @ BundleError::Io { .. }), ..) => return Err(error),
            (Err(_), None, None) => return Ok(None),
            (Err(BundleError::Damaged { path, part: Part::Footer, what }), Some(_), None) => {
                return Err(BundleError::damaged(path, Part::Footer, format!("payload missing: {what}")));
            }
            (Err(error), ..) => return Err(error),
        };
        Ok(Some(opened.with_stamp(stamp)))
    }

    fn with_stamp(self, own_stamp: Option<stamp::Stamp>) -> Self {
        match Arc::try_unwrap(self.0) {
            Ok(inner) => Self(Arc::new(Inner { own_stamp, ..inner })),
            Err(shared) => Self(shared),
        }
    }

    fn open_file(path: &Utf8Path, file: File) -> Result<Self, BundleError> {
        let io = |action| BundleError::io(action, path);
        let size = file.metadata().map_err(io("read"))?.len();
        let start = size.checked_sub(FOOTER_SIZE).ok_or_else(|| too_short(path))?;
        let bytes = read_span(&file, Span { offset: start, size: FOOTER_SIZE }).map_err(io("read"))?;
        let footer = decode_footer(path, &bytes)?;
        if !footer.fits(size) {
            let what = format!("it describes another file than this one of {size} bytes");
            return Err(BundleError::damaged(path, Part::Footer, what));
        }
        if footer.manifest.size > MANIFEST_LIMIT {
            return Err(BundleError::damaged(path, Part::Manifest, "it is larger than a manifest can be"));
        }
        let manifest_bytes = read_span(&file, footer.manifest).map_err(io("read"))?;
        Self::build(path, Place::File { file, map: OnceLock::new() }, footer, manifest_bytes)
    }

    fn open_folder(path: &Utf8Path) -> Result<Self, BundleError> {
        let read = |name| {
            let file = path.join(name);
            fs_err::read(&file).map_err(BundleError::io("read", file))
        };
        let footer = decode_footer(path, &read(folder::FOOTER)?)?;
        Self::build(path, Place::Folder, footer, read(folder::MANIFEST)?)
    }

    fn build(path: &Utf8Path, place: Place, footer: Footer, manifest_bytes: Vec<u8>) -> Result<Self, BundleError> {
        let found = Sha256::of(&manifest_bytes);
        if found != footer.manifest_sha256 {
            let what = format!("its sha256 is {found}, the footer says {}", footer.manifest_sha256);
            return Err(BundleError::damaged(path, Part::Manifest, what));
        }
        let manifest = Manifest::decode(&manifest_bytes, &footer)
            .map_err(|what| BundleError::damaged(path, Part::Manifest, what))?;
        let whole = Mutex::default();
        let inner = Inner { path: path.to_owned(), place, footer, manifest, manifest_bytes, own_stamp: None, whole };
        Ok(Self(Arc::new(inner)))
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Utf8Path {
        &self.0.path
    }

    /// The bundle's file, for serving plainly stored members from it by offset; none for an extracted folder, where
    /// every member is a file of its own.
    #[must_use]
    pub fn file(&self) -> Option<&File> {
        match &self.0.place {
            Place::File { file, .. } => Some(file),
            Place::Folder => None,
        }
    }

    /// True for the folder that `bundle extract` made.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        matches!(self.0.place, Place::Folder)
    }

    /// What is in it.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// Where its parts lie (in the file; of a folder, in the file that it was extracted from).
    #[must_use]
    pub fn footer(&self) -> &Footer {
        &self.0.footer
    }

    /// The manifest as stored: what the signature covers begins with it.
    #[must_use]
    pub fn manifest_bytes(&self) -> &[u8] {
        &self.0.manifest_bytes
    }

    /// The key that must have signed this bundle: the one in the running program, else the manifest's.
    #[must_use]
    pub fn pinned_key(&self) -> Option<&str> {
        let own = self.0.own_stamp.as_ref().and_then(|s| s.pinned_key.as_deref());
        own.or(self.0.manifest.pinned_key.as_deref())
    }

    /// A member by its name, such as `rpms/etcd-3.4.23-1.el9.x86_64.rpm`.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.manifest().members.iter().find(|m| m.name == name)
    }

    /// The packages of this file name: several when different platforms have one.
    pub fn rpm_files<'a>(&'a self, file_name: &'a str) -> impl Iterator<Item = &'a Member> {
        self.manifest().members.iter().filter(move |m| m.kind == MemberKind::Rpm && m.file_name() == file_name)
    }

    /// A network's manifest by the network's name, such as `calico`.
    #[must_use]
    pub fn network(&self, name: &str) -> Option<&Member> {
        let wanted = format!("networks/{name}.yaml");
        self.member(&wanted).filter(|m| m.kind == MemberKind::NetworkManifest)
    }

    /// A member's contents: a slice of the mapped file when it is stored plain, unpacked (and checked) otherwise.
    /// Pages of the map count as this process's memory while they are used; [`Bundle::chunk`] avoids that.
    pub fn bytes(&self, member: &Member) -> Result<Bytes, BundleError> {
        if let (Stored::Plain, Place::File { file, map }) = (&member.stored, &self.0.place) {
            let map = self.map(file, map)?;
            return self.slice(&map, member);
        }
        // The manifest's size is only as true as the manifest.
        let mut contents = Vec::with_capacity(usize::try_from(member.size).unwrap_or_default().min(CHUNK));
        self.reader(member)?.read_to_end(&mut contents).map_err(|e| self.unreadable(member, e))?;
        if contents.len() as u64 != member.size || Sha256::of(&contents) != member.sha256 {
            return Err(self.damaged_member(member, "its contents do not have the sha256 that the manifest states"));
        }
        Ok(Bytes::from(contents))
    }

    fn map(&self, file: &File, map: &OnceLock<Bytes>) -> Result<Bytes, BundleError> {
        if let Some(map) = map.get() {
            return Ok(map.clone());
        }
        // SAFETY: the map is read only. Whoever truncates a bundle that is in use makes this process end with SIGBUS,
        // as with any program file; nothing here trusts the bytes to stay the same between two looks.
        #[allow(unsafe_code)]
        let mapped = unsafe { memmap2::Mmap::map(file) }.map_err(BundleError::io("map", self.path()))?;
        Ok(map.get_or_init(|| Bytes::from_owner(mapped)).clone())
    }

    fn slice(&self, map: &Bytes, member: &Member) -> Result<Bytes, BundleError> {
        let range = usize::try_from(member.offset).ok().zip(usize::try_from(member.size).ok());
        match range.and_then(|(at, len)| Some((at, at.checked_add(len)?))) {
            Some((at, end)) if end <= map.len() => Ok(map.slice(at..end)),
            _ => Err(self.damaged_member(member, "the file became shorter")),
        }
    }

    /// Up to `len` bytes of a plainly stored member from `at`, copied; for serving large members in little memory.
    pub fn chunk(&self, member: &Member, at: u64, len: usize) -> Result<Bytes, BundleError> {
        let len = len.min(usize::try_from(member.size.saturating_sub(at)).unwrap_or(len));
        if !matches!(member.stored, Stored::Plain) {
            let all = self.bytes(member)?;
            let at = usize::try_from(at).unwrap_or(usize::MAX).min(all.len());
            return Ok(all.slice(at..at + len));
        }
        let mut piece = vec![0; len];
        let (file, base) = self.stored_file(member)?;
        file.as_ref().read_exact_at(&mut piece, base + at).map_err(|e| self.unreadable(member, e))?;
        Ok(Bytes::from(piece))
    }

    /// Reads a member's contents from its beginning, unpacked.
    pub fn reader(&self, member: &Member) -> Result<Box<dyn Read + Send + '_>, BundleError> {
        let (file, at) = self.stored_file(member)?;
        // In a folder every member lies unpacked.
        let packed = !self.is_folder() && member.stored != Stored::Plain;
        let left = if packed { member.stored_size() } else { member.size };
        let stored = RangeReader { file, at, left };
        Ok(if packed {
            Box::new(GzDecoder::new(io::BufReader::new(stored)).take(member.size))
        } else {
            Box::new(stored)
        })
    }

    /// The file that a member's bytes are in, and where they begin in it.
    pub(crate) fn stored_file(&self, member: &Member) -> Result<(Handle<'_>, u64), BundleError> {
        match &self.0.place {
            Place::File { file, .. } => Ok((Handle::Shared(file), member.offset)),
            Place::Folder => {
                let path = self.path().join(&member.name);
                let file = File::open(&path).map_err(|e| match e.kind() {
                    io::ErrorKind::NotFound => self.damaged_member(member, "the file is missing"),
                    _ => BundleError::io("open", path)(e),
                })?;
                Ok((Handle::Owned(file), 0))
            }
        }
    }

    /// The executable's file; it begins at offset 0.
    pub(crate) fn deployer_file(&self) -> Result<Handle<'_>, BundleError> {
        match &self.0.place {
            Place::File { file, .. } => Ok(Handle::Shared(file)),
            Place::Folder => {
                let path = self.path().join(folder::DEPLOYER);
                File::open(&path).map(Handle::Owned).map_err(BundleError::io("open", path))
            }
        }
    }

    /// The bundle file from its first byte.
    pub(crate) fn whole_file(&self) -> Result<impl Read + Send + '_, BundleError> {
        let file = self.deployer_file()?;
        let left = file.as_ref().metadata().map_err(BundleError::io("read", self.path()))?.len();
        Ok(RangeReader { file, at: 0, left })
    }

    /// The deployer without the bundle behind it; fails when its file cannot be opened.
    pub fn deployer_reader(&self) -> Result<impl Read + Send + '_, BundleError> {
        Ok(RangeReader { file: self.deployer_file()?, at: 0, left: self.manifest().deployer.size })
    }

    /// Checks one member's bytes against the manifest. A member that this process has found whole is not read again
    /// while its file is the same.
    pub fn check(&self, member: &Member) -> Result<(), BundleError> {
        let known = self.0.whole.lock().unwrap_or_else(PoisonError::into_inner).get(&member.name).copied();
        if let Some(known) = known
            && FileState::of(self.stored_file(member)?.0.as_ref()).is_ok_and(|now| now == known)
        {
            return Ok(());
        }
        self.check_member(member, &mut |_| ())
    }

    pub(crate) fn check_member(&self, member: &Member, seen: &mut dyn FnMut(u64)) -> Result<(), BundleError> {
        let (file, at) = self.stored_file(member)?;
        let (size, sum) = match &self.0.place {
            Place::File { .. } => (member.stored_size(), member.stored_sha256()),
            Place::Folder => (member.size, &member.sha256),
        };
        let file = file.as_ref();
        if self.is_folder() && file.metadata().map_err(BundleError::io("read", self.path()))?.len() != size {
            return Err(self.damaged_member(member, "its size is not the manifest's"));
        }
        let before = FileState::of(file).ok();
        let mut hasher = Hasher::new();
        crate::digest::hash_range(&mut hasher, file, at, size, seen).map_err(|e| self.unreadable(member, e))?;
        let found = hasher.finish();
        if found == *sum {
            if let Some(state) = before {
                let mut whole = self.0.whole.lock().unwrap_or_else(PoisonError::into_inner);
                whole.insert(member.name.clone(), state);
            }
            return Ok(());
        }
        Err(self.damaged_member(member, &format!("its sha256 is {found}, the manifest says {sum}")))
    }

    pub(crate) fn damaged_member(&self, member: &Member, what: &str) -> BundleError {
        BundleError::damaged(self.path(), Part::Member(member.name.clone()), what)
    }

    fn unreadable(&self, member: &Member, error: io::Error) -> BundleError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged_member(member, "the file ends inside it"),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                self.damaged_member(member, &format!("it cannot be unpacked: {error}"))
            }
            _ => BundleError::Io { action: "read", path: self.path().join(&member.name), source: error },
        }
    }
}

fn own_path() -> Result<Utf8PathBuf, BundleError> {
    let path = std::env::current_exe().map_err(BundleError::io("find", "/proc/self/exe"))?;
    Utf8PathBuf::from_path_buf(path).map_err(|path| BundleError::Unfit {
        path: path.to_string_lossy().into_owned().into(),
        what: "the program's own path is not UTF-8".into(),
    })
}

fn too_short(path: &Utf8Path) -> BundleError {
    BundleError::damaged(path, Part::Footer, "it is missing: the file is shorter than a footer")
}

fn decode_footer(path: &Utf8Path, bytes: &[u8]) -> Result<Footer, BundleError> {
    Footer::decode(bytes).map_err(|error| match error {
        FooterError::Newer(found) => BundleError::NewerFormat { path: path.to_owned(), found },
        FooterError::Magic => {
            BundleError::damaged(path, Part::Footer, "it is missing: the file does not end as a bundle does")
        }
        FooterError::Damaged(what) => BundleError::damaged(path, Part::Footer, what),
    })
}
