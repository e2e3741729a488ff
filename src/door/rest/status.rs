//! Type 2: what the live cluster says of its nodes and components.

use std::sync::Arc;

use hyper::StatusCode;

use super::answer::{Answer, no};
use super::handlers::{ask, broken, unknown};
use super::messages::{Message, StatusMessage};
use super::openapi::Denied;
use super::routes::Door;

#[utoipa::path(get, path = "/environments/{id}/2",
    params(("id" = String, Path, description = "The environment", min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")),
    responses(
        (status = 200, body = StatusMessage, description = "What the cluster says; environment_err 1 when it does not answer"),
        (status = 400, body = Message, description = "No name of an environment"),
        (status = 404, body = StatusMessage, description = "Not known, or no cluster stands"),
        Denied,
    ))]
pub(crate) async fn answer(door: &Arc<Door>, id: String) -> Answer {
    let name = id.clone();
    match ask(door, move |store| store.knows(&name)).await {
        Ok(false) => unknown(2, &id),
        Ok(true) => no(StatusCode::NOT_FOUND, 2, "no cluster stands in this environment"),
        Err(e) => broken(2, &e),
    }
}
