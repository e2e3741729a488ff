//! The calls of the contract's section 3, and those beside it.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use crate::flow::{Forgotten, forget_environment};
use crate::store::{Kind, Store, StoreError};

use super::answer::{Answer, JSON, body, json, no};
use super::body::{ClusterParams, TaskRequest, WRONG};
use super::ec2::Ec2Params;
use super::job::{self, Asked};
use super::messages::{EnvironmentInfo, EnvironmentList, EnvironmentTasks, Message, TaskInfo};
use super::openapi::{Denied, TaskBody};
use super::routes::RestApi;
use super::runner::Refusal;
use super::status::has_cluster;

/// The longest body that is read.
const BODY: usize = 1 << 20;
/// The longest a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// GET `/healthz`
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = String, content_type = "text/plain", description = "It answers")))]
pub(crate) fn health() -> Answer {
    body(StatusCode::OK, "text/plain; charset=utf-8", "ok\n")
}

/// GET `/openapi.json`
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, body = Object, description = "This document"), Denied))]
pub(crate) fn openapi() -> Answer {
    json(StatusCode::OK, &super::openapi::document())
}

/// GET `/metrics`
#[utoipa::path(get, path = "/metrics", responses((status = 200, body = String, content_type = "text/plain", description = "Prometheus' text format"), Denied))]
pub(crate) async fn metrics(api: &Arc<RestApi>) -> Answer {
    match ask(api, |store| Ok((store.counts()?, store.environments()?.len()))).await {
        Ok((counts, environments)) => {
            let text = api.metrics.text(&counts, environments);
            body(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
        }
        Err(e) => broken(0, &e),
    }
}

/// GET `/environments`
#[utoipa::path(get, path = "/environments", responses((status = 200, body = EnvironmentList, description = "All environments"), Denied))]
pub(crate) async fn environments(api: &Arc<RestApi>) -> Answer {
    match ask(api, Store::environments).await {
        Ok(rows) => {
            let environments = rows.into_iter().map(EnvironmentInfo::from).collect();
            json(StatusCode::OK, &EnvironmentList { environments })
        }
        Err(e) => broken(0, &e),
    }
}

/// GET `/environments/{id}`
#[utoipa::path(get, path = "/environments/{id}",
    params(("id" = String, Path, description = "The environment", example = "prod", min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")),
    responses(
        (status = 200, body = EnvironmentTasks, description = "Its tasks"),
        (status = 400, body = Message, description = "No name of an environment"),
        (status = 404, body = Message, description = "Not known"),
        Denied,
    ))]
pub(crate) async fn environment(api: &Arc<RestApi>, id: String) -> Answer {
    let name = id.clone();
    let look = move |store: &Store| Ok((store.knows(&name)?, store.tasks(&name)?, has_cluster(store, &name)?));
    match ask(api, look).await {
        Ok((false, _, _)) => unknown(0, &id),
        Ok((true, tasks, cluster)) => {
            json(StatusCode::OK, &EnvironmentTasks { id, cluster, tasks: tasks.iter().map(TaskInfo::from).collect() })
        }
        Err(e) => broken(0, &e),
    }
}

/// GET `/environments/{id}/{type}`
#[utoipa::path(get, path = "/environments/{id}/{type}",
    params(("id" = String, Path, description = "The environment", example = "prod", min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$"),
        ("type" = u8, Path, description = "1 create, 3 add nodes, 4 delete nodes, 5 EC2 hosts; 2 is the cluster's status", minimum = 1, maximum = 5)),
    responses(
        (status = 200, body = Message, description = "The newest task of this type; for type 2 a StatusMessage"),
        (status = 400, body = Message, description = "No name of an environment, or no type"),
        (status = 404, body = Message, description = "Not known, or never started"),
        Denied,
    ))]
