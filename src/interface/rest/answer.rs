//! Answers as hyper sends them.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::messages::{Message, StatusMessage};

/// What every handler gives.
pub(crate) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// The type of almost every answer.
pub(crate) const JSON: &str = "application/json";

/// A JSON answer.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(value).unwrap_or_default();
    body(status, JSON, text)
}

/// A message of the contract that says no.
pub(crate) fn no(status: StatusCode, environment_type: u8, why: impl Into<String>) -> Answer {
    let message = Message::refused(environment_type, why);
    if environment_type == 2 { json(status, &StatusMessage::from(message)) } else { json(status, &message) }
}

/// Any other answer.
pub(crate) fn body(status: StatusCode, kind: &'static str, content: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(content.into()).boxed());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
