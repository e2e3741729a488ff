//! The tar headers between the members: POSIX.1-2001 ("pax"), which tar, bsdtar and busybox all read.
//!
//! A large member's bytes begin at a multiple of 4096, so that they can be mapped, and cloned by file systems that
//! can. The gap before it is filled by a pax header that carries a comment; no tar extracts that.

use crate::member::NameError;

/// Tar's unit.
pub(crate) const BLOCK: u64 = 512;
/// Where the bytes of large members begin: a memory page, a file system block.
pub(crate) const ALIGN: u64 = 4096;
/// Members from this size on are aligned; the filling costs at most 4.5 KiB each.
pub(crate) const ALIGN_FROM: u64 = 64 * 1024;
/// Two empty blocks end an archive.
pub(crate) const END: u64 = 2 * BLOCK;

/// Bytes of padding behind `len` bytes of contents.
pub(crate) fn padding(len: u64) -> u64 {
    len.next_multiple_of(BLOCK) - len
}

/// The headers in front of a member whose first header begins at `at`.
pub(crate) fn headers(name: &str, size: u64, mtime: u64, at: u64) -> Result<Vec<u8>, NameError> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    let mut records = String::new();
    if header.set_path(name).is_err() {
        records.push_str(&record("path", name));
        // Programs without pax see a shortened name.
        let short: String = name.chars().filter(char::is_ascii).take(90).collect();
        header.set_path(short).map_err(|_| NameError { name: name.into(), why: "tar has no way to write it" })?;
    }
    if size > 0o77_777_777_777 {
        records.push_str(&record("size", &size.to_string()));
    }
    fill(&mut header, size, mtime);
    if size >= ALIGN_FROM {
        records.push_str(&filling(at, records.len() as u64));
    }
    let mut out = Vec::new();
    if !records.is_empty() {
        let mut pax = tar::Header::new_ustar();
        pax.set_entry_type(tar::EntryType::XHeader);
        pax.set_path("pax").map_err(|_| NameError { name: name.into(), why: "tar has no way to write it" })?;
        fill(&mut pax, records.len() as u64, mtime);
        out.extend_from_slice(pax.as_bytes());
        out.extend_from_slice(records.as_bytes());
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.extend_from_slice(header.as_bytes());
    Ok(out)
}

fn fill(header: &mut tar::Header, size: u64, mtime: u64) {
    header.set_size(size);
    header.set_mtime(mtime);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    // A field of 32 bytes always takes these four letters.
    let _ = header.set_username("root");
    let _ = header.set_groupname("root");
    header.set_cksum();
}

/// One pax record: its own length in decimal, a space, `key=value`, a newline.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + rest.to_string().len();
    if len.to_string().len() + rest != len {
        len += 1;
    }
    format!("{len} {key}={value}\n")
}

/// A comment record that makes the member's bytes begin at a multiple of [`ALIGN`]; empty when they do anyway.
fn filling(at: u64, records: u64) -> String {
    let plain = if records == 0 { at + BLOCK } else { at + BLOCK + records.next_multiple_of(BLOCK) + BLOCK };
    if plain.is_multiple_of(ALIGN) {
        return String::new();
    }
    // A pax header with a comment: its own block, the records, and then the member's header.
    let least = at + BLOCK + (records + 16).next_multiple_of(BLOCK) + BLOCK;
    let start = least.next_multiple_of(ALIGN);
    let room = start - at - 2 * BLOCK - records;
    // The record is as long as the room, less a little: the rest of its last block is zeros anyway.
    let value = usize::try_from(room).unwrap_or(0).saturating_sub(16);
    record("comment", &" ".repeat(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for n in 0..1200 {
            let record = record("comment", &"x".repeat(n));
            let (len, _) = record.split_once(' ').unwrap();
            assert_eq!(len.parse::<usize>().unwrap(), record.len());
        }
    }

    #[test]
    fn large_members_are_aligned_whatever_came_before() {
        for name in ["rpms/a.rpm", &format!("rpms/{}.rpm", "n".repeat(200))] {
            for at in (0..ALIGN * 3).step_by(512) {
                let headers = headers(name, ALIGN_FROM, 0, at).unwrap();
                assert_eq!((at + headers.len() as u64) % ALIGN, 0, "{name} at {at}");
                assert!(headers.len() <= 10 * 512, "{}", headers.len());
            }
        }
    }

    #[test]
    fn small_members_are_not_filled() {
        assert_eq!(headers("conf/conf.ini", 100, 0, 512).unwrap().len(), 512);
    }
}
