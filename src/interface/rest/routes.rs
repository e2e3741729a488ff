//! Which request is answered by what. Every answer but the page and the metrics is JSON, also those that say no.
//!
//! 1. Where the request comes from; 2. its path; 3. its token; 4. its method; 5. its body.

use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};
use percent_encoding::percent_decode_str;

use crate::flow::request::check_environment;

use super::answer::{Answer, no};
use super::auth::{Auth, Denied};
use super::listener::Connection;
use super::metrics::Metrics;
use super::recent::Recent;
use super::runner::Runner;
use super::seats::seated;
use super::{events, handlers, page};

/// What all requests share.
#[derive(Debug)]
pub(crate) struct RestApi {
    pub(crate) auth: Auth,
    pub(crate) runner: Arc<Runner>,
    pub(crate) metrics: Metrics,
    pub(crate) recent: Recent,
}

/// A path, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Page(&'static page::File),
    Health,
    Metrics,
    OpenApi,
    Environments,
    Environment(String),
    Events(String),
    Task(String, String),
}

impl Route {
    pub(super) fn of(path: &str) -> Result<Self, (StatusCode, String)> {
        if let Some(file) = page::find(path) {
            return Ok(Self::Page(file));
        }
        let mut parts: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
        // A slash behind an environment or a type means nothing; alone behind `environments` it is an ID left out.
        if parts.len() > 2 && parts.last() == Some(&"") {
            parts.pop();
        }
        match parts.as_slice() {
            ["healthz"] => Ok(Self::Health),
            ["metrics"] => Ok(Self::Metrics),
            ["openapi.json"] => Ok(Self::OpenApi),
            ["environments"] => Ok(Self::Environments),
            ["environments", id] => Ok(Self::Environment(environment(id)?)),
            ["environments", id, "events"] => Ok(Self::Events(environment(id)?)),
            ["environments", id, number] => Ok(Self::Task(environment(id)?, decode(number))),
            // Whatever else begins like an environment is a name made to hurt.
            ["environments", ..] => Err((StatusCode::BAD_REQUEST, wrong_id())),
            _ => Err((StatusCode::NOT_FOUND, "there is nothing under this path: see /openapi.json".to_owned())),
        }
    }

    /// As the metrics name it: one name for all environments.
    fn name(&self) -> &'static str {
        match self {
            Self::Page(_) => "/",
            Self::Health => "/healthz",
            Self::Metrics => "/metrics",
            Self::OpenApi => "/openapi.json",
            Self::Environments => "/environments",
            Self::Environment(_) => "/environments/{id}",
            Self::Events(_) => "/environments/{id}/events",
            Self::Task(..) => "/environments/{id}/{type}",
        }
    }

    /// Answered without the token: the page, which holds nothing and asks for it, and the sign of life.
    fn is_public(&self) -> bool {
        matches!(self, Self::Page(_) | Self::Health)
    }

    fn methods(&self) -> &'static str {
        match self {
            Self::Environment(_) => "GET, HEAD, POST, DELETE",
            _ => "GET, HEAD",
        }
    }
}

fn wrong_id() -> String {
    format!("{}: environment: an ID is 1 to 64 of A-Z a-z 0-9 . _ -", super::body::WRONG)
}

fn decode(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

fn environment(part: &str) -> Result<String, (StatusCode, String)> {
    let id = decode(part);
    check_environment(&id).map(|()| id).map_err(|_| (StatusCode::BAD_REQUEST, wrong_id()))
}

/// Answers one request.
pub(super) async fn answer(api: &Arc<RestApi>, connection: &Connection, request: Request<Incoming>) -> Answer {
    let begun = Instant::now();
    let method = request.method().clone();
    let route = Route::of(request.uri().path());
    let name = route.as_ref().map_or("other", Route::name);
    let mut answer = match route {
        Ok(route) => admitted(api, connection, route, request).await,
        Err((status, why)) => match refuse(api, connection, request.headers(), false) {
            Some(refusal) => refusal,
            None => no(status, 0, why),
        },
    };
    if api.auth.wants_token() && answer.status() == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    api.metrics.count(name, &method, answer.status(), begun.elapsed());
    answer
}

fn refuse(api: &RestApi, connection: &Connection, headers: &hyper::HeaderMap, public: bool) -> Option<Answer> {
    let checked = api.auth.check_place(headers);
    let denied =
        checked.and_then(|()| if public { Ok(()) } else { api.auth.check_caller(headers, connection.caller) }).err()?;
    let status = match denied {
        Denied::NoToken => StatusCode::UNAUTHORIZED,
        Denied::OtherUser { .. } | Denied::OtherPlace | Denied::OtherName => StatusCode::FORBIDDEN,
    };
    Some(no(status, 0, denied.words()))
}

async fn admitted(api: &Arc<RestApi>, connection: &Connection, route: Route, request: Request<Incoming>) -> Answer {
    let public = route.is_public();
    if let Some(refusal) = refuse(api, connection, request.headers(), public) {
        return refusal;
    }
    // Who has shown nothing can be kept waiting for others' sake.
    if public || !api.auth.knows_callers() {
        return answered(api, route, request).await;
    }
    match connection.seat.work() {
        Some(work) => seated(answered(api, route, request).await, work),
        // Closed already: nobody reads this.
        None => no(StatusCode::SERVICE_UNAVAILABLE, 0, "the connection is closed"),
    }
}

async fn answered(api: &Arc<RestApi>, route: Route, request: Request<Incoming>) -> Answer {
    let method = match *request.method() {
        Method::HEAD => Method::GET,
        ref other => other.clone(),
    };
    let methods = route.methods();
    match (method, route) {
        (Method::GET, Route::Page(file)) => page::answer(file),
        (Method::GET, Route::Health) => handlers::health(),
        (Method::GET, Route::Metrics) => handlers::metrics(api).await,
        (Method::GET, Route::OpenApi) => handlers::openapi(),
        (Method::GET, Route::Environments) => handlers::environments(api).await,
        (Method::GET, Route::Environment(id)) => handlers::environment(api, id).await,
        (Method::POST, Route::Environment(id)) => handlers::start(api, id, request).await,
        (Method::DELETE, Route::Environment(id)) => handlers::forget(api, id, request.uri().query()).await,
        (Method::GET, Route::Events(id)) => events::answer(api, id, request.headers()).await,
        (Method::GET, Route::Task(id, number)) => handlers::task(api, id, &number).await,
        _ => {
            let mut answer = no(StatusCode::METHOD_NOT_ALLOWED, 0, format!("this path answers to {methods}"));
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
            answer
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_made_to_hurt_are_refused() {
        for path in [
            "/environments/",
            "/environments/..",
            "/environments/../../etc/passwd",
            "/environments/%2e%2e",
            "/environments/a%2fb",
            "/environments/a%00",
            "/environments/%ff",
            "/environments/a/1/2",
            &format!("/environments/{}", "a".repeat(65)),
            "/environments//1",
            "/environments//",
        ] {
            assert_eq!(Route::of(path).unwrap_err().0, StatusCode::BAD_REQUEST, "{path}");
        }
        assert_eq!(Route::of("/environments/a%2Db"), Ok(Route::Environment("a-b".to_owned())));
        assert_eq!(Route::of("/environments/a/"), Route::of("/environments/a"));
        assert_eq!(Route::of("/environments/a/1/"), Route::of("/environments/a/1"));
        assert_eq!(Route::of("/etc/passwd").unwrap_err().0, StatusCode::NOT_FOUND);
    }
}
