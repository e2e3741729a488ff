//! A web server for files, which is a proxy too: it keeps a list of what it was asked for, and can stop in the middle of a file.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

/// It serves until the test's process ends.
pub(crate) struct Web {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    folder: Utf8PathBuf,
    asked: Mutex<Vec<String>>,
    /// Of files whose names have this in them, half is sent.
    stops_at: Mutex<Option<String>>,
}

impl Web {
    pub(crate) fn serve(folder: &Utf8Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Shared { folder: folder.to_owned(), asked: Mutex::default(), stops_at: Mutex::default() };
        let shared = Arc::new(shared);
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&of_thread);
                // Who hangs up in the middle is no concern of the others.
                std::thread::spawn(move || shared.answer(stream).ok());
            }
        });
        Self { port, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The paths that were asked for since the last time: each as it stood in the request, `RANGE` behind it.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }

    /// Has it stop in the middle of files with this in their names.
    pub(crate) fn stop_at(&self, part: Option<&str>) {
        *self.shared.stops_at.lock().unwrap() = part.map(str::to_owned);
    }
}

impl Shared {
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let mut range = None;
        for line in lines {
            let line = line?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            range = line.strip_prefix("range: bytes=").map(str::to_owned).or(range);
        }
        let url = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let noted = range.as_ref().map_or_else(|| url.clone(), |range| format!("{url} {range}"));
        self.asked.lock().unwrap().push(noted);
        // What a proxy is asked for has a host in front.
        let path = url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..])).unwrap_or(&url);
        let Ok(bytes) = std::fs::read(self.folder.join(path.trim_start_matches('/'))) else {
            return stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        };
        let offset = range.and_then(|range| range.trim_end_matches('-').parse::<usize>().ok());
        let offset = offset.filter(|offset| *offset < bytes.len());
        let status = match offset {
            Some(from) => {
                format!("206 Partial Content\r\ncontent-range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len())
            }
            None => "200 OK".to_owned(),
        };
        let body = &bytes[offset.unwrap_or(0)..];
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        stream.write_all(head.as_bytes())?;
        let stops = || self.stops_at.lock().unwrap().as_ref().is_some_and(|part| path.contains(part.as_str()));
        if stops() {
            stream.write_all(&body[..body.len() / 2])?;
            while stops() {
                std::thread::sleep(Duration::from_millis(20));
            }
            return Ok(());
        }
        stream.write_all(body)
    }
}
