//! How one host comes to the bundle's images: its programs fetch them by HTTP, by the best route that works, or they are
//! sent over SSH.

use std::io::Read;

use payload::{Image, Member, Sha256};
use tracing::info;

use crate::host::Host;

use super::catalogue::EntryReader;
use super::content::Entry;
use super::delivery::Delivery;
use super::error::DeliverError;
use super::image_archive;
use super::reach::{Reached, reach};
use super::route::{Route, RouteChoice};
use super::server::Place;

/// One host's way to the images, for one step.
#[derive(Debug)]
pub(crate) struct ImageSource {
    place: Place,
    choice: RouteChoice,
    way: Option<(Route, Option<Reached>)>,
    /// Routes that do not work, with the reason.
    tried: Vec<(Route, String)>,
}

impl ImageSource {
    /// # Errors
    /// When the run's server cannot be started.
    pub(crate) fn new(delivery: &Delivery) -> Result<ImageSource, DeliverError> {
        Ok(ImageSource { place: delivery.place()?, choice: delivery.route, way: None, tried: Vec::new() })
    }

    /// The route taken, and the address of the server for a host that fetches; none where images are sent. `None` when no
    /// route is left.
    ///
    /// # Errors
    /// When the host does not answer.
    pub(crate) fn way(&mut self, host: &Host) -> Result<Option<(Route, Option<&str>)>, DeliverError> {
        if self.way.is_none() {
            self.way = self.find(host)?;
        }
        let way = self.way.as_ref();
        Ok(way.map(|(route, reached)| (*route, reached.as_ref().map(|reached| reached.base.as_str()))))
    }

    fn find(&mut self, host: &Host) -> Result<Option<(Route, Option<Reached>)>, DeliverError> {
        for route in self.choice.order() {
            if self.tried.iter().any(|(tried, _)| tried == route) {
                continue;
            }
            if *route == Route::Push {
                return Ok(Some((*route, None)));
            }
            match reach(host, &self.place, *route, "v2/")? {
                Ok(reached) => return Ok(Some((*route, Some(reached)))),
                Err(why) => {
                    info!(host = host.name().as_str(), %route, why, "route not usable for images");
                    self.tried.push((*route, why));
                }
            }
        }
        Ok(None)
    }

    /// The route in use did not work: the next one is to be tried.
    pub(crate) fn failed(&mut self, why: String) {
        if let Some((route, _)) = self.way.take() {
            self.tried.push((route, why));
        }
    }

    /// Why no route is left.
    pub(crate) fn why(&self) -> String {
        let tried = self.tried.iter().map(|(route, why)| format!("{route}: {why}"));
        tried.collect::<Vec<_>>().join("; ")
    }

    /// A text for people: without the run's token.
    pub(crate) fn clean(&self, text: &str) -> String {
        self.place.stock.without_token(text)
    }

    /// Under which name of the server an image is fetched for `docker load`.
    pub(crate) fn docker_name(image: &Image) -> String {
        image_archive::docker_name(image)
    }

    /// The same, to be sent.
    pub(crate) fn docker(&self, image: &Image) -> Result<impl Read + use<>, DeliverError> {
        self.reader(&image_archive::docker(self.place.stock.content(), image)?)
    }

    /// An OCI image layout with those blobs that are missing, to be sent.
    pub(crate) fn layout(
        &self,
        image: &Image,
        missing: &dyn Fn(&Sha256) -> bool,
    ) -> Result<impl Read + use<>, DeliverError> {
        self.reader(&image_archive::layout(self.place.stock.content(), image, missing)?)
    }

    /// An archive that a bundle of format 1 has, to be sent.
    pub(crate) fn archive(&self, member: &Member) -> Result<impl Read + use<>, DeliverError> {
        let missing = || DeliverError::Metadata { why: format!("{}: it is not in the bundle", member.name) };
        self.reader(&*self.place.stock.entry(&member.name).ok_or_else(missing)?)
    }

    fn reader(&self, entry: &Entry) -> Result<EntryReader, DeliverError> {
        EntryReader::open(entry).map_err(|error| DeliverError::Metadata { why: error.to_string() })
    }
}
