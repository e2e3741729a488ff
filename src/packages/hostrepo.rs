//! One host's view of the repository for one run: the way it takes, what would change, the change itself.
//!
//! 1. [`HostRepo::open`] makes the run's folders on the host (clearing what a killed run left), finds the best way
//!    that works, and has the package manager read the signed metadata by it;
//! 2. [`HostRepo::trial`] asks the package manager what it would do;
//! 3. [`HostRepo::install`] does it, going on by the next way, once, when the way breaks in the middle;
//! 4. [`HostRepo::close`] takes the folders away.

use std::collections::HashSet;

use payload::RpmId;

use crate::deliver::offer::Offer;
use crate::deliver::push;
use crate::deliver::repository::Repository;
use crate::deliver::server::Place;
use crate::deliver::site::{LOOKING, Site};
use crate::deliver::{Route, RouteChoice};
use crate::host::{Command, Facts, Forward, Host};

use super::error::PackageError;
use super::held::Held;
use super::manager::{Action, Manager, Ours};
use super::transaction::Transaction;
use super::wanted::{InstallOptions, Orders, Wanted, orders};

use super::installed;

/// One host's view of the repository.
#[derive(Debug)]
pub struct HostRepo {
    pub(super) place: Place,
    /// What this host may have of what is served there.
    pub(super) offer: Offer,
    pub(super) site: Site,
    pub(super) manager: Manager,
    pub(super) choice: RouteChoice,
    pub(super) route: Route,
    /// Routes that do not work, with the reason.
    pub(super) tried: Vec<(Route, String)>,
    pub(super) forward: Option<Forward>,
    /// Names of packages that lie on the host already (route `files`).
    uploaded: HashSet<String>,
    pub(super) fell_back: bool,
    /// The metadata has not been read by this way: the first trial does it.
    pub(super) unread: bool,
    /// What was found installed on opening, for the trial that comes right after.
    pub(super) seen: Option<Seen>,
    /// The last trial that found no problem, so that installing after it need not ask again.
    pub(super) last: Option<(Orders, Transaction)>,
    closed: bool,
    /// The transaction that waits on the host since the last trial.
    pub(super) held: Option<HeldTrial>,
}

/// A transaction that waits, what it is the answer to, and whether it checks signatures.
#[derive(Debug)]
pub(super) struct HeldTrial {
    pub(super) transaction: Held,
    pub(super) wanted: Vec<Wanted>,
    pub(super) gpgcheck: bool,
}

/// What is wanted, and for each the packages that are there.
type Seen = (Vec<Wanted>, Vec<Vec<RpmId>>);

/// What an installation changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The packages that came.
    pub changed: Vec<RpmId>,
    /// The way they came by.
    pub route: Route,
}

impl HostRepo {
    /// Finds the way, and has the host's package manager read the metadata by it. `environment` is whose run this is; a dry run's is
    /// none, and it takes away nothing that others left.
    ///
    /// # Errors
    /// [`PackageError::NoRoute`] when none of the ways allowed works.
    pub fn open(
        host: &Host,
        facts: &Facts,
        place: &Place,
        choice: RouteChoice,
        wanted: &[Wanted],
        environment: Option<&str>,
        note: &mut dyn FnMut(String),
    ) -> Result<HostRepo, PackageError> {
        let (place, offer) = (place.clone(), Offer::new(&place.stock, &facts.platform));
        let manager = manager(host, facts)?;
        let site = Site::prepare(host, &place.stock.run, environment.unwrap_or(LOOKING), note)?;
        let mut repo = HostRepo {
            place,
            offer,
            site,
            manager,
            choice,
            route: Route::Own,
            tried: Vec::new(),
            forward: None,
            uploaded: HashSet::new(),
            fell_back: false,
            unread: false,
            seen: None,
            last: None,
            closed: false,
            held: None,
        };
        if repo.is_needed(wanted)? {
            let there = installed::query(host, wanted)?;
            if wanted.iter().zip(&there).all(|(wanted, there)| wanted.is_met_by(there)) {
                repo.route = Route::Idle;
            } else {
                repo.need_route(host)?;
            }
            repo.seen = Some((wanted.to_vec(), there));
        }
        Ok(repo)
    }

    /// The way this host takes.
    #[must_use]
    pub fn route(&self) -> Route {
        self.route
    }

    /// Which way, and why not a better one.
    #[must_use]
    pub fn why(&self) -> String {
        let mut why = match self.route {
            Route::Own => "the host's own repositories: nothing of what is wanted is in the bundle".to_owned(),
            Route::Idle => "everything wanted is installed already".to_owned(),
            route => route.to_string(),
        };
        for (route, reason) in &self.tried {
            why.push_str(&format!("; not {route}: {reason}"));
        }
        why
    }

