//! From a request to an answer (RFC 9110). What happens, in this order:
//!
//! 1. a method other than GET and HEAD is refused with 405;
//! 2. the path is read ([`path`](super::path), [`registry`](super::registry)) and looked up; whatever is not there is 404;
//! 3. `If-None-Match`, else `If-Modified-Since`: 304 when the client has it already;
//! 4. `Range`, unless `If-Range` names another version: 206, as `multipart/byteranges` for several parts, or 416;
//! 5. the body goes out in bounded pieces, and one line about it to the log.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use hyper::{Method, Request, Response, StatusCode};
use tracing::{info, warn};

use super::content::{Content, Entry, Pieces};
use super::listener::Shared;
use super::path::member_name;
use super::range::{self, Wanted};
use super::registry::{Asked, Refusal};

const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const DOCKER_API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Answers one request.
pub(super) fn answer<B>(
    shared: &Shared,
    client: SocketAddr,
    request: &Request<B>,
) -> Result<Response<Answer>, Infallible> {
    let (path, method, headers) = (request.uri().path(), request.method(), request.headers());
    let asked = shared.registry.asked(path, request.uri().query(), shared.token.as_deref());
    let (name, mut response) = match asked {
        Some(asked) => {
            let response = registry_response(&shared.content, &asked, method, headers);
            let name = if let Asked::Blob { member, .. } = asked { member } else { "(registry)".to_owned() };
            (Some(name), response)
        }
        None => {
            let name = shared.token.as_deref().and_then(|token| member_name(path, token));
            let response = respond(&shared.content, name.as_deref(), method, headers);
            (name, response)
        }
    };
    let planned = response.body().left;
    let line = Line {
        client,
        method: request.method().clone(),
        // Without the token in front, and nothing at all of a path that does not have it.
        name: name.unwrap_or_else(|| "(not in the repository)".to_owned()),
        status: response.status(),
        planned,
    };
    response.body_mut().line = Some(line);
    Ok(response)
}

