//! What a registry of the site answers. See [`crate::fuzz`].

use super::challenge::Challenge;
use super::list::following;
use super::place::Place;
use crate::fuzz::lossy;

/// A header of its answers, or its place as users write it.
pub fn registry_answer(bytes: &[u8]) {
    let text = lossy(bytes);
    let _ = Challenge::parse(&text);
    // The next page is on the same registry, whatever the answer says.
    assert!(following(&text).is_none_or(|path| path.starts_with("/v2/")));
    if let Ok(place) = Place::parse(&text) {
        let written =
            if place.prefix.is_empty() { place.address.clone() } else { format!("{}/{}", place.address, place.prefix) };
        assert_eq!(Place::parse(&written).as_ref(), Ok(&place));
    }
}
