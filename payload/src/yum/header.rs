//! The beginning of an rpm file, checked before a parser sees it: lead, signature header, header.
//! Source: the rpm project's `docs/manual/format_header.md` and `format_lead.md`.
//!
//! Two things are done here that parsers do not do. Lengths and offsets are held against the bytes that are there, so
//! that a damaged file is an error with words. And text in Latin-1, which old packages carry, becomes UTF-8.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use crate::digest::FileSlice;

const LEAD: usize = 96;
const INTRO: usize = 16;
const ENTRY: usize = 16;
/// rpm itself refuses headers above 256 MiB; a package of 100,000 files has about 15.
const LIMIT: usize = 32 << 20;

const STRING: u32 = 6;
const BIN: u32 = 7;
const STRING_ARRAY: u32 = 8;
const I18N_STRING: u32 = 9;

/// The bytes before the payload.
#[derive(Debug)]
pub(super) struct Head {
    bytes: Vec<u8>,
    signature: Range<usize>,
    header: Range<usize>,
}

impl Head {
    /// Reads the head of an rpm file; the error is a sentence about the file.
    pub(super) fn read(file: FileSlice<'_>) -> io::Result<Result<Self, String>> {
        let size = usize::try_from(file.len).unwrap_or(usize::MAX);
        let Some(lead) = read(file, 0, LEAD, size)? else {
            return Ok(Err("it is no rpm: it is shorter than an rpm's lead".into()));
        };
        if lead.get(..4) != Some(&[0xed, 0xab, 0xee, 0xdb]) {
            return Ok(Err("it is no rpm: it does not begin as one".into()));
        }
        let signature = match section(file, LEAD, size)? {
            Ok(end) => LEAD..end,
            Err(what) => return Ok(Err(format!("its signature header {what}"))),
        };
        let start = signature.end.next_multiple_of(8);
        let header = match section(file, start, size)? {
            Ok(end) => start..end,
            Err(what) => return Ok(Err(format!("its header {what}"))),
        };
        let Some(bytes) = read(file, 0, header.end, size)? else {
            return Ok(Err("it is truncated inside its header".into()));
        };
        let head = Self { bytes, signature, header };
        let sound = head.entries(&head.signature).and(head.entries(&head.header)).map(drop);
        Ok(sound.map(|()| head).map_err(str::to_owned))
    }

    /// All bytes before the payload.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The header alone: what its digests and its signature are made over.
    pub(super) fn header(&self) -> &[u8] {
        &self.bytes[self.header.clone()]
    }

    /// Where the header lies in the file.
    pub(super) fn header_range(&self) -> Range<u64> {
        self.header.start as u64..self.header.end as u64
    }

    fn entries(&self, section: &Range<usize>) -> Result<Vec<Entry>, &'static str> {
        let bytes = &self.bytes[section.clone()];
        let (index, store) = split(bytes).ok_or("its header's index is longer than the header")?;
        let entries: Vec<Entry> = index.chunks_exact(ENTRY).map(Entry::read).collect();
        let fits = |e: &Entry| {
            let least = if e.kind == BIN { e.count } else { 0 };
            e.offset <= store.len() && store.len() - e.offset >= least
        };
        if entries.iter().all(fits) { Ok(entries) } else { Err("its header points outside itself") }
    }

    /// The head with all text in UTF-8: the file's own bytes when they are that already.
    pub(super) fn in_utf8(&self) -> Result<Cow<'_, [u8]>, String> {
        let bytes = &self.bytes[self.header.clone()];
        let (entries, (_, store)) = (self.entries(&self.header)?, split(bytes).ok_or("its header has no store")?);
        let foreign = |e: &Entry| e.text(store).is_some_and(|text| std::str::from_utf8(text).is_err());
        if !entries.iter().any(foreign) {
            return Ok(Cow::Borrowed(&self.bytes));
        }
        // Converted text is longer: it goes behind the store, and its entry points there.
        let mut index = Vec::with_capacity(entries.len() * ENTRY);
        let mut store_out = store.to_vec();
        for mut entry in entries.iter().copied() {
            if let Some(text) = entry.text(store).filter(|text| std::str::from_utf8(text).is_err()) {
                entry.offset = store_out.len();
                store_out.extend(text.split_inclusive(|&b| b == 0).flat_map(to_utf8));
            }
            index.extend(entry.write());
        }
        let mut out = self.bytes[..self.header.start + 8].to_vec();
        out.extend(be(entries.len()));
        out.extend(be(store_out.len()));
        out.extend(index);
        out.extend(store_out);
        Ok(Cow::Owned(out))
    }
}

/// One string, from UTF-8 or else from Latin-1, where every byte is the character of the same number.
fn to_utf8(text: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(text) {
        Ok(text) => text.as_bytes().to_vec(),
        Err(_) => text.iter().map(|&b| char::from(b)).collect::<String>().into_bytes(),
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u32,
    kind: u32,
    offset: usize,
    count: usize,
}

impl Entry {
    fn read(bytes: &[u8]) -> Self {
        let field = |i: usize| u32_at(bytes, i * 4);
        Self { tag: field(0), kind: field(1), offset: field(2) as usize, count: field(3) as usize }
    }

    fn write(&self) -> [u8; ENTRY] {
        let mut out = [0; ENTRY];
        out[..4].copy_from_slice(&self.tag.to_be_bytes());
        out[4..8].copy_from_slice(&self.kind.to_be_bytes());
        out[8..12].copy_from_slice(&be(self.offset));
        out[12..].copy_from_slice(&be(self.count));
        out
    }

    /// The strings of this entry, each with its zero byte; None for other kinds and when they run out of the store.
    fn text<'a>(&self, store: &'a [u8]) -> Option<&'a [u8]> {
        let count = match self.kind {
            STRING => 1,
            STRING_ARRAY | I18N_STRING => self.count,
            _ => return None,
        };
        let rest = store.get(self.offset..)?;
        let mut ends = rest.iter().enumerate().filter(|(_, b)| **b == 0).map(|(i, _)| i + 1);
        Some(&rest[..if count == 0 { 0 } else { ends.nth(count - 1)? }])
    }
}

/// Index and store of a header section.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let index = (u32_at(bytes, 8) as usize).checked_mul(ENTRY)?;
    bytes.get(INTRO..)?.split_at_checked(index)
}

/// Where the section that begins at `at` ends.
fn section(file: FileSlice<'_>, at: usize, size: usize) -> io::Result<Result<usize, &'static str>> {
    let Some(intro) = read(file, at, INTRO, size)? else { return Ok(Err("is truncated")) };
    if intro.get(..4) != Some(&[0x8e, 0xad, 0xe8, 0x01]) {
        return Ok(Err("does not begin as one"));
    }
    let len = (u32_at(&intro, 8) as usize).checked_mul(ENTRY).and_then(|i| i.checked_add(u32_at(&intro, 12) as usize));
    Ok(match len.and_then(|len| len.checked_add(at + INTRO)) {
        Some(end) if end <= LIMIT => Ok(end),
        _ => Err("is larger than a header can be"),
    })
}

fn read(file: FileSlice<'_>, at: usize, len: usize, size: usize) -> io::Result<Option<Vec<u8>>> {
    if at.checked_add(len).is_none_or(|end| end > size) {
        return Ok(None);
    }
    let mut bytes = vec![0; len];
    file.file.read_exact_at(&mut bytes, file.base + at as u64)?;
    Ok(Some(bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes)
}

fn be(n: usize) -> [u8; 4] {
    // Both are at most twice LIMIT.
    u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes()
}