fn respond(content: &Content, name: Option<&str>, method: &Method, headers: &HeaderMap) -> Response<Answer> {
    if method != Method::GET && method != Method::HEAD {
        return with_header(plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n"), ALLOW, "GET, HEAD");
    }
    let Some((name, entry)) = name.and_then(|name| Some((name, content.get(name)?))) else {
        return headless(plain(StatusCode::NOT_FOUND, "not in this repository\n"), method);
    };
    entry_response(&entry, name, content_type(name), method, headers)
}

/// The registry's answer (OCI distribution specification 1.1).
fn registry_response(content: &Content, asked: &Asked, method: &Method, headers: &HeaderMap) -> Response<Answer> {
    let refuse = |refusal: Refusal| json(refusal.status, refusal.body());
    let response = match asked {
        _ if method != Method::GET && method != Method::HEAD => {
            with_header(refuse(Refusal::METHOD), ALLOW, "GET, HEAD")
        }
        Asked::Version => json(StatusCode::OK, "{}".to_owned()),
        Asked::Tags(tags) => json(StatusCode::OK, tags.clone()),
        Asked::No(refusal) => refuse(*refusal),
        Asked::Blob { member, media_type, digest } => match content.get(member) {
            Some(entry) => {
                let response = entry_response(&entry, member, media_type, method, headers);
                with_header(response, DOCKER_CONTENT_DIGEST, digest)
            }
            None => plain(StatusCode::INTERNAL_SERVER_ERROR, "it cannot be read\n"),
        },
    };
    headless(with_header(response, DOCKER_API_VERSION, "registry/2.0"), method)
}

fn json(code: StatusCode, text: String) -> Response<Answer> {
    let response = status(code, Answer::of([Part::Text(Bytes::from(text))]));
    with_header(response, CONTENT_TYPE, "application/json")
}

/// An entry, or the parts of it that are wanted.
fn entry_response(entry: &Entry, name: &str, kind: &str, method: &Method, headers: &HeaderMap) -> Response<Answer> {
    let mut response = if unchanged(headers, entry) {
        status(StatusCode::NOT_MODIFIED, Answer::default())
    } else {
        let wanted = match headers.get(RANGE).and_then(|value| value.to_str().ok()) {
            Some(value) if range_holds(headers, entry) => range::parse(value, entry.size),
            _ => Wanted::Whole,
        };
        match body(entry, wanted, kind) {
            Ok(response) => response,
            Err(error) => {
                warn!(target: "repo::access", name, %error, "a member cannot be read");
                return headless(plain(StatusCode::INTERNAL_SERVER_ERROR, "it cannot be read\n"), method);
            }
        }
    };
    response = with_header(response, ETAG, &etag(entry));
    response = with_header(response, LAST_MODIFIED, &httpdate::fmt_http_date(entry.modified));
    response = with_header(response, ACCEPT_RANGES, "bytes");
    headless(response, method)
}

/// The body for what is wanted, with the headers that describe it.
fn body(entry: &Entry, wanted: Wanted, kind: &str) -> io::Result<Response<Answer>> {
    let size = entry.size;
    let response = match wanted {
        Wanted::Unsatisfiable => {
            let response = plain(StatusCode::RANGE_NOT_SATISFIABLE, "");
            return Ok(with_header(response, CONTENT_RANGE, &format!("bytes */{size}")));
        }
        Wanted::Whole => {
            let answer = Answer::of([Part::Piece(entry.open()?, 0..size)]);
            with_header(status(StatusCode::OK, answer), CONTENT_TYPE, kind)
        }
        Wanted::Parts(parts) if parts.len() == 1 => {
            let part = parts.into_iter().next().unwrap_or_default();
            let range = content_range(&part, size);
            let response = status(StatusCode::PARTIAL_CONTENT, Answer::of([Part::Piece(entry.open()?, part)]));
            with_header(with_header(response, CONTENT_TYPE, kind), CONTENT_RANGE, &range)
        }
        Wanted::Parts(parts) => {
            // The checksum cannot be part of the contents that it is the checksum of.
            let boundary = entry.sha256.get(..32).unwrap_or("sunshine-installer-boundary");
            let pieces = entry.open()?;
            let mut answer = Vec::new();
            for (at, part) in parts.into_iter().enumerate() {
                let lead = if at == 0 { "" } else { "\r\n" };
                let range = content_range(&part, size);
                let head = format!("{lead}--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {range}\r\n\r\n");
                answer.push(Part::Text(Bytes::from(head)));
                answer.push(Part::Piece(pieces.clone(), part));
            }
            answer.push(Part::Text(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
            let kind = format!("multipart/byteranges; boundary={boundary}");
            with_header(status(StatusCode::PARTIAL_CONTENT, Answer::of(answer)), CONTENT_TYPE, &kind)
        }
    };
    Ok(response)
}

fn content_range(part: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end - 1)
}

fn etag(entry: &Entry) -> String {
    format!("\"{}\"", entry.sha256)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("rpm") => "application/x-rpm",
        Some("xml") => "application/xml",
        Some("gz") => "application/gzip",
        Some("asc") => "application/pgp-signature",
        Some("repo") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Whether the client has this version (RFC 9110, 13.2.2: the entity tag counts before the date).
fn unchanged(headers: &HeaderMap, entry: &Entry) -> bool {
    let tag = etag(entry);
    let mut tags = headers.get_all(IF_NONE_MATCH).iter().peekable();
    if tags.peek().is_some() {
        return tags
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .any(|given| given == "*" || given.trim_start_matches("W/") == tag);
    }
    let since = headers.get(IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
    since
        .and_then(|value| httpdate::parse_http_date(value).ok())
        .is_some_and(|since| whole_seconds(entry.modified) <= since)
}

/// Whether `If-Range`, when there, names exactly this version (strong comparison: a weak tag never does).
fn range_holds(headers: &HeaderMap, entry: &Entry) -> bool {
    let Some(value) = headers.get(IF_RANGE) else { return true };
    let Ok(value) = value.to_str() else { return false };
    if value.starts_with('"') || value.starts_with("W/") {
        return value == etag(entry);
    }
    httpdate::parse_http_date(value).is_ok_and(|date| date == whole_seconds(entry.modified))
}

/// A date header has no fractions.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

fn status(status: StatusCode, answer: Answer) -> Response<Answer> {
    let length = answer.left;
    let mut response = Response::new(answer);
    *response.status_mut() = status;
    if status != StatusCode::NOT_MODIFIED {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    response
}

fn plain(code: StatusCode, text: &'static str) -> Response<Answer> {
    let response = status(code, Answer::of([Part::Text(Bytes::from_static(text.as_bytes()))]));
    with_header(response, CONTENT_TYPE, "text/plain; charset=utf-8")
}

/// HEAD: the same headers, no body.
fn headless(mut response: Response<Answer>, method: &Method) -> Response<Answer> {
    if method == Method::HEAD {
        *response.body_mut() = Answer::default();
    }
    response
}

fn with_header(mut response: Response<Answer>, name: HeaderName, value: &str) -> Response<Answer> {
    // Values are made of checksums, numbers and constants; one that is no header value would only be left out.
    if let Ok(value) = value.parse() {
        response.headers_mut().insert(name, value);
    }
    response
}

/// One stretch of a body.
#[derive(Debug)]
enum Part {
    Text(Bytes),
    Piece(Pieces, Range<u64>),
}

impl Part {
    fn len(&self) -> u64 {
        match self {
            Part::Text(text) => u64::try_from(text.len()).unwrap_or(u64::MAX),
            Part::Piece(_, range) => range.end - range.start,
        }
    }
}

/// A body: its parts, handed out piece by piece.
#[derive(Debug, Default)]
pub(super) struct Answer {
    parts: VecDeque<Part>,
    left: u64,
    line: Option<Line>,
}

impl Answer {
    fn of(parts: impl IntoIterator<Item = Part>) -> Answer {
        let parts: VecDeque<Part> = parts.into_iter().filter(|part| part.len() > 0).collect();
        let left = parts.iter().map(Part::len).sum();
        Answer { parts, left, line: None }
    }

    fn next(&mut self) -> io::Result<Option<Bytes>> {
        let piece = match self.parts.front_mut() {
            None => return Ok(None),
            Some(Part::Text(text)) => std::mem::take(text),
            Some(Part::Piece(pieces, range)) => {
                let piece = pieces.next(range.start, range.end)?;
                range.start += u64::try_from(piece.len()).unwrap_or(u64::MAX);
                piece
            }
        };
        if self.parts.front().is_some_and(|part| part.len() == 0) {
            self.parts.pop_front();
        }
        self.left -= u64::try_from(piece.len()).unwrap_or(u64::MAX);
        Ok(Some(piece))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        // Reading a local file may wait for the disk, as any file server's sendfile does; pieces are small.
        Poll::Ready(self.next().transpose().map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The access log's line, written when the answer has been handed out, or its client has gone.
#[derive(Debug)]
struct Line {
    client: SocketAddr,
    method: Method,
    name: String,
    status: StatusCode,
    planned: u64,
}

impl Drop for Answer {
    fn drop(&mut self) {
        let Some(Line { client, method, name, status, planned }) = self.line.take() else { return };
        let (status, sent) = (status.as_u16(), planned - self.left);
        if self.left == 0 {
            info!(target: "repo::access", %client, %method, name, status, bytes = sent, "served");
        } else {
            info!(target: "repo::access", %client, %method, name, status, bytes = sent, of = planned, "broken off");
        }
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
