//! The ways a host can reach the repository.

use std::fmt;

/// What `--repo-route` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RouteChoice {
    /// The best that works.
    #[default]
    Auto,
    /// Only plain HTTP to the control host.
    Http,
    /// Only HTTP through a port forwarded inside the SSH session.
    Tunnel,
    /// Only packages uploaded over SSH.
    Files,
}

impl RouteChoice {
    /// The routes to try, best first.
    pub(super) fn order(self) -> &'static [Route] {
        match self {
            RouteChoice::Auto => &[Route::Http, Route::Tunnel, Route::Files],
            RouteChoice::Http => &[Route::Http],
            RouteChoice::Tunnel => &[Route::Tunnel],
            RouteChoice::Files => &[Route::Files],
        }
    }
}

impl std::str::FromStr for RouteChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<RouteChoice, String> {
        match text {
            "auto" => Ok(RouteChoice::Auto),
            "http" => Ok(RouteChoice::Http),
            "tunnel" => Ok(RouteChoice::Tunnel),
            "files" => Ok(RouteChoice::Files),
            other => Err(format!("{other:?} is no route: auto, http, tunnel or files")),
        }
    }
}

impl fmt::Display for RouteChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            RouteChoice::Auto => "auto",
            RouteChoice::Http => "http",
            RouteChoice::Tunnel => "tunnel",
            RouteChoice::Files => "files",
        })
    }
}

/// The way that one host takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// The host fetches from the control host.
    Http,
    /// The host fetches from its own loopback, where the SSH session forwards to the control host.
    Tunnel,
    /// What the host needs was uploaded over SSH.
    Files,
    /// Nothing wanted is in the bundle: the host's own repositories.
    Own,
    /// Everything wanted is there already: no way was looked for.
    Idle,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Route::Http => "http",
            Route::Tunnel => "tunnel",
            Route::Files => "files",
            Route::Own => "own",
            Route::Idle => "idle",
        })
    }
}
