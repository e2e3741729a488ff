//! How one host comes to the repository: the ways tried in turn, the one taken, and the next one when it breaks.

use tracing::info;

use crate::deliver::push;
use crate::deliver::reach::{Reached, reach};
use crate::deliver::repofile;
use crate::deliver::{DeliverError, Route};
use crate::host::Host;

use super::error::PackageError;
use super::hostrepo::HostRepo;
use super::manager::Manager;
use super::package_run::Run;
use super::problem::Verdict;

/// The file name of the run's key on a host.
const KEY: &str = "run-key.asc";

impl HostRepo {
    /// Finds the way when that has not been done; a host that has everything may never need one.
    pub(super) fn need_route(&mut self, host: &Host) -> Result<(), PackageError> {
        if matches!(self.route, Route::Own | Route::Idle) {
            self.find_route(host, self.manager.trial_reads_metadata())?;
            info!(host = host.name().as_str(), route = %self.route, why = self.why(), "route to the repository");
        }
        Ok(())
    }

    /// Takes the first route that works, of those that have not failed yet. A trial that comes next may be left to read
    /// the metadata.
    fn find_route(&mut self, host: &Host, trial_reads: bool) -> Result<(), PackageError> {
        for route in self.choice.order() {
            if self.tried.iter().any(|(tried, _)| tried == route) {
                continue;
            }
            match self.enter(host, *route, trial_reads)? {
                Ok(()) => {
                    self.route = *route;
                    self.unread = trial_reads;
                    return Ok(());
                }
                Err(why) => {
                    info!(host = host.name().as_str(), %route, why, "route not usable");
                    self.tried.push((*route, why));
                }
            }
        }
        Err(PackageError::NoRoute { host: host.name().to_owned(), tried: self.tried.clone() })
    }

    /// Makes a route ready; the inner error says why it does not work.
    fn enter(&mut self, host: &Host, route: Route, trial_reads: bool) -> Result<Result<(), String>, PackageError> {
        if self.manager == Manager::Rpm && route != Route::Push {
            return Ok(Err("rpm alone cannot use a repository".into()));
        }
        self.forward = None;
        let base = match route {
            Route::Direct | Route::Tunnel => match reach(host, &self.place, route, &self.place.stock.first_repomd())? {
                Ok(Reached { base, forward }) => {
                    self.forward = forward;
                    base
                }
                Err(why) => return Ok(Err(why)),
            },
            Route::Push => {
                push::metadata(host, &self.offer, &self.site)?;
                format!("file://{}/", self.site.files_dir())
            }
            Route::Own | Route::Idle => return Ok(Ok(())),
        };
        if self.manager == Manager::Rpm {
            return Ok(Ok(()));
        }
        self.site.put_repo(host, &self.repo_file(&base), &self.keys()?)?;
        if trial_reads { Ok(Ok(())) } else { self.read_metadata(host, route) }
    }

    fn repo_file(&self, base: &str) -> String {
        let mut keys = vec![format!("file://{}", self.site.key(KEY))];
        keys.extend(self.rpm_key_addresses());
        repofile::text(&self.offer.repositories(), base, &keys)
    }

    /// Where the keys of the bundle lie on the host.
    pub(super) fn rpm_key_addresses(&self) -> Vec<String> {
        let keys = self.place.stock.rpm_keys();
        keys.iter().map(|(name, _)| format!("file://{}", self.site.key(name))).collect()
    }

    /// Has the package manager read the metadata and check its signature. Here, because accepting the run's key needs
    /// a yes, and most trials answer everything with no.
    fn read_metadata(&self, host: &Host, route: Route) -> Result<Result<(), String>, PackageError> {
        let run = Run::of(host, &self.manager.makecache(&self.ours(false)))?;
        if run.ok() {
            return Ok(Ok(()));
        }
        match run.verdict(self.manager) {
            Verdict::Damaged(detail) => Err(self.damaged_metadata(host, &detail)),
            Verdict::Download(why) if route != Route::Push => Ok(Err(self.clean(&why))),
            _ => Err(run.failed(host, &self.place.stock)),
        }
    }

    pub(super) fn damaged_metadata(&self, host: &Host, detail: &str) -> PackageError {
        let what = "the repository's metadata".to_owned();
        DeliverError::Damaged { host: host.name().clone(), what, detail: self.clean(detail) }.into()
    }

    /// The metadata could not be fetched by this way: it is none.
    pub(super) fn route_failed(&mut self, host: &Host, why: &str) -> Result<(), PackageError> {
        self.tried.push((self.route, self.clean(why)));
        self.find_route(host, false)
    }

    /// The run's key, and the keys in the bundle that packages are signed with.
    fn keys(&self) -> Result<Vec<(String, Vec<u8>)>, PackageError> {
        let stock = &self.place.stock;
        let mut keys = vec![(KEY.to_owned(), stock.public_key()?.as_bytes().to_vec())];
        for (file_name, member) in stock.rpm_keys() {
            keys.push((file_name, stock.read(&member)?));
        }
        Ok(keys)
    }

    /// Goes on by the next way; once in a run, and only where the choice is ours.
    pub(super) fn fall_back(
        &mut self,
        host: &Host,
        why: &str,
        note: &mut dyn FnMut(String),
    ) -> Result<(), PackageError> {
        let (from, why) = (self.route, self.clean(why));
        let last = self.choice.order().last() == Some(&from);
        if self.fell_back || last {
            return Err(PackageError::Download { host: host.name().clone(), route: from, detail: why });
        }
        self.fell_back = true;
        self.tried.push((from, format!("it broke in the middle: {why}")));
        self.find_route(host, false)?;
        note(format!("route {from} failed in the middle ({why}): continuing by {}", self.route));
        Ok(())
    }
}
