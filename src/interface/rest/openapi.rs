//! The description of all calls, generated from the types that carry them and the handlers that answer them.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};

use super::body::ClusterParams;
use super::ec2::Ec2Params;
use super::messages::Message;
use super::{events, handlers, status};

/// A body that starts a task
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "read by hand, in body.rs, so that what is wrong is said in the contract's words")]
pub(super) enum TaskBody {
    Create(CreateBody),
    Change(ChangeBody),
    Ec2(Ec2Body),
}

/// Type 1: an etcd cluster and a Kubernetes cluster on it; both lists of hosts are wanted
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "as TaskBody")]
pub(super) struct CreateBody {
    #[schema(minimum = 1, maximum = 1)]
    environment_type: u8,
    environment_params: ClusterParams,
}

/// Type 3 adds hosts to the environment's cluster, type 4 takes them out; one list of hosts at least is wanted
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "as TaskBody")]
pub(super) struct ChangeBody {
    #[schema(minimum = 3, maximum = 4)]
    environment_type: u8,
    environment_params: ClusterParams,
}

/// Answers of every call but the page's and `/healthz`.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only described")]
pub(super) enum Denied {
    /// The token is missing or wrong
    #[response(status = 401)]
    NoToken(#[to_schema] Message),
    /// The caller is another user of the listener's host and no token is set, the request comes from another place's page,
    /// or everybody is answered (`--no-auth`) and it would delete an environment
    #[response(status = 403)]
    OtherPlace(#[to_schema] Message),
}

/// Type 5: instances on EC2, with the credentials of the machine that the listener runs on
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "as TaskBody")]
pub(super) struct Ec2Body {
    #[schema(minimum = 5, maximum = 5)]
    environment_type: u8,
    environment_params: Ec2Params,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "sunshine-installer",
        description = "etcd and Kubernetes clusters on bare machines, without internet. Every answer that says no is a Message."
    ),
    paths(
        handlers::environments,
        handlers::environment,
        handlers::start,
        handlers::forget,
        handlers::task,
        status::answer,
        events::answer,
        handlers::health,
        handlers::metrics,
        handlers::openapi
    ),
    security((), ("token" = [])),
    modifiers(&Token)
)]
struct Api;

struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        openapi.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// The document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_described() {
        let document = serde_json::to_value(document()).unwrap();
        let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
        assert_eq!(paths.len(), 8, "{paths:?}");
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let params = &document["components"]["schemas"]["ClusterParams"];
        assert_eq!(params["additionalProperties"], false);
        assert_eq!(params["properties"]["certificate_path"]["type"], "string");
    }
}
