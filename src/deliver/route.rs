//! The routes by which a host can reach the repository.

use std::fmt;

/// What `--repo-route` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RouteChoice {
    /// The best that works.
    #[default]
    Auto,
    /// Only plain HTTP to the control host.
    Direct,
    /// Only HTTP through a port forwarded inside the SSH session.
    Tunnel,
    /// Only packages uploaded over SSH.
    Push,
}

impl RouteChoice {
    /// The routes to try, best first.
    pub(crate) fn order(self) -> &'static [Route] {
        match self {
            RouteChoice::Auto => &[Route::Direct, Route::Tunnel, Route::Push],
            RouteChoice::Direct => &[Route::Direct],
            RouteChoice::Tunnel => &[Route::Tunnel],
            RouteChoice::Push => &[Route::Push],
        }
    }
}

impl std::str::FromStr for RouteChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<RouteChoice, String> {
        match text {
            "auto" => Ok(RouteChoice::Auto),
            // The second name of each is that of earlier versions.
            "direct" | "http" => Ok(RouteChoice::Direct),
            "tunnel" => Ok(RouteChoice::Tunnel),
            "push" | "files" => Ok(RouteChoice::Push),
            _ => Err("this is no route: auto, direct, tunnel or push".to_owned()),
        }
    }
}

impl fmt::Display for RouteChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            RouteChoice::Auto => "auto",
            RouteChoice::Direct => "direct",
            RouteChoice::Tunnel => "tunnel",
            RouteChoice::Push => "push",
        })
    }
}

/// The route that one host takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// The host fetches from the control host.
    #[serde(alias = "http")]
    Direct,
    /// The host fetches from its own loopback, where the SSH session forwards to the control host.
    Tunnel,
    /// What the host needs was uploaded over SSH.
    #[serde(alias = "files")]
    Push,
    /// Nothing wanted is in the bundle: the host's own repositories.
    Own,
    /// Everything wanted is there already: no route was looked for.
    Idle,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Route::Direct => "direct",
            Route::Tunnel => "tunnel",
            Route::Push => "push",
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
            ("direct", RouteChoice::Direct, "direct"),
            ("http", RouteChoice::Direct, "direct"),
            ("push", RouteChoice::Push, "push"),
            ("files", RouteChoice::Push, "push"),
            ("tunnel", RouteChoice::Tunnel, "tunnel"),
        ] {
            assert_eq!(text.parse::<RouteChoice>(), Ok(choice));
            assert_eq!(choice.to_string(), shown);
        }
        for (text, route) in [("\"http\"", Route::Direct), ("\"push\"", Route::Push), ("\"files\"", Route::Push)] {
            assert_eq!(serde_json::from_str::<Route>(text).unwrap(), route);
        }
        assert_eq!(serde_json::to_string(&Route::Direct).unwrap(), "\"direct\"");
    }
}
