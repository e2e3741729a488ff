//! Checking every byte of a bundle, on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bundle::Bundle;
use crate::digest::{Hasher, hash_range};
use crate::error::{BundleError, Part};
use crate::member::{Member, MemberKind};
use crate::progress::{Done, until_finished};

enum Work<'a> {
    Deployer,
    Frame,
    Member(&'a Member),
}

impl Bundle {
    /// Reads the whole bundle and compares every byte with its sum; then the signature, when a key is pinned.
    /// `progress` hears how many bytes are done. The error names the first damaged part.
    ///
    /// In an extracted folder the ini files are the site's own to change, and tar headers are not there.
    pub fn verify(&self, progress: &mut dyn FnMut(u64)) -> Result<(), BundleError> {
        self.verify_bytes(progress)?;
        self.check_pinned_key()
    }

    /// [`Bundle::verify`] without the signature: for whoever is about to make it.
    pub fn verify_bytes(&self, progress: &mut dyn FnMut(u64)) -> Result<(), BundleError> {
        let work = self.work();
        // The largest first, so that no core is left alone with a large member at the end.
        let mut order: Vec<usize> = (0..work.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(self.cost(&work[i])));
        let next = AtomicUsize::new(0);
        let findings = Mutex::new(Vec::new());
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(work.len());
        let (done, (working, finished)) = (Done::default(), until_finished());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let working = working.clone();
                scope.spawn(|| {
                    let _working = working;
                    while let Some(&i) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let result = self.do_work(&work[i], &mut |n| done.add(n));
                        if let (Err(error), Ok(mut findings)) = (result, findings.lock()) {
                            findings.push((i, error));
                        }
                    }
                });
            }
            drop(working);
            done.watch(&finished, progress);
        });
        let mut findings = findings.into_inner().unwrap_or_default();
        findings.sort_by_key(|(i, _)| *i);
        findings.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Bytes that [`Bundle::verify`] will read: the whole of its progress.
    #[must_use]
    pub fn verify_size(&self) -> u64 {
        self.work().iter().map(|w| self.cost(w)).sum()
    }

    fn work(&self) -> Vec<Work<'_>> {
        let skip = |m: &&Member| !(self.is_folder() && m.kind == MemberKind::Ini);
        let members = self.manifest().members.iter().filter(skip).map(Work::Member);
        let frame = (!self.is_folder()).then_some(Work::Frame);
        std::iter::once(Work::Deployer).chain(frame).chain(members).collect()
    }

    fn cost(&self, work: &Work<'_>) -> u64 {
        match work {
            Work::Deployer => self.manifest().deployer.size,
            Work::Member(m) if self.is_folder() => m.size,
            Work::Member(m) => m.stored_size(),
            Work::Frame => {
                let footer = self.footer();
                let members: u64 = self.manifest().members.iter().map(Member::stored_size).sum();
                footer.manifest.offset - footer.deployer.size - members
            }
        }
    }

    fn do_work(&self, work: &Work<'_>, seen: &mut dyn FnMut(u64)) -> Result<(), BundleError> {
        match work {
            Work::Deployer => self.check_deployer(seen),
            Work::Frame => self.check_frame(seen),
            Work::Member(member) => self.check_member(member, seen),
        }
    }

    fn check_deployer(&self, seen: &mut dyn FnMut(u64)) -> Result<(), BundleError> {
        let expected = &self.manifest().deployer;
        let handle = self.deployer_file()?;
        let file = handle.as_ref();
        let damaged = |what: String| BundleError::damaged(self.path(), Part::Deployer, what);
        if self.is_folder() {
            let size = file.metadata().map_err(BundleError::io("read", self.path()))?.len();
            if size != expected.size {
                return Err(damaged(format!("it has {size} bytes, the manifest says {}", expected.size)));
            }
        }
        let mut hasher = Hasher::new();
        hash_range(&mut hasher, file, 0, expected.size, seen).map_err(BundleError::io("read", self.path()))?;
        let found = hasher.finish();
        if found == expected.sha256 {
            return Ok(());
        }
        Err(damaged(format!("its sha256 is {found}, the manifest says {}", expected.sha256)))
    }

    /// Checks the tar headers and the padding; a folder has none.
    pub(crate) fn check_archive(&self) -> Result<(), BundleError> {
        if self.is_folder() { Ok(()) } else { self.check_frame(&mut |_| ()) }
    }

    /// Tar headers and padding: all that lies between the deployer's end and the manifest and in no member.
    fn check_frame(&self, seen: &mut dyn FnMut(u64)) -> Result<(), BundleError> {
        let handle = self.deployer_file()?;
        let mut hasher = Hasher::new();
        let mut at = self.footer().deployer.size;
        let mut gap_to = |end: u64, next: u64| {
            let gap = hash_range(&mut hasher, handle.as_ref(), at, end - at, seen);
            at = next;
            gap.map_err(BundleError::io("read", self.path()))
        };
        for member in &self.manifest().members {
            gap_to(member.offset, member.offset + member.stored_size())?;
        }
        gap_to(self.footer().manifest.offset, 0)?;
        let (found, expected) = (hasher.finish(), self.manifest().archive_sha256);
        if found == expected {
            return Ok(());
        }
        let what = format!("their sha256 is {found}, the manifest says {expected}");
        Err(BundleError::damaged(self.path(), Part::Archive, what))
    }
}
