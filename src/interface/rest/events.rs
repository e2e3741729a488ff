//! GET `/environments/{id}/events`: the events of its newest task and of those after it, as they come (server-sent events,
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>). `Last-Event-ID` goes on behind an event.
//!
//! They are read from the store, so that a run of the command line is seen as one of the listener's own.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use super::answer::Answer;
use super::handlers::{ask, broken, unknown};
use super::messages::Message;
use super::openapi::Denied;
use super::routes::RestApi;

/// How often the store is asked for more.
const PACE: Duration = Duration::from_millis(300);
/// Without an event for so many paces a comment is sent: proxies end connections that are silent.
const SILENT: u32 = 50;
/// Events taken from the store at once.
const BATCH: u32 = 200;

#[utoipa::path(get, path = "/environments/{id}/events",
    params(("id" = String, Path, description = "The environment", example = "prod", min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$"),
        ("Last-Event-ID" = Option<i64>, Header, description = "Go on behind this event", nullable = false)),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "Events as they come, without an end"),
        (status = 400, body = Message, description = "No name of an environment"),
        (status = 404, body = Message, description = "Not known"),
        Denied,
    ))]
pub(crate) async fn answer(api: &Arc<RestApi>, id: String, headers: &HeaderMap) -> Answer {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let name = id.clone();
    let begin = ask(api, move |store| Ok((store.knows(&name)?, store.before_latest(&name)?))).await;
    let after = match begin {
        Ok((false, _)) => return unknown(0, &id),
        Ok((true, newest)) => last.unwrap_or(newest),
        Err(e) => return broken(0, &e),
    };
    let (sender, body) = Channel::<Bytes, Infallible>::new(4);
    tokio::spawn(follow(Arc::clone(api), id, after, sender));
    let mut answer = Response::new(body.boxed());
    *answer.status_mut() = StatusCode::OK;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Sends until the client leaves or the environment is forgotten.
async fn follow(api: Arc<RestApi>, id: String, mut after: i64, mut sender: Sender<Bytes, Infallible>) {
    let mut silent = 0;
    loop {
        let name = id.clone();
        let found = ask(&api, move |store| Ok((store.knows(&name)?, store.events(&name, after, BATCH)?))).await;
        let Ok((true, events)) = found else { return };
        let mut text = String::new();
        for event in &events {
            // The JSON holds no line end: serde_json escapes them.
            let _ = write!(text, "id: {}\ndata: {}\n\n", event.id, event.json);
            after = event.id;
        }
        silent = if events.is_empty() { silent + 1 } else { 0 };
        if silent >= SILENT || (silent == 1 && after == 0) {
            silent = 2;
            text.push_str(": still here\n\n");
        }
        if !text.is_empty() && sender.send_data(Bytes::from(text)).await.is_err() {
            return;
        }
        if events.len() < BATCH as usize {
            tokio::time::sleep(PACE).await;
        }
    }
}
