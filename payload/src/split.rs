//! A bundle in parts, for media that hold no larger file, and the script that joins them where there is nothing but a shell.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;

use camino::{Utf8Path, Utf8PathBuf};

use crate::bundle::Bundle;
use crate::digest::{CHUNK, Hasher};
use crate::error::BundleError;
use crate::output::{Output, available};
use crate::unfinished::Unfinished;

/// Parts end where a page does.
const STEP: u64 = 4096;
/// The smallest limit of a part's size, in bytes.
pub const SMALLEST_LIMIT: u64 = 1 << 20;
/// Three digits.
const MOST_PARTS: u64 = 999;
const JOIN: &str = include_str!("join.sh");

/// What a bundle was split into.
#[derive(Debug)]
pub struct Parts {
    /// `NAME.001` and so on.
    pub parts: Vec<Utf8PathBuf>,
    /// `NAME.join.sh`: checks the parts and makes the bundle of them.
    pub script: Utf8PathBuf,
}

/// Writes the bundle's file into `dir` as parts that are each smaller than `limit` bytes, and the script that joins them.
/// What an earlier split of a bundle of this name left there is replaced. The script is written last: while it is missing, the
/// parts are not whole. `progress` hears how many bytes are done. The bundle is not checked: [`Bundle::verify`] does.
///
/// # Errors
/// An extracted folder, a limit below [`SMALLEST_LIMIT`], more than 999 parts, a name that no shell script can hold, a disk
/// that is or becomes full. Parts that were written are removed then.
pub fn split(bundle: &Bundle, dir: &Utf8Path, limit: u64, progress: &mut dyn FnMut(u64)) -> Result<Parts, BundleError> {
    let refused = |what: String| BundleError::Split { path: bundle.path().to_owned(), what };
    let file = bundle.file().ok_or_else(|| refused("it is an extracted folder, not a file".into()))?;
    let name = bundle.path().file_name().filter(|name| !name.contains(char::is_control));
    let name = name.ok_or_else(|| refused("its name has control characters".into()))?;
    if limit < SMALLEST_LIMIT {
        return Err(refused(format!("parts of less than {SMALLEST_LIMIT} bytes are too small")));
    }
    let size = file.metadata().map_err(BundleError::io("read", bundle.path()))?.len();
    let each = (limit - 1) / STEP * STEP;
    let count = size.div_ceil(each);
    if count > MOST_PARTS {
        return Err(refused(format!("it would be {count} parts, and {MOST_PARTS} is the most")));
    }
    let script = dir.join(format!("{name}.join.sh"));
    let part = |number: u64| dir.join(format!("{name}.{number:03}"));
    let earlier: Vec<Utf8PathBuf> = (1..=MOST_PARTS).map(part).filter(|part| part.exists()).collect();
    let taken: u64 = earlier.iter().filter_map(|part| fs_err::metadata(part).ok()).map(|part| part.len()).sum();
    let free = available(dir)? + taken;
    if free < size {
        return Err(BundleError::DiskFull { path: script, needed: size, available: free });
    }
    for old in std::iter::once(&script).chain(&earlier) {
        remove(old)?;
    }
    let mut writing = Writing { made: Vec::new(), whole: Hasher::new(), sums: String::new(), done: 0, progress };
    let written = (1..=count).try_for_each(|number| {
        let from = (number - 1) * each;
        writing.part(bundle, &part(number), from..size.min(from + each))
    });
    let Writing { made, whole, sums, .. } = writing;
    let text = JOIN.replacen("@NAME@", &quoted(name), 1);
    let text = text.replacen("@SUM@", &whole.finish().to_string(), 1).replacen("@PARTS@", &sums, 1);
    let written = written.and_then(|()| {
        let mut output = Output::create(&script, 0o755, text.len() as u64)?;
        output.write(text.as_bytes())?;
        output.commit()
    });
    let parts: Vec<Utf8PathBuf> = made.into_iter().map(|(part, _)| part).collect();
    if let Err(error) = written {
        for part in parts {
            // What cannot be removed stays: without the script it is no bundle.
            let _ = remove(&part);
        }
        return Err(error);
    }
    Ok(Parts { parts, script })
}

fn remove(path: &Utf8Path) -> Result<(), BundleError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BundleError::io("replace", path)(error)),
        _ => Ok(()),
    }
}

/// The parts written so far.
struct Writing<'a> {
    /// Removed when a signal ends the program.
    made: Vec<(Utf8PathBuf, Unfinished)>,
    whole: Hasher,
    /// A line for each part: its size, its sum.
    sums: String,
    done: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Writing<'_> {
    fn part(&mut self, bundle: &Bundle, part: &Utf8Path, range: std::ops::Range<u64>) -> Result<(), BundleError> {
        let file =
            bundle.file().ok_or_else(|| BundleError::io("read", bundle.path())(std::io::ErrorKind::NotFound.into()))?;
        let size = range.end - range.start;
        let full = |error: io::Error, at: u64| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                let available = available(part.parent().unwrap_or(Utf8Path::new("."))).unwrap_or(0);
                BundleError::DiskFull { path: part.to_owned(), needed: (range.end - at).max(available + 1), available }
            }
            _ => BundleError::io("write", part)(error),
        };
        // Under its own name from the start: a part that a kill leaves behind is found and replaced by the next split.
        let begun = Unfinished::begin(|| std::fs::File::create(part), |_| Some(part.to_owned()));
        let (mut output, unfinished) = begun.map_err(|e| full(e, range.start))?;
        self.made.push((part.to_owned(), unfinished));
        let (mut hasher, mut at, mut buffer) = (Hasher::new(), range.start, vec![0; CHUNK]);
        while at < range.end {
            let want = usize::try_from(range.end - at).unwrap_or(CHUNK).min(CHUNK);
            let piece = &mut buffer[..want];
            file.read_exact_at(piece, at).map_err(BundleError::io("read", bundle.path()))?;
            hasher.update(piece);
            self.whole.update(piece);
            output.write_all(piece).map_err(|e| full(e, at))?;
            at += want as u64;
            self.done += want as u64;
            (self.progress)(self.done);
        }
        // Nothing fails to write to a string.
        let _ = writeln!(self.sums, "{size} {}", hasher.finish());
        Ok(())
    }
}

/// As one word of a shell.
fn quoted(name: &str) -> String {
    format!("'{}'", name.replace('\'', r"'\''"))
}
