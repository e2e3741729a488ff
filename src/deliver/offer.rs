//! What one host is offered of all that a run serves: the rpms of the control host, the bundle's packages for its platform, and
//! those for all hosts. What the bundle has for other platforms it never sees.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, OnceLock};

use payload::{Manifest, Platform, RpmId};

use super::catalogue::{Catalogue, EntryReader};
use super::error::DeliverError;
use super::repository::Repository;
use super::server::{REPOMD, Stock};

/// A host's part of what is served. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) stock: Arc<Stock>,
    /// As the host says it; the bundle may know nothing of it.
    platform: String,
}

/// Catalogues by platform, each read when it is first needed: of all hosts of a platform together, since reading takes time.
#[derive(Debug)]
pub(super) struct Catalogues(BTreeMap<Option<Platform>, OnceLock<Result<Catalogue, String>>>);

impl Catalogues {
    /// For the platforms of a bundle, and for hosts of any other.
    pub(super) fn of(manifest: Option<&Manifest>) -> Catalogues {
        let platforms = manifest.map(Manifest::platforms).unwrap_or_default();
        let all = std::iter::once(None).chain(platforms.into_iter().map(Some));
        Catalogues(all.map(|platform| (platform, OnceLock::new())).collect())
    }

    /// The bundle's platforms.
    pub(super) fn platforms(&self) -> impl Iterator<Item = &Platform> {
        self.0.keys().flatten()
    }
}

impl Offer {
    /// To a host of this platform.
    pub(crate) fn new(stock: &Arc<Stock>, platform: &str) -> Offer {
        Offer { stock: Arc::clone(stock), platform: platform.to_owned() }
    }

    /// The host's platform; empty when it does not tell.
    pub(crate) fn platform(&self) -> &str {
        &self.platform
    }

    /// The host's platform, when the bundle has packages for it.
    fn known_platform(&self) -> Option<&Platform> {
        self.stock.catalogues.platforms().find(|platform| platform.as_str() == self.platform)
    }

    /// The repositories that this host sees.
    pub(crate) fn repositories(&self) -> Vec<Repository> {
        let own = self.known_platform();
        let mut repositories = self.stock.repositories();
        repositories.retain(|repository| match repository {
            Repository::Platform(platform) => Some(platform) == own,
            Repository::Common | Repository::Local => true,
        });
        repositories
    }

    /// Their metadata with the signatures.
    pub(super) fn metadata_and_signatures(&self) -> Vec<String> {
        let repositories = self.repositories();
        let seen = |name: &&String| repositories.iter().any(|repository| repository.has_metadata(name));
        let metadata: Vec<&String> = self.stock.metadata.iter().filter(seen).collect();
        let signed = metadata.iter().filter(|name| name.ends_with(REPOMD));
        signed.map(|name| format!("{name}.asc")).chain(metadata.iter().map(|name| (*name).clone())).collect()
    }

    /// Packages and the names that they are served under. Of the same package in two repositories that which the host's own
    /// package manager takes comes first ([`Repository::cost`]).
    pub(crate) fn packages(&self) -> impl Iterator<Item = (&RpmId, String)> {
        let local = self.stock.local.iter().map(|rpm| (&rpm.id, rpm.served()));
        let bundle = self.stock.bundle.iter().flat_map(|bundle| bundle.manifest().packages_for(&self.platform));
        local.chain(bundle.filter_map(|member| Some((member.rpm.as_ref()?, member.name.clone()))))
    }

    /// The packages' own statements, read from their headers when first needed.
    pub(crate) fn catalogue(&self) -> Result<&Catalogue, DeliverError> {
        let catalogues = &self.stock.catalogues.0;
        let unknown = || DeliverError::Metadata { why: "nothing is served".to_owned() };
        let place = catalogues.get(&self.known_platform().cloned()).ok_or_else(unknown)?;
        let read = place.get_or_init(|| Catalogue::read(self).map_err(|error| error.to_string()));
        read.as_ref().map_err(|why| DeliverError::Metadata { why: why.clone() })
    }

    /// Whether a package of this name, or that provides it, is offered.
    pub(crate) fn has_name(&self, name: &str) -> Result<bool, DeliverError> {
        Ok(self.packages().any(|(id, _)| id.name == name) || self.catalogue()?.named(name).next().is_some())
    }

