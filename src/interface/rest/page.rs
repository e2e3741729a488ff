//! The page at `/`: three files in the binary, which ask the calls beside them. Nothing is taken from anywhere else, and
//! the browser is told to allow nothing else (Content-Security-Policy).

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use super::answer::{Answer, body};

/// One of the page's files.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct File {
    path: &'static str,
    kind: &'static str,
    content: &'static str,
}

const FILES: [File; 3] = [
    File { path: "/", kind: "text/html; charset=utf-8", content: include_str!("page/index.html") },
    File { path: "/page.css", kind: "text/css; charset=utf-8", content: include_str!("page/page.css") },
    File { path: "/page.js", kind: "text/javascript; charset=utf-8", content: include_str!("page/page.js") },
];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// The file under a path.
pub(crate) fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

/// As an answer.
pub(crate) fn answer(file: &'static File) -> Answer {
    let mut answer = body(StatusCode::OK, file.kind, file.content);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}
