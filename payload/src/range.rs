//! Parts of an open file, read by their place in it: the file's own position is nobody's, since all clones of a bundle share it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use crate::footer::Span;

/// An open file, the bundle's own or one that was opened for the purpose.
#[derive(Debug)]
pub(crate) enum Handle<'a> {
    Shared(&'a File),
    Owned(File),
}

impl AsRef<File> for Handle<'_> {
    fn as_ref(&self) -> &File {
        match self {
            Self::Shared(file) => file,
            Self::Owned(file) => file,
        }
    }
}

/// Reads `left` bytes from `at` on; fewer are an error.
pub(crate) struct RangeReader<'a> {
    pub(crate) file: Handle<'a>,
    pub(crate) at: u64,
    pub(crate) left: u64,
}

impl Read for RangeReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.file.as_ref().read_at(&mut buffer[..want], self.at)?;
        if got == 0 && want > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += got as u64;
        self.left -= got as u64;
        Ok(got)
    }
}

/// All of a part.
pub(crate) fn read_span(file: &File, span: Span) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(span.size).map_err(|_| io::ErrorKind::InvalidData)?];
    file.read_exact_at(&mut bytes, span.offset)?;
    Ok(bytes)
}
