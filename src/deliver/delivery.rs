//! The run's server, started by whoever needs it first: a run that has nothing to deliver opens no port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use camino::Utf8PathBuf;
use payload::Bundle;

use super::error::DeliverError;
use super::route::RouteChoice;
use super::server::{Place, Server};

/// How what a run brings comes to its hosts. A clone is the same server.
#[derive(Debug, Clone)]
pub struct Delivery {
    bundle: Option<Bundle>,
    server: Arc<Mutex<Option<Server>>>,
    /// What `--repo-route` asks for.
    pub route: RouteChoice,
}

impl Delivery {
    /// Of a run with this bundle. Nothing is started yet.
    #[must_use]
    pub fn new(bundle: Option<Bundle>, route: RouteChoice) -> Delivery {
        Delivery { bundle, server: Arc::default(), route }
    }

    /// Starts the server with these rpms of the control host, which only who comes first can name.
    ///
    /// # Errors
    /// When it cannot listen, or a file cannot be served.
    pub(crate) fn start(&self, local_rpms: &[Utf8PathBuf]) -> Result<Place, DeliverError> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = &*server {
            return Ok(server.place().clone());
        }
        // Both families on one port; a control host without IPv6 has the other one.
        let start = |any: IpAddr| Server::start(self.bundle.clone(), local_rpms, SocketAddr::new(any, 0));
        let started = match start(Ipv6Addr::UNSPECIFIED.into()) {
            Err(DeliverError::Listen { .. }) => start(Ipv4Addr::UNSPECIFIED.into())?,
            started => started?,
        };
        let place = started.place().clone();
        *server = Some(started);
        Ok(place)
    }

    /// Where it serves the bundle.
    ///
    /// # Errors
    /// As [`Delivery::start`].
    pub(crate) fn place(&self) -> Result<Place, DeliverError> {
        self.start(&[])
    }
}