    /// Whether this very package is offered.
    pub(crate) fn has_file(&self, file_name: &str, id: &RpmId) -> bool {
        self.packages().any(|(offered, _)| offered == id)
            || self.stock.local.iter().any(|rpm| rpm.file_name == file_name)
    }

    /// Under which name a package is served.
    pub(crate) fn served(&self, id: &RpmId) -> Option<String> {
        self.packages().find(|(offered, _)| *offered == id).map(|(_, served)| served)
    }

    /// The bytes of a package before its payload; nothing of one that is not offered.
    pub(crate) fn head(&self, id: &RpmId) -> Result<Vec<u8>, DeliverError> {
        let mut head = Vec::new();
        let (package, served) = (self.catalogue()?.package(id), self.served(id));
        if let (Some(package), Some(served)) = (package, served)
            && let Some(entry) = self.stock.entry(&served)
        {
            let read = EntryReader::open(&entry).and_then(|reader| reader.take(package.head).read_to_end(&mut head));
            read.map_err(|error| DeliverError::Metadata { why: format!("{served}: {error}") })?;
        }
        Ok(head)
    }

    /// The size of a package's file.
    pub(crate) fn size(&self, id: &RpmId) -> Option<u64> {
        self.stock.entry(&self.served(id)?).map(|entry| entry.size)
    }

