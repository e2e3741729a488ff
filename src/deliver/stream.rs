//! The TCP connection under hyper: cut off when its client stops taking bytes, and served by sendfile(2).
//!
//! hyper hands the buffers of a body to [`Write::poll_write_vectored`] as it got them. Buffers that are slices of the
//! mapped bundle are recognised by their address and given to the kernel by file and offset: no byte of an rpm passes
//! through this process, and no page of the map is ever touched, so that its resident memory stays the same
//! whatever is served and to how many.

use std::fs::File;
use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, RwLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use nix::sys::sendfile::sendfile64;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// Below this a system call of its own costs more than copying.
const WORTH_SENDFILE: usize = 16 * 1024;

/// What one sendfile call may move, so that a fast client does not keep a worker for itself.
const MOST_AT_ONCE: usize = 1024 * 1024;

/// Where in memory which file lies mapped.
#[derive(Debug, Default)]
pub(super) struct Maps(RwLock<Vec<Map>>);

#[derive(Debug, Clone)]
struct Map {
    start: usize,
    end: usize,
    file: Arc<File>,
    offset: u64,
}

impl Maps {
    /// Says that `slice` is a mapping of `file` from `offset` on. The caller keeps the mapping alive.
    pub(super) fn add(&self, slice: &[u8], file: Arc<File>, offset: u64) {
        let start = slice.as_ptr().addr();
        let map = Map { start, end: start + slice.len(), file, offset };
        let mut maps = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let at = maps.partition_point(|other| other.start < start);
        if maps.get(at).is_none_or(|other| other.start != start) {
            maps.insert(at, map);
        }
    }

    /// The file and offset that a buffer is a view of.
    fn find(&self, buffer: &[u8]) -> Option<(Arc<File>, u64)> {
        let start = buffer.as_ptr().addr();
        let maps = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let map = maps.get(maps.partition_point(|map| map.start <= start).checked_sub(1)?)?;
        let inside = u64::try_from(start - map.start).ok()?;
        (start + buffer.len() <= map.end).then(|| (Arc::clone(&map.file), map.offset + inside))
    }
}

/// How long, and how slowly, a client may keep the server waiting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// The time over which a waiting client is judged.
    pub(super) stall: Duration,
    /// Bytes it must have taken in that time.
    pub(super) least: u64,
}

/// One client's connection.
#[derive(Debug)]
pub(super) struct Stream {
    tcp: TcpStream,
    maps: Arc<Maps>,
    patience: Patience,
    /// Runs while a write waits for the client; with it, what was taken since it was started.
    waiting: Option<(Pin<Box<Sleep>>, u64)>,
}

impl Stream {
    pub(super) fn new(tcp: TcpStream, maps: Arc<Maps>, patience: Patience) -> Stream {
        Stream { tcp, maps, patience, waiting: None }
    }

    /// Books a write's outcome: a client that keeps the server waiting and takes too little in that time is cut off.
    fn judge(
        &mut self,
        cx: &mut Context<'_>,
        asked: usize,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(count)) if *count == asked => self.waiting = None,
            Poll::Ready(Ok(count)) => {
                if let Some((timer, taken)) = &mut self.waiting {
                    *taken += u64::try_from(*count).unwrap_or(u64::MAX);
                    if *taken >= self.patience.least {
                        self.waiting = None;
                    } else if timer.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Err(too_slow()));
                    }
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let stall = self.patience.stall;
                let (timer, _) = self.waiting.get_or_insert_with(|| (Box::pin(sleep(stall)), 0));
                if timer.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(too_slow()));
                }
            }
        }
        written
    }

    /// Writes the first buffer by sendfile when it is a view of a mapped file and large enough to be worth it.
    fn send_mapped(&mut self, cx: &mut Context<'_>, buffer: &[u8]) -> Option<Poll<io::Result<usize>>> {
        if buffer.len() < WORTH_SENDFILE {
            return None;
        }
        let (file, offset) = self.maps.find(buffer)?;
        let mut position = i64::try_from(offset).ok()?;
        loop {
            match self.tcp.poll_write_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => return Some(Poll::Pending),
            }
            let count = buffer.len().min(MOST_AT_ONCE);
            let sent = self.tcp.try_io(Interest::WRITABLE, || {
                Ok(sendfile64(self.tcp.as_fd(), file.as_fd(), Some(&mut position), count)?)
            });
            return match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                // A file system without sendfile: the caller writes the mapped bytes as any others.
                Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => None,
                Ok(0) => Some(Poll::Ready(Err(io::Error::other("the file became shorter while it was served")))),
                other => Some(Poll::Ready(other)),
            };
        }
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client takes too little: cut off")
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // Through a buffer of this stack frame: hyper's own may be uninitialised, and requests are small.
        let mut space = [0; 4096];
        let room = cursor.remaining().min(space.len());
        let mut buffer = ReadBuf::new(&mut space[..room]);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buffer))?;
        cursor.put_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buffer)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = match buffers.first().and_then(|first| this.send_mapped(cx, first)) {
            Some(sent) => sent,
            None => {
                // Everything up to the first mapped buffer; that one goes by itself in the next round.
                let plain = buffers
                    .iter()
                    .enumerate()
                    .position(|(at, buffer)| {
                        at > 0 && buffer.len() >= WORTH_SENDFILE && this.maps.find(buffer).is_some()
                    })
                    .unwrap_or(buffers.len());
                Pin::new(&mut this.tcp).poll_write_vectored(cx, &buffers[..plain])
            }
        };
        let asked = buffers.iter().map(|buffer| buffer.len()).sum();
        this.judge(cx, asked, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
