use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Method, Request, Response};

use super::*;
use crate::deliver::listener::Limits;
use crate::deliver::registry::Registry;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const TEXT: &[u8] = b"0123456789";
const SUM: &str = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";

fn modified() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250)
}

fn ask(method: Method, name: &str, headers: &[(&str, &str)]) -> (Response<()>, String) {
    let content = Content::default();
    let (registry, maps, token) = (Registry::default(), Arc::default(), Some(TOKEN.to_owned()));
    content.put("rpms/a.rpm", Entry::bytes(Bytes::from_static(TEXT), SUM.to_owned(), modified()));
    content.put("empty", Entry::bytes(Bytes::new(), SUM.to_owned(), modified()));
    let mut request = Request::builder().method(method).uri(format!("/{TOKEN}/{name}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let client: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let shared = Shared { content, registry, maps, token, tls: None, limits: Limits::default() };
    let response = answer(&shared, client, &request.body(()).unwrap()).unwrap();
    let (parts, body) = response.into_parts();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let body = runtime.block_on(body.collect()).unwrap().to_bytes();
    (Response::from_parts(parts, ()), String::from_utf8(body.to_vec()).unwrap())
}

fn get(headers: &[(&str, &str)]) -> (Response<()>, String) {
    ask(Method::GET, "rpms/a.rpm", headers)
}

fn header<'a>(response: &'a Response<()>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[test]
fn a_whole_file_with_its_validators() {
    let (response, body) = get(&[]);
    assert_eq!((response.status().as_u16(), body.as_bytes()), (200, TEXT));
    assert_eq!(header(&response, "content-length"), "10");
    assert_eq!(header(&response, "etag"), format!("\"{SUM}\""));
    assert_eq!(header(&response, "last-modified"), "Tue, 14 Nov 2023 22:13:20 GMT");
    assert_eq!(header(&response, "accept-ranges"), "bytes");
    assert_eq!(header(&response, "content-type"), "application/x-rpm");
    let (response, body) = ask(Method::GET, "empty", &[]);
    assert_eq!((response.status().as_u16(), header(&response, "content-length"), body.as_str()), (200, "0", ""));
}

#[test]
fn head_has_the_headers_and_no_body() {
    let (response, body) = ask(Method::HEAD, "rpms/a.rpm", &[]);
    assert_eq!((response.status().as_u16(), header(&response, "content-length"), body.as_str()), (200, "10", ""));
}

#[test]
fn other_methods_and_names_are_refused() {
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::CONNECT] {
        let (response, _) = ask(method, "rpms/a.rpm", &[]);
        assert_eq!((response.status().as_u16(), header(&response, "allow")), (405, "GET, HEAD"));
    }
    for name in ["rpms/b.rpm", "rpms", "rpms/a.rpm/", "..%2Frpms/a.rpm", "rpms/a.rpm%00"] {
        assert_eq!(ask(Method::GET, name, &[]).0.status(), 404, "{name}");
    }
}

#[test]
fn a_client_that_has_it_gets_304() {
    let tag = format!("\"{SUM}\"");
    for headers in [
        vec![("if-none-match", tag.as_str())],
        vec![("if-none-match", "\"x\", *")],
        vec![("if-modified-since", "Tue, 14 Nov 2023 22:13:20 GMT")],
        vec![("if-modified-since", "Wed, 15 Nov 2023 22:13:20 GMT")],
    ] {
        let (response, body) = get(&headers);
        assert_eq!((response.status().as_u16(), body.as_str()), (304, ""), "{headers:?}");
        assert_eq!(header(&response, "etag"), tag);
        assert_eq!(header(&response, "content-length"), "");
    }
    for headers in [
        vec![("if-none-match", "\"x\"")],
        // The entity tag counts before the date.
        vec![("if-none-match", "\"x\""), ("if-modified-since", "Wed, 15 Nov 2023 22:13:20 GMT")],
        vec![("if-modified-since", "Tue, 14 Nov 2023 22:13:19 GMT")],
        vec![("if-modified-since", "yesterday")],
    ] {
        assert_eq!(get(&headers).0.status(), 200, "{headers:?}");
    }
}

#[test]
fn one_range() {
    for (range, expected, body) in
        [("bytes=2-4", "bytes 2-4/10", "234"), ("bytes=-3", "bytes 7-9/10", "789"), ("bytes=8-", "bytes 8-9/10", "89")]
    {
        let (response, found) = get(&[("range", range)]);
        assert_eq!((response.status().as_u16(), found.as_str()), (206, body));
        assert_eq!(header(&response, "content-range"), expected);
        assert_eq!(header(&response, "content-length"), body.len().to_string());
    }
    let (response, body) = get(&[("range", "bytes=10-")]);
    assert_eq!((response.status().as_u16(), header(&response, "content-range")), (416, "bytes */10"));
    assert_eq!(body, "");
}

#[test]
fn several_ranges() {
    let (response, body) = get(&[("range", "bytes=0-1,8-9")]);
    assert_eq!(response.status(), 206);
    let boundary = header(&response, "content-type").strip_prefix("multipart/byteranges; boundary=").unwrap();
    assert_eq!(header(&response, "content-length"), body.len().to_string());
    let part = |range: &str, text: &str| {
        format!("--{boundary}\r\nContent-Type: application/x-rpm\r\nContent-Range: bytes {range}/10\r\n\r\n{text}\r\n")
    };
    assert_eq!(body, format!("{}{}--{boundary}--\r\n", part("0-1", "01"), part("8-9", "89")));
}

#[test]
fn if_range_must_name_this_version() {
    let range = ("range", "bytes=0-1");
    let tag = format!("\"{SUM}\"");
    let weak = format!("W/\"{SUM}\"");
    for (value, status) in [
        (tag.as_str(), 206),
        ("Tue, 14 Nov 2023 22:13:20 GMT", 206),
        (weak.as_str(), 200),
        ("\"x\"", 200),
        ("Tue, 14 Nov 2023 22:13:21 GMT", 200),
        ("nonsense", 200),
    ] {
        assert_eq!(get(&[range, ("if-range", value)]).0.status(), status, "{value}");
    }
}