pub(crate) async fn task(api: &Arc<RestApi>, id: String, number: &str) -> Answer {
    let number = match number.parse::<u8>() {
        Ok(number) if (1..=5).contains(&number) => number,
        _ => return no(StatusCode::BAD_REQUEST, 0, format!("{WRONG}: environment_type: 1 to 5")),
    };
    if number == 2 {
        return super::status::answer(api, id).await;
    }
    let ticket = match api.recent.get(&id, number) {
        Ok(answer) => return body(StatusCode::OK, JSON, answer),
        Err(ticket) => ticket,
    };
    let (name, kind) = (id.clone(), Kind::from_number(number.into()));
    // Many ask for this often: whether the environment is known is only looked up when there is no task.
    let found = ask(api, move |store| match store.latest(&name, kind)? {
        Some(task) => Ok((true, Some(task))),
        None => Ok((store.knows(&name)?, None)),
    });
    match found.await {
        Ok((_, Some(task))) => {
            let text = bytes::Bytes::from(serde_json::to_vec(&Message::from(&task)).unwrap_or_default());
            api.recent.put(ticket, &id, number, text.clone());
            body(StatusCode::OK, JSON, text)
        }
        Ok((false, None)) => unknown(number, &id),
        Ok((true, None)) => {
            no(StatusCode::NOT_FOUND, number, format!("no task of type {number} was ever started in environment {id}"))
        }
        Err(e) => broken(number, &e),
    }
}

/// POST `/environments/{id}`
#[utoipa::path(post, path = "/environments/{id}",
    params(("id" = String, Path, description = "The environment", example = "prod", min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")),
    request_body(content = TaskBody, example = json!({
        "environment_type": 1,
        "environment_params": {
            "master-host-list": ["root:PASSWORD@10.8.14.200"],
            "etcd-host-list": ["root:PASSWORD@10.8.14.200"],
            "node-host-list": ["root:PASSWORD@10.8.14.200", "root:PASSWORD@10.8.14.201"]
        }
    })),
    responses(
        (status = 200, body = Message, description = "Started"),
        (status = 400, body = Message, description = "task_parms error: which parameter is wrong, and why; nothing was touched"),
        (status = 404, body = Message, description = "Not known (types 3 and 4)"),
        (status = 409, body = Message, description = "A task of this environment is running"),
        (status = 503, body = Message, description = "The listener is ending, or runs as many tasks as it can"),
        Denied,
    ))]
pub(crate) async fn start(api: &Arc<RestApi>, id: String, request: Request<Incoming>) -> Answer {
    let bytes = match read(request).await {
        Ok(bytes) => bytes,
        Err(why) => return no(StatusCode::BAD_REQUEST, 0, format!("{WRONG}: {why}")),
    };
    let request = match TaskRequest::read(&bytes) {
        Ok(request) => request,
        Err((number, why)) => return no(StatusCode::BAD_REQUEST, number, why),
    };
    let number = request.number;
    let begun = begin(api, id, request).await;
    api.recent.changed();
    match begun {
        Ok(params) => {
            let kind = Kind::from_number(number.into()).unwrap_or(Kind::Other);
            json(StatusCode::OK, &Message::started(kind, params))
        }
        Err(refusal) => refused(number, refusal),
    }
}

async fn begin(api: &Arc<RestApi>, id: String, request: TaskRequest) -> Result<serde_json::Value, Refusal> {
    let (runner, environment) = (Arc::clone(&api.runner), id.clone());
    // Key files and the store are read: not on a thread that others wait for.
    let asked = blocking(move || -> Result<Asked, Refusal> {
        if request.number == 5 {
            let params: Ec2Params = request.params().map_err(Refusal::Wrong)?;
            let kept = runner.login(&environment).map_err(|e| Refusal::Wrong(format!("{WRONG}: {e}")))?;
            return job::ec2(params, kept).map_err(Refusal::Wrong);
        }
        let params: ClusterParams = request.params().map_err(Refusal::Wrong)?;
        if request.number != 1 && !runner.store.knows(&environment)? {
            return Err(Refusal::Unknown(format!("environment {environment} is not known here")));
        }
        let kept = runner.login(&environment).map_err(|e| Refusal::Wrong(format!("{WRONG}: {e}")))?;
        let read = match request.number {
            1 => job::create,
            3 => job::add,
            _ => job::remove,
        };
        read(&params, kept).map_err(Refusal::Wrong)
    });
    let asked = asked.await.unwrap_or_else(|| Err(Refusal::Failed("the request could not be read".to_owned())))?;
    api.runner.start(&id, asked).await
}

/// DELETE `/environments/{id}`
#[utoipa::path(delete, path = "/environments/{id}",
    params(("id" = String, Path, description = "The environment", example = "prod", min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$"),
        ("force" = Option<bool>, Query, description = "Forget it also when a cluster stands; its hosts are not touched", nullable = false)),
    responses(
        (status = 200, body = Message, description = "Forgotten"),
        (status = 400, body = Message, description = "No name of an environment"),
        (status = 404, body = Message, description = "Not known"),
        (status = 409, body = Message, description = "A cluster stands, or a task is running"),
        Denied,
    ))]