    /// The platforms whose hosts are offered what this host is not.
    pub(crate) fn elsewhere(
        &self,
        has: impl Fn(&Offer) -> Result<bool, DeliverError>,
    ) -> Result<Vec<Platform>, DeliverError> {
        let mut platforms = Vec::new();
        for platform in self.stock.catalogues.platforms().filter(|platform| platform.as_str() != self.platform) {
            if has(&Offer::new(&self.stock, platform.as_str()))? {
                platforms.push(platform.clone());
            }
        }
        Ok(platforms)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use camino::{Utf8Path, Utf8PathBuf};
    use payload::{Bundle, Inputs, Source};

    use super::super::server::Server;
    use super::*;

    /// A server of a bundle with these packages (platform, or nothing for all hosts, and `NAME-VERSION`), and with rpms of the
    /// control host. Each package provides `NAME-service`; it is another one on every platform.
    pub(crate) fn serving(packages: &[(&str, &str)], local: &[&str]) -> (tempfile::TempDir, Server) {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| Utf8Path::from_path(folder.path()).unwrap().join(name);
        let mut inputs = Inputs::new("0.1.0", Source::File("/bin/true".into()), &at("test.bin"));
        for (platform, package) in packages {
            inputs.rpm(platform.parse().ok(), Source::File(rpm(&at(platform), package)));
        }
        let assembled = payload::assemble(inputs, &mut |_| ()).unwrap();
        payload::write(&assembled.recipe, &at("test.bin"), &mut |_| ()).unwrap();
        let local: Vec<Utf8PathBuf> = local.iter().map(|package| rpm(&at("local"), package)).collect();
        let bundle = Bundle::open(&at("test.bin")).unwrap();
        let server = Server::start(Some(bundle), &local, "127.0.0.1:0".parse().unwrap()).unwrap();
        (folder, server)
    }

    fn rpm(folder: &Utf8Path, package: &str) -> Utf8PathBuf {
        let (name, version) = package.rsplit_once('-').unwrap();
        let mut builder = rpm::PackageBuilder::new(name, version, "MIT", "noarch", "A test");
        let config = rpm::BuildConfig::v4().compression(rpm::CompressionType::None).source_date(1_700_000_000);
        builder.release("1").using_config(config).provides(rpm::Dependency::any(format!("{name}-service")));
        let contents = format!("built for {folder}");
        builder.with_file_contents(contents, rpm::FileOptions::new(format!("/srv/{name}"))).unwrap();
        let path = folder.join(format!("{package}-1.noarch.rpm"));
        fs_err::create_dir_all(folder).unwrap();
        builder.build().unwrap().write_file(&path).unwrap();
        path
    }

    pub(crate) fn id(package: &str) -> RpmId {
        let (name, version) = package.rsplit_once('-').unwrap();
        let (name, version, release, arch) = (name.into(), version.into(), "1".into(), "noarch".into());
        RpmId { name, epoch: 0, version, release, arch }
    }

    fn offer(server: &Server, platform: &str) -> Offer {
        Offer::new(&server.place().stock, platform)
    }

    const PACKAGES: [(&str, &str); 6] =
        [("", "tini-1"), ("", "etcd-3"), ("el8", "runc-1"), ("el8", "etcd-3"), ("el9", "etcd-3"), ("el9", "runc-2")];

    #[test]
    fn a_host_sees_the_common_repository_and_its_platform_s() {
        let (_folder, server) = serving(&PACKAGES, &["extra-1"]);
        for (platform, ids) in [
            ("el9", &["sunshine-installer", "sunshine-installer-el9", "sunshine-installer-local"][..]),
            ("el8", &["sunshine-installer", "sunshine-installer-el8", "sunshine-installer-local"]),
            ("f41", &["sunshine-installer", "sunshine-installer-local"]),
            ("", &["sunshine-installer", "sunshine-installer-local"]),
        ] {
            let offer = offer(&server, platform);
            assert_eq!(offer.repositories().iter().map(Repository::id).collect::<Vec<_>>(), ids, "{platform}");
            server.place().stock.key().unwrap();
            let metadata = offer.metadata_and_signatures();
            // Of each: repomd.xml, its signature, primary, filelists, other; and all of it is served.
            assert_eq!(metadata.len(), 5 * ids.len(), "{metadata:?}");
            assert!(metadata.iter().all(|name| offer.stock.entry(name).is_some()), "{metadata:?}");
            let other = if platform == "el9" { "el8/" } else { "el9/" };
            assert!(!metadata.iter().any(|name| name.starts_with(other)), "{platform}: {metadata:?}");
        }
    }

    #[test]
    fn packages_of_the_host_s_platform_go_before_common_ones() {
        let (_folder, server) = serving(&PACKAGES, &["extra-1"]);
        let served = |platform: &str, package: &str| offer(&server, platform).served(&id(package));
        assert_eq!(served("el9", "etcd-3").as_deref(), Some("el9/rpms/etcd-3-1.noarch.rpm"));
        assert_eq!(served("el8", "etcd-3").as_deref(), Some("el8/rpms/etcd-3-1.noarch.rpm"));
        assert_eq!(served("f41", "etcd-3").as_deref(), Some("rpms/etcd-3-1.noarch.rpm"));
        assert_eq!(served("el9", "runc-1"), None);
        assert_eq!(served("f41", "extra-1").as_deref(), Some("local/extra-1-1.noarch.rpm"));
        let named = |platform: &str, name: &str| {
            let offer = offer(&server, platform);
            let catalogue = offer.catalogue().unwrap();
            catalogue.named(name).map(|package| package.id.version.clone()).collect::<Vec<_>>()
        };
        assert_eq!(named("el9", "runc"), ["2"]);
        assert_eq!(named("el9", "etcd"), ["3"], "the common one is hidden by it");
        assert_eq!(named("el8", "runc-service"), ["1"]);
        assert!(named("f41", "runc").is_empty());
        assert_eq!(named("f41", "extra"), ["1"]);
    }

    #[test]
    fn what_other_platforms_have_is_known_by_name_and_capability() {
        let (_folder, server) = serving(&PACKAGES, &[]);
        let elsewhere = |platform: &str, name: &str| {
            let platforms = offer(&server, platform).elsewhere(|other| other.has_name(name)).unwrap();
            platforms.iter().map(Platform::to_string).collect::<Vec<_>>()
        };
        assert!(offer(&server, "el9").has_name("runc-service").unwrap());
        assert!(!offer(&server, "f41").has_name("runc-service").unwrap());
        assert_eq!(elsewhere("f41", "runc"), ["el8", "el9"]);
        assert_eq!(elsewhere("f41", "runc-service"), ["el8", "el9"]);
        assert!(elsewhere("f41", "nothing").is_empty());
    }

    /// All packages being for platforms, the common repository is empty and there.
    #[test]
    fn a_bundle_may_have_packages_for_platforms_only() {
        let (_folder, server) = serving(&[("el9", "etcd-3")], &[]);
        let (own, other) = (offer(&server, "el9"), offer(&server, "el8"));
        assert!(own.stock.entry(&own.stock.first_repomd()).is_some());
        assert!(own.has_name("etcd").unwrap() && !other.has_name("etcd").unwrap());
        assert_eq!(other.repositories(), [Repository::Common]);
        assert!(other.catalogue().unwrap().packages.is_empty());
    }
}