    /// Takes off a host what dead runs left there, on a run of this environment that itself needs no repository.
    pub fn sweep(host: &Host, environment: &str) -> Result<(), PackageError> {
        Ok(Site::sweep(host, environment)?)
    }

    /// Takes everything of this run off the host; nothing can be installed through it any more.
    pub fn close(&mut self, host: &Host) -> Result<(), PackageError> {
        if !self.closed {
            self.site.clear(host)?;
            self.closed = true;
            self.forward = None;
        }
        Ok(())
    }

    /// Whether it has been taken off the host.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether anything wanted is in this repository.
    fn is_needed(&self, wanted: &[Wanted]) -> Result<bool, PackageError> {
        for wanted in wanted {
            match wanted {
                Wanted::Rpm { .. } => return Ok(true),
                Wanted::Name(name) | Wanted::Version { name, .. } if self.offer.has_name(name)? => return Ok(true),
                Wanted::Name(_) | Wanted::Version { .. } => {}
            }
        }
        Ok(false)
    }

    pub(super) fn ours(&self, gpgcheck: bool) -> Ours {
        Ours {
            repos_dir: self.site.repos_dir(),
            cache_dir: self.site.cache_dir(),
            sections: self.offer.repositories().iter().map(Repository::id).collect(),
            gpgcheck,
            rpm_keys: self.rpm_key_addresses(),
        }
    }

    pub(super) fn manager(&self) -> Manager {
        self.manager
    }

    pub(super) fn upload_packages(&mut self, host: &Host, transaction: &Transaction) -> Result<(), PackageError> {
        let offer = &self.offer;
        let served = transaction.changed().filter_map(|id| offer.served(id));
        Ok(push::packages(host, &offer.stock, &self.site, served, &mut self.uploaded)?)
    }

    /// Where the packages of a transaction lie on the host once they are uploaded.
    pub(super) fn uploaded_paths(&self, transaction: &Transaction) -> Vec<String> {
        let served = transaction.changed().filter_map(|id| self.offer.served(id));
        served.map(|name| format!("{}/{name}", self.site.files_dir())).collect()
    }

    /// Bytes that this transaction takes on the host, by folder, with a name for what they are: what is fetched, and the files of packages that
    /// come new. Those of an upgrade mostly take the place of others; rpm itself counts them.
    ///
    /// # Errors
    /// When a package of the bundle cannot be read.
    pub fn disk_space(&self, tried: &Transaction) -> Result<Vec<(String, u64, &'static str)>, PackageError> {
        let catalogue = self.offer.catalogue()?;
        let new = tried.install.iter().filter_map(|id| catalogue.package(id));
        let files =
            new.flat_map(|package| package.files.iter().map(|(folder, bytes)| (folder.clone(), *bytes, "packages")));
        // rpm alone has been given them for its test.
        let fetched = tried.changed().filter(|_| self.manager != Manager::Rpm).filter_map(|id| self.offer.size(id));
        let fetched = (self.site.cache_dir(), fetched.sum(), "fetched packages");
        Ok(files.chain(std::iter::once(fetched)).filter(|(_, bytes, _)| *bytes > 0).collect())
    }

    pub(super) fn clean(&self, text: &str) -> String {
        self.place.stock.without_token(text)
    }

    pub(super) fn orders(
        &mut self,
        host: &Host,
        wanted: &[Wanted],
        options: &InstallOptions,
    ) -> Result<Orders, PackageError> {
        let there = match self.seen.take() {
            Some((asked, there)) if asked == wanted => there,
            _ => installed::query(host, wanted)?,
        };
        let orders = orders(host.name(), &self.offer, wanted, &there, options)?;
        if self.manager == Manager::Rpm && !orders.own.is_empty() {
            return Err(PackageError::NoOwn { host: host.name().clone(), names: orders.own });
        }
        Ok(orders)
    }
}

/// What there is to install packages with.
fn manager(host: &Host, facts: &Facts) -> Result<Manager, PackageError> {
    if let Some(manager) = facts.package_manager {
        return Ok(manager.into());
    }
    if host.run(&Command::new("rpm").arg("--version"))?.ok() {
        return Ok(Manager::Rpm);
    }
    Err(PackageError::NoPackageManager { host: host.name().to_owned() })
}

/// The transactions of an order, in the order to run them.
pub(super) fn actions(orders: &Orders) -> impl Iterator<Item = (Action, &[String])> {
    let all = [
        (Action::Downgrade, orders.downgrade.as_slice()),
        (Action::Install, orders.install.as_slice()),
        (Action::Reinstall, orders.reinstall.as_slice()),
    ];
    all.into_iter().filter(|(_, specs)| !specs.is_empty())
}
