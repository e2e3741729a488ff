//! Container images of a bundle in the store of a container runtime, brought there by the routes of the run.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use indicatif::HumanBytes;
use payload::{Member, Sha256};

use crate::deliver::Delivery;
use crate::deliver::images::ImageSource;
use crate::host::{Command, Host, Output, tail};
use crate::plan::{Check, Cx, Owned, Owner, StepError, Work};

use super::image_store::Store;
use super::record::recording;

/// Slower than this, in bytes per second, an image does not come.
const SLOWEST: u64 = 64 * 1024;

/// An image of the bundle.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its names in full, such as `k8s.gcr.io/pause:3.2`.
    pub names: Vec<String>,
    pub contents: Contents,
}

/// How an image lies in the bundle.
#[derive(Debug, Clone)]
pub enum Contents {
    /// As blobs of an OCI image layout.
    Blobs(payload::Image),
    /// As an archive, in a bundle of format 1.
    Archive(Member),
}

impl Image {
    /// Bytes that a host gets which has none of it, and bytes that it needs for it in all.
    fn cost(&self, held: &BTreeSet<String>) -> (u64, u64) {
        match &self.contents {
            Contents::Archive(member) => (member.size, member.size * 2),
            Contents::Blobs(image) => {
                let new = image.blobs().filter(|blob| !held.contains(&format!("sha256:{}", blob.digest)));
                let sent = new.map(|blob| blob.size).sum();
                (sent, sent + image.unpacked)
            }
        }
    }

    /// Bytes that a store needs for it which has these blobs, and has its own afterwards.
    fn needs(&self, held: &mut BTreeSet<String>) -> u64 {
        let (_, needed) = self.cost(held);
        held.extend(self.digests());
        needed
    }

    /// Digests of its blobs.
    fn digests(&self) -> Vec<String> {
        match &self.contents {
            Contents::Archive(_) => Vec::new(),
            Contents::Blobs(image) => image.blobs().map(|blob| format!("sha256:{}", blob.digest)).collect(),
        }
    }
}

/// Bytes that a store needs for all of these images when it has none of them.
pub fn space_for(images: &[Image]) -> u64 {
    let mut held = BTreeSet::new();
    images.iter().map(|image| image.needs(&mut held)).sum()
}

/// Bytes of an archive of all of these images.
pub fn archive_size(images: &[Image]) -> u64 {
    let mut seen = BTreeSet::new();
    let size = |image: &Image| match &image.contents {
        Contents::Archive(member) => member.size,
        Contents::Blobs(image) => image.blobs().filter(|blob| seen.insert(blob.digest)).map(|blob| blob.size).sum(),
    };
    images.iter().map(size).sum()
}

/// These images are in a store; only what is missing is brought there.
#[derive(Debug)]
pub struct Images {
    pub images: Vec<Image>,
    pub store: &'static Store,
    /// Where the runtime keeps them, when that is not its usual folder.
    pub folder: Option<String>,
    pub delivery: Delivery,
}

/// What a store lacks.
#[derive(Debug, Default)]
struct Found {
    missing: BTreeSet<String>,
    /// Digests of blobs that it has.
    held: BTreeSet<String>,
    /// Bytes free in its folder.
    free: Option<u64>,
}

/// An image that is to be brought: names that are missing, bytes to send, bytes needed.
struct Wanted<'a> {
    image: &'a Image,
    names: Vec<&'a str>,
    sent: u64,
    needed: u64,
}

impl Images {
    fn folder(&self) -> &str {
        self.folder.as_deref().unwrap_or_else(|| self.store.folder())
    }

    fn look(&self, cx: &Cx<'_>) -> Result<Found, StepError> {
        let names = self.images.iter().flat_map(|image| image.names.iter().map(String::as_str));
        let look = Command::script(self.store.look).label(self.store.look_label).arg(self.folder());
        let mut found = Found::default();
        for line in cx.host()?.run(&look.args(names))?.text().lines() {
            match line.split_once(' ') {
                Some(("name", name)) => drop(found.missing.insert(name.to_owned())),
                Some(("blob", digest)) => drop(found.held.insert(digest.to_owned())),
                Some(("free", bytes)) => found.free = bytes.parse().ok(),
                _ => {}
            }
        }
        Ok(found)
    }

