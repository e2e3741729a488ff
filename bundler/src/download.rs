//! Files that are being downloaded: a part keeps another name until its sum is right.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};

use camino::{Utf8Path, Utf8PathBuf};

/// A file of which a part may be there.
pub(crate) struct Download {
    path: Utf8PathBuf,
    part: Utf8PathBuf,
    sum: String,
}

impl Download {
    /// A file that will have this sha256, in hexadecimal digits; its part lies in `parts`.
    pub(crate) fn new(path: Utf8PathBuf, parts: &Utf8Path, sum: &str) -> Self {
        let part = parts.join(format!("{}.part", path.file_name().unwrap_or_default()));
        Self { path, part, sum: sum.to_owned() }
    }

    /// Whether the whole file is there.
    pub(crate) fn is_done(&self) -> io::Result<bool> {
        Ok(sum(&self.path)?.is_some_and(|sum| sum == self.sum))
    }

    /// How many bytes are there.
    pub(crate) fn there(&self) -> u64 {
        std::fs::metadata(&self.part).map_or(0, |part| part.len())
    }

    /// The part, to write on from the offset, which is where it ends or 0.
    pub(crate) fn open(&self, offset: u64) -> io::Result<Part> {
        let file = OpenOptions::new().create(true).append(true).open(&self.part)?;
        file.set_len(offset)?;
        Ok(Part(file))
    }

    /// Gives the file its name if its sum is right; else the sum that it has, and it is removed.
    pub(crate) fn finish(&self) -> io::Result<Result<(), String>> {
        match sum(&self.part)? {
            Some(sum) if sum == self.sum => Ok(Ok(std::fs::rename(&self.part, &self.path)?)),
            Some(sum) => {
                std::fs::remove_file(&self.part)?;
                Ok(Err(sum))
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// What is being written.
pub(crate) struct Part(File);

impl Part {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

/// The sum of a file, if it is there.
fn sum(path: &Utf8Path) -> io::Result<Option<String>> {
    match File::open(path) {
        Ok(file) => Ok(Some(payload::hash_file(&file)?.0.to_string())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_its_name_when_its_sum_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let download = Download::new(folder.join("a"), folder, &payload::Sha256::of(b"whole").to_string());
        assert!(!download.is_done().unwrap());
        download.open(0).unwrap().write(b"who").unwrap();
        assert_eq!(download.there(), 3);
        download.open(3).unwrap().write(b"LE").unwrap();
        assert_eq!(download.finish().unwrap(), Err(payload::Sha256::of(b"whoLE").to_string()));
        assert_eq!(download.there(), 0);
        download.open(0).unwrap().write(b"whole").unwrap();
        assert_eq!(download.finish().unwrap(), Ok(()));
        assert!(download.is_done().unwrap());
    }
}
