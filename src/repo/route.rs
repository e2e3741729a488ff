//! The routes by which a host can reach the repository.

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
            // The second name of each is that of earlier versions.
            "direct" | "http" => Ok(RouteChoice::Http),
            "tunnel" => Ok(RouteChoice::Tunnel),
            "push" | "files" => Ok(RouteChoice::Files),
            other => Err(format!("{other:?} is no route: auto, direct, tunnel or push")),
        }
    }
}

impl fmt::Display for RouteChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            RouteChoice::Auto => "auto",
            RouteChoice::Http => "direct",
            RouteChoice::Tunnel => "tunnel",
            RouteChoice::Files => "push",
        })
    }
}

/// The route that one host takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// The host fetches from the control host.
    #[serde(rename = "direct", alias = "http")]
    Http,
    /// The host fetches from its own loopback, where the SSH session forwards to the control host.
    Tunnel,
    /// What the host needs was uploaded over SSH.
    #[serde(rename = "push", alias = "files")]
    Files,
    /// Nothing wanted is in the bundle: the host's own repositories.
    Own,
    /// Everything wanted is there already: no route was looked for.
    Idle,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Route::Http => "direct",
            Route::Tunnel => "tunnel",
            Route::Files => "push",
            Route::Own => "own",
            Route::Idle => "idle",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_names_of_routes_are_read() {
        for (text, choice, shown) in [
            ("direct", RouteChoice::Http, "direct"),
            ("http", RouteChoice::Http, "direct"),
            ("push", RouteChoice::Files, "push"),
            ("files", RouteChoice::Files, "push"),
            ("tunnel", RouteChoice::Tunnel, "tunnel"),
        ] {
            assert_eq!(text.parse::<RouteChoice>(), Ok(choice));
            assert_eq!(choice.to_string(), shown);
        }
        for (text, route) in [("\"http\"", Route::Http), ("\"push\"", Route::Files), ("\"files\"", Route::Files)] {
            assert_eq!(serde_json::from_str::<Route>(text).unwrap(), route);
        }
        assert_eq!(serde_json::to_string(&Route::Http).unwrap(), "\"direct\"");
    }
}