    /// The images to bring. A blob that two of them share is sent once.
    fn wanted<'a>(&'a self, found: &Found) -> Vec<Wanted<'a>> {
        let mut held = found.held.clone();
        let mut all = Vec::new();
        for image in &self.images {
            let names: Vec<_> = image.names.iter().map(String::as_str).filter(|n| found.missing.contains(*n)).collect();
            if names.is_empty() {
                continue;
            }
            let (sent, needed) = image.cost(&held);
            if !self.store.is_docker {
                held.extend(image.digests());
            }
            all.push(Wanted { image, names, sent, needed });
        }
        all
    }

    fn check_space(&self, wanted: &[Wanted<'_>], found: &Found) -> Result<(), StepError> {
        let needed: u64 = wanted.iter().map(|wanted| wanted.needed).sum();
        match found.free {
            Some(free) if free < needed => Err(StepError::with_help(
                format!(
                    "{} has {free} bytes free, the images need {needed}: {} bytes are missing",
                    self.folder(),
                    needed - free
                ),
                "free some space there, then run the same command again: it continues here",
            )),
            _ => Ok(()),
        }
    }

    /// Brings one image, by the next route where one does not work.
    fn bring(
        &self,
        host: &Host,
        owner: &Owner,
        wanted: &Wanted<'_>,
        source: &mut ImageSource,
        held: &BTreeSet<String>,
    ) -> Result<(), StepError> {
        loop {
            let Some((route, base)) = source.way(host)? else {
                let name = wanted.names.first().copied().unwrap_or_default();
                return Err(StepError::failed(format!("image {name} did not reach the host: {}", source.why())));
            };
            let base = base.map(str::to_owned);
            let output = match (&wanted.image.contents, base) {
                (Contents::Blobs(image), Some(base)) => self.fetch(host, owner, wanted, image, &base)?,
                (Contents::Blobs(image), None) if self.store.is_docker => {
                    self.feed(host, owner, wanted, &mut source.docker(image)?)?
                }
                (Contents::Blobs(image), None) => {
                    let missing = |digest: &Sha256| !held.contains(&format!("sha256:{digest}"));
                    self.feed(host, owner, wanted, &mut source.layout(image, &missing)?)?
                }
                (Contents::Archive(member), _) => {
                    let output = self.feed(host, owner, wanted, &mut source.archive(member)?)?;
                    if !output.ok() {
                        return Err(StepError::failed(self.failure(wanted, &output)));
                    }
                    output
                }
            };
            if output.ok() {
                return Ok(());
            }
            let why = source.clean(&self.failure(wanted, &output));
            if why.contains("no space left on device") {
                let help = format!("free some space in {}, then run the same command again", self.folder());
                return Err(StepError::with_help(format!("route {route}: {why}"), help));
            }
            source.failed(why);
        }
    }

    fn failure(&self, wanted: &Wanted<'_>, output: &Output) -> String {
        let name = wanted.names.first().copied().unwrap_or_default();
        format!("image {name}: exit status {}: {}", output.status, tail(&output.stderr, 3))
    }

    fn fetch(
        &self,
        host: &Host,
        owner: &Owner,
        wanted: &Wanted<'_>,
        image: &payload::Image,
        base: &str,
    ) -> Result<Output, StepError> {
        let address = if self.store.is_docker {
            format!("{base}{}", ImageSource::docker_name(image))
        } else {
            format!("{base}v2")
        };
        // The address holds the run's token, which is nobody's business there.
        let command = self.command(owner, self.store.fetch, self.store.fetch_label, wanted);
        Ok(host.run(&command.stdin(format!("{address}\n")))?)
    }

    fn feed(
        &self,
        host: &Host,
        owner: &Owner,
        wanted: &Wanted<'_>,
        archive: &mut dyn Read,
    ) -> Result<Output, StepError> {
        Ok(host.feed(&self.command(owner, self.store.feed, self.store.feed_label, wanted), archive)?)
    }

    fn command(&self, owner: &Owner, script: &'static str, label: &str, wanted: &Wanted<'_>) -> Command {
        let (reference, digest, id) = match &wanted.image.contents {
            Contents::Archive(_) => (String::new(), String::new(), String::new()),
            Contents::Blobs(image) => {
                let reference = image.names.first().map(payload::Reference::without_tag).unwrap_or_default();
                let by = if self.store.is_docker { &image.config } else { &image.manifest };
                (reference, format!("sha256:{}", by.digest), format!("sha256:{}", image.config.digest))
            }
        };
        let patience = Duration::from_secs(600 + wanted.needed / SLOWEST);
        let names = wanted.names.iter().copied();
        recording(owner, script).label(label).args([reference, digest, id]).args(names).timeout(patience)
    }
}

