//! Whether a host reaches the run's server by a route, and at which address.

use crate::host::{Forward, Host};

use super::error::DeliverError;
use super::probe;
use super::route::Route;
use super::server::Place;

/// A way that a host's own programs can take.
#[derive(Debug)]
pub(crate) struct Reached {
    /// The server's address as the host sees it, with the run's token. Ends in `/`.
    pub(crate) base: String,
    /// Where there is one, the address holds for as long as this is kept.
    pub(crate) forward: Option<Forward>,
}

/// Has the host fetch `name` by the route. The inner error says why that does not work. Nothing is fetched by the route
/// `push`, so that it is none of these.
pub(crate) fn reach(
    host: &Host,
    place: &Place,
    route: Route,
    name: &str,
) -> Result<Result<Reached, String>, DeliverError> {
    let reached = match route {
        Route::Direct => Reached { base: place.url_for(host.local_address()), forward: None },
        Route::Tunnel => match host.forward_to(place.own_address()) {
            Ok(forward) => {
                Reached { base: place.url_at(([127, 0, 0, 1], forward.port()).into()), forward: Some(forward) }
            }
            Err(error) if error.is_unreachable() => return Err(error.into()),
            Err(error) => return Ok(Err(reason(&error.to_string(), host))),
        },
        Route::Push | Route::Own | Route::Idle => return Ok(Err(format!("{route} fetches nothing"))),
    };
    let fetched = probe::fetch(host, &format!("{}{name}", reached.base))?;
    Ok(fetched.map(|()| reached).map_err(|why| place.stock.without_token(&why)))
}

/// An error's text without the host in front: it is shown where the host is known.
fn reason(text: &str, host: &Host) -> String {
    text.strip_prefix(host.name().as_str()).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(text).to_owned()
}
