//! Unpacking, every byte checked on the way, on all cores.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};

use crate::bundle::Bundle;
use crate::digest::{CHUNK, Hasher, Sha256};
use crate::error::{BundleError, Part};
use crate::folder;
use crate::member::Member;
use crate::output::{available, write_failed};
use crate::progress::{Done, until_finished};
use crate::unfinished::{PREFIX, SUFFIX, Unfinished, sweep, utf8};

/// One file to write.
struct Job<'a> {
    name: &'a str,
    mode: u32,
    size: u64,
    sha256: &'a Sha256,
    member: Option<&'a Member>,
}

/// Unpacks a bundle into `dir`, which must be empty or not be there; it appears only when it is whole.
///
/// With `only`, those members alone are unpacked, into a folder that may have other files; else the folder becomes
/// all that the bundle is. `progress` hears the bytes written so far.
pub fn extract(
    bundle: &Bundle,
    dir: &Utf8Path,
    only: Option<&[&Member]>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), BundleError> {
    let mut jobs: Vec<Job<'_>> = match only {
        Some(members) => members.iter().map(|m| job(m)).collect(),
        None => bundle.manifest().members.iter().map(job).collect(),
    };
    if only.is_none() {
        let deployer = &bundle.manifest().deployer;
        let job =
            Job { name: folder::DEPLOYER, mode: 0o777, size: deployer.size, sha256: &deployer.sha256, member: None };
        jobs.push(job);
    }
    let parent = match dir.parent() {
        Some(parent) if !parent.as_str().is_empty() => parent.to_owned(),
        _ => Utf8PathBuf::from("."),
    };
    fs_err::create_dir_all(&parent).map_err(BundleError::io("make", &parent))?;
    check_space(&parent, dir, &jobs)?;
    if only.is_some() {
        fs_err::create_dir_all(dir).map_err(BundleError::io("make", dir))?;
        return run(bundle, dir, &jobs, progress);
    }
    if fs_err::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(BundleError::Unfit { path: dir.to_owned(), what: "the folder is not empty".into() });
    }
    sweep(&parent);
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX).permissions(Permissions::from_mode(0o777));
    let made = Unfinished::begin(|| builder.tempdir_in(&parent), |part| utf8(part.path()));
    let (part, unfinished) = made.map_err(BundleError::io("make", dir))?;
    let path = unfinished.path();
    bundle.check_archive()?;
    run(bundle, path, &jobs, progress)?;
    let footer = bundle.footer().encode().unwrap_or_default();
    for (name, bytes) in [(folder::MANIFEST, bundle.manifest_bytes()), (folder::FOOTER, footer.as_slice())] {
        let file = path.join(name);
        fs_err::write(&file, bytes).map_err(|e| write_failed(&dir.join(name), bytes.len() as u64, e))?;
    }
    fs_err::rename(path, dir).map_err(BundleError::io("name", dir))?;
    drop(unfinished);
    // It has its own name now: there is nothing left to remove.
    let _ = part.keep();
    Ok(())
}

fn job(member: &Member) -> Job<'_> {
    Job { name: &member.name, mode: 0o666, size: member.size, sha256: &member.sha256, member: Some(member) }
}

fn check_space(parent: &Utf8Path, dir: &Utf8Path, jobs: &[Job<'_>]) -> Result<(), BundleError> {
    // Every file takes whole blocks.
    let needed = jobs.iter().map(|job| job.size.next_multiple_of(4096)).sum();
    let available = available(parent)?;
    if available < needed {
        return Err(BundleError::DiskFull { path: dir.to_owned(), needed, available });
    }
    Ok(())
}

/// Writes all files; the first error ends it.
fn run(bundle: &Bundle, dir: &Utf8Path, jobs: &[Job<'_>], progress: &mut dyn FnMut(u64)) -> Result<(), BundleError> {
    let mut order: Vec<&Job<'_>> = jobs.iter().collect();
    order.sort_by_key(|job| std::cmp::Reverse(job.size));
    let (next, stop, failed) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(None));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    let (done, (working, finished)) = (Done::default(), until_finished());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let working = working.clone();
            scope.spawn(|| {
                let _working = working;
                while !stop.load(Ordering::Relaxed)
                    && let Some(job) = order.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    if let Err(error) = write_job(bundle, dir, job, &mut |n| done.add(n)) {
                        stop.store(true, Ordering::Relaxed);
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            });
        }
        drop(working);
        done.watch(&finished, progress);
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn write_job(bundle: &Bundle, dir: &Utf8Path, job: &Job<'_>, seen: &mut dyn FnMut(u64)) -> Result<(), BundleError> {
    let path = dir.join(job.name);
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent).map_err(BundleError::io("make", parent))?;
    }
    let mut reader: Box<dyn Read + '_> = match job.member {
        Some(member) => bundle.reader(member)?,
        None => Box::new(bundle.deployer_reader()?),
    };
    let damaged = |what: String| {
        let part = job.member.map_or(Part::Deployer, |m| Part::Member(m.name.clone()));
        BundleError::damaged(bundle.path(), part, what)
    };
    let part = path.with_file_name(format!(".{}.part", path.file_name().unwrap_or_default()));
    let written = write_checked(&mut *reader, &part, job, seen, &damaged);
    if written.is_err() {
        // The error that counts is the one at hand.
        let _ = fs_err::remove_file(&part);
        return written;
    }
    fs_err::rename(&part, &path).map_err(BundleError::io("name", path))
}

fn write_checked(
    reader: &mut dyn Read,
    path: &Utf8Path,
    job: &Job<'_>,
    seen: &mut dyn FnMut(u64),
    damaged: &dyn Fn(String) -> BundleError,
) -> Result<(), BundleError> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(job.mode)
        .open(path)
        .map_err(|e| write_failed(path, job.size, e))?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; CHUNK.min(usize::try_from(job.size).unwrap_or(CHUNK).max(1))];
    let mut left = job.size;
    loop {
        let got = reader.read(&mut buffer).map_err(|e| damaged(format!("it cannot be unpacked: {e}")))?;
        if got == 0 {
            break;
        }
        hasher.update(&buffer[..got]);
        file.write_all(&buffer[..got]).map_err(|e| write_failed(path, left, e))?;
        left = left.saturating_sub(got as u64);
        seen(got as u64);
    }
    let found = hasher.finish();
    if found == *job.sha256 {
        return Ok(());
    }
    Err(damaged(format!("its sha256 is {found}, the manifest says {}", job.sha256)))
}