impl Work for Images {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let wanted = self.wanted(&self.look(cx)?);
        let line =
            |wanted: &Wanted<'_>| format!("pull image {} ({})", wanted.names.join(", "), HumanBytes(wanted.sent));
        Ok(Check::from_changes(wanted.iter().map(line).collect()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let mut found = self.look(cx)?;
        let wanted = self.wanted(&found);
        self.check_space(&wanted, &found)?;
        let mut source = ImageSource::new(&self.delivery)?;
        let (host, owner) = (cx.host()?, cx.owner()?);
        for (at, one) in wanted.iter().enumerate() {
            let (name, size) = (one.names.join(", "), HumanBytes(one.sent));
            cx.note(format!("image {} of {}: {name} ({size})", at + 1, wanted.len()));
            self.bring(host, owner, one, &mut source, &found.held)?;
            found.held.extend(one.image.digests());
        }
        Ok(())
    }

    /// All that is in its store because of a bundle: a run with another bundle may have loaded others.
    fn owns(&self) -> Vec<Owned> {
        vec![self.store.loaded()]
    }
}

#[cfg(test)]
mod tests {
    use payload::Blob;

    use super::*;

    fn image(name: &str, layers: &[&str]) -> Image {
        let blob = |what: &str, size| Blob { digest: Sha256::of(what.as_bytes()), size, media_type: String::new() };
        Image {
            names: vec![name.to_owned()],
            contents: Contents::Blobs(payload::Image {
                names: vec![name.parse().unwrap()],
                manifest: blob(&format!("{name} manifest"), 1),
                config: blob(&format!("{name} config"), 10),
                layers: layers.iter().map(|layer| blob(layer, 100)).collect(),
                unpacked: 1000,
            }),
        }
    }

    fn images(store: &'static Store) -> Images {
        let images = vec![image("x.io/a:1", &["shared", "a"]), image("x.io/b:1", &["shared", "b"])];
        let delivery = Delivery::new(None, crate::deliver::RouteChoice::Auto);
        Images { images, store, folder: None, delivery }
    }

    #[test]
    fn a_blob_that_two_images_share_is_sent_once_where_the_store_keeps_blobs() {
        let missing = ["x.io/a:1", "x.io/b:1"].map(str::to_owned).into();
        let found = Found { missing, ..Found::default() };
        let sent = |images: &Images| images.wanted(&found).iter().map(|w| w.sent).collect::<Vec<_>>();
        assert_eq!(sent(&images(&super::super::CONTAINERD)), [211, 111]);
        assert_eq!(sent(&images(&super::super::DOCKER)), [211, 211]);
        assert_eq!(space_for(&images(&super::super::CONTAINERD).images), 211 + 111 + 2000);
        assert_eq!(archive_size(&images(&super::super::CONTAINERD).images), 211 + 111);
    }

    #[test]
    fn only_what_is_missing_is_brought_and_must_have_space() {
        let images = images(&super::super::CONTAINERD);
        let held = [format!("sha256:{}", Sha256::of(b"shared"))].into();
        let found = Found { missing: ["x.io/b:1".to_owned()].into(), held, free: Some(1110) };
        let wanted = images.wanted(&found);
        assert_eq!((wanted.len(), wanted[0].sent, wanted[0].needed), (1, 111, 1111));
        let refused = images.check_space(&wanted, &found).unwrap_err().to_string();
        assert!(
            refused.contains("/var/lib/containerd has 1110 bytes free") && refused.ends_with(": 1 bytes are missing")
        );
        assert!(images.check_space(&wanted, &Found { free: Some(1111), ..found }).is_ok());
    }
}
