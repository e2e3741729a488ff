//! Type 2: what the live cluster says of its nodes and components.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use crate::flow::Environment;
use crate::flow::kubernetes::{Status, status};
use crate::interface::cluster_show::age;
use crate::store::{Store, StoreError};

use super::answer::{Answer, json, no};
use super::handlers::{ask, blocking, broken, unknown};
use super::messages::{Message, StatusMessage};
use super::openapi::Denied;
use super::routes::RestApi;

/// The longest that a cluster is asked.
const PATIENCE: Duration = Duration::from_secs(30);

#[utoipa::path(get, path = "/environments/{id}/2",
    params(("id" = String, Path, description = "The environment", example = "prod", min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")),
    responses(
        (status = 200, body = StatusMessage, description = "What the cluster says; environment_err 1 when it does not answer"),
        (status = 400, body = Message, description = "No name of an environment"),
        (status = 404, body = StatusMessage, description = "Not known, or no cluster stands"),
        Denied,
    ))]
pub(crate) async fn answer(api: &Arc<RestApi>, id: String) -> Answer {
    let name = id.clone();
    match ask(api, move |store| Ok((store.knows(&name)?, has_cluster(store, &name)?))).await {
        Ok((false, _)) => return unknown(2, &id),
        Ok((true, false)) => {
            return no(StatusCode::NOT_FOUND, 2, format!("no cluster was created in environment {id}"));
        }
        Ok((true, true)) => {}
        Err(e) => return broken(2, &e),
    }
    let answer = tokio::time::timeout(PATIENCE, question(api, id)).await;
    let answer = answer.unwrap_or_else(|_| Err(format!("the cluster did not answer within {} s", PATIENCE.as_secs())));
    json(StatusCode::OK, &StatusMessage::from(Message::status(answer)))
}

async fn question(api: &Arc<RestApi>, id: String) -> Result<Value, String> {
    let _permit = api.runner.questions.acquire().await.map_err(|e| e.to_string())?;
    let root = api.runner.root.clone();
    let asked = blocking(move || Environment::open(&root, &id).and_then(|environment| status(&environment)));
    let status = asked.await.ok_or("the program is ending")?.map_err(|e| e.to_string())?;
    Ok(described(&status))
}

/// The contract's words for it.
fn described(status: &Status) -> Value {
    let nodes: Map<String, Value> = status
        .nodes
        .iter()
        .map(|(name, node)| (name.clone(), json!({"STATUS": node.status, "AGE": age(node.age_seconds)})))
        .collect();
    let components: Map<String, Value> = status
        .components
        .iter()
        .map(|(name, part)| {
            let word = if part.healthy { "Healthy" } else { "Unhealthy" };
            (name.clone(), json!({"STATUS": word, "MESSAGE": part.message, "ERROR": part.error}))
        })
        .collect();
    json!({"nodestatus": nodes, "componentstatus": components})
}

/// Whether a cluster was made in this environment.
pub(super) fn has_cluster(store: &Store, id: &str) -> Result<bool, StoreError> {
    Ok(store.document(id, "kubernetes")?.is_some())
}