pub(crate) async fn forget(api: &Arc<RestApi>, id: String, query: Option<&str>) -> Answer {
    let force = match query.unwrap_or_default() {
        "" | "force=false" => false,
        "force=true" => true,
        _ => return no(StatusCode::BAD_REQUEST, 0, format!("{WRONG}: force: true or false")),
    };
    if !api.auth.knows_callers() {
        return no(
            StatusCode::FORBIDDEN,
            0,
            "environments, and their authorities with them, are not deleted for callers of a listener with --no-auth: \
             start `serve` with --token-file FILE",
        );
    }
    let (runner, name) = (Arc::clone(&api.runner), id.clone());
    let forgotten = blocking(move || -> Result<Forgotten, Refusal> {
        let forgotten = forget_environment(&runner.root, &name, force)?;
        if forgotten == Forgotten::Stands {
            return Ok(forgotten);
        }
        // An environment that only has a name has no folder.
        let listed = runner.store.forget(&name)?;
        runner.forget_login(&name);
        Ok(if listed && forgotten == Forgotten::Unknown { Forgotten::Gone(None) } else { forgotten })
    });
    let forgotten = forgotten.await;
    api.recent.changed();
    match forgotten.unwrap_or_else(|| Err(Refusal::Failed("the program is ending".to_owned()))) {
        Ok(Forgotten::Gone(aside)) => {
            let aside = aside.map(|path| format!("; its authorities and keys are kept in {path}")).unwrap_or_default();
            let text = format!("environment {id} is forgotten; its hosts were not touched{aside}");
            json(StatusCode::OK, &Message::done(text))
        }
        Ok(Forgotten::Unknown) => unknown(0, &id),
        Ok(Forgotten::Stands) => no(
            StatusCode::CONFLICT,
            0,
            format!(
                "a cluster or EC2 instances of environment {id} stand; ?force=true forgets it, and leaves them as they are"
            ),
        ),
        Err(refusal) => refused(0, refusal),
    }
}

fn refused(number: u8, refusal: Refusal) -> Answer {
    let (status, why) = match refusal {
        Refusal::Wrong(why) => (StatusCode::BAD_REQUEST, why),
        Refusal::Unknown(why) => (StatusCode::NOT_FOUND, why),
        Refusal::Busy(why) => (StatusCode::CONFLICT, why),
        Refusal::Later(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
        Refusal::Failed(why) => (StatusCode::INTERNAL_SERVER_ERROR, why),
    };
    no(status, number, why)
}

/// Reads a body that is neither too long nor too slow. What is too long is taken in, up to a limit, and thrown away: a
/// client that is still writing would not read the answer.
async fn read(request: Request<Incoming>) -> Result<Vec<u8>, String> {
    let mut body = request.into_body();
    let reading = async {
        let (mut kept, mut seen) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| format!("the body did not arrive: {e}"))?;
            let Ok(data) = frame.into_data() else { continue };
            seen += data.len();
            if seen <= BODY {
                kept.extend_from_slice(&data);
            } else if seen > 16 * BODY {
                break;
            }
        }
        if seen > BODY { Err(format!("the body is longer than {BODY} bytes")) } else { Ok(kept) }
    };
    let late = |_| format!("the body did not arrive within {} s", PATIENCE.as_secs());
    tokio::time::timeout(PATIENCE, reading).await.map_err(late)?
}

/// Asks the store, on a thread where waiting holds up nobody.
pub(super) async fn ask<T: Send + 'static>(
    api: &Arc<RestApi>,
    work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, String> {
    let runner = Arc::clone(&api.runner);
    match blocking(move || work(&runner.store)).await {
        Some(result) => result.map_err(|e| e.to_string()),
        None => Err("the store was not asked".to_owned()),
    }
}

/// `None` when the work was given up, as at the program's end.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

pub(super) fn unknown(number: u8, id: &str) -> Answer {
    no(StatusCode::NOT_FOUND, number, format!("environment {id} is not known here"))
}

pub(super) fn broken(number: u8, why: &str) -> Answer {
    tracing::error!("{why}");
    no(StatusCode::INTERNAL_SERVER_ERROR, number, why)
}
