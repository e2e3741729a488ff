//! One host's view of the repository for one run: the way it takes, what would change, the change itself.
//!
//! 1. [`HostRepo::open`] makes the run's folders on the host (clearing what a killed run left), finds the best way
//!    that works, and has the package manager read the signed metadata by it;
//! 2. [`HostRepo::trial`] asks the package manager what it would do;
//! 3. [`HostRepo::install`] does it, going on by the next way, once, when the way breaks in the middle;
//! 4. [`HostRepo::close`] takes the folders away.

use std::collections::HashSet;
use std::sync::Arc;

use payload::RpmId;

use crate::host::{Command, Facts, Forward, Host};

use super::error::RepoError;
use super::manager::{Action, Manager, Ours};
use super::package_run;
use super::problem::{self, Verdict};
use super::repofile;
use super::route::{Route, RouteChoice};
use super::server::{Place, Server, Stock};
use super::signatures;
use super::site::Site;
use super::transaction::Transaction;
use super::wanted::{InstallOptions, Orders, Wanted, orders};
use super::{installed, upload};

/// One host's view of the repository.
#[derive(Debug)]
pub struct HostRepo {
    pub(super) place: Place,
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
    /// The last trial, so that installing right after it need not ask again.
    last: Option<(Orders, Transaction)>,
}

/// What an installation changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The packages that came.
    pub changed: Vec<RpmId>,
    /// The way they came by.
    pub route: Route,
}

impl HostRepo {
    /// Finds the way, and has the host's package manager read the metadata by it.
    ///
    /// # Errors
    /// [`RepoError::NoRoute`] when none of the ways allowed works.
    pub fn open(
        host: &Host,
        facts: &Facts,
        server: &Server,
        choice: RouteChoice,
        wanted: &[Wanted],
        note: &mut dyn FnMut(String),
    ) -> Result<HostRepo, RepoError> {
        let place = server.place().clone();
        let manager = manager(host, facts)?;
        let site = Site::prepare(host, &place.stock.run, note)?;
        let mut repo = HostRepo {
            place,
            site,
            manager,
            choice,
            route: Route::Own,
            tried: Vec::new(),
            forward: None,
            uploaded: HashSet::new(),
            fell_back: false,
            unread: false,
            last: None,
        };
        if repo.is_needed(wanted)? {
            let there = installed::query(host, wanted)?;
            if wanted.iter().zip(&there).all(|(wanted, there)| wanted.is_met_by(there)) {
                repo.route = Route::Idle;
            } else {
                repo.need_way(host)?;
            }
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

    /// What installing would change. Changes nothing, and says why when it could not be done.
    pub fn trial(
        &mut self,
        host: &Host,
        wanted: &[Wanted],
        options: &InstallOptions,
    ) -> Result<Transaction, RepoError> {
        let orders = match self.orders(host, wanted, options) {
            Ok(orders) => orders,
            Err(error @ (RepoError::Newer { .. } | RepoError::Unsolvable { .. })) => {
                let help = error.help().map(|help| format!(" ({help})")).unwrap_or_default();
                return Ok(Transaction { problems: vec![format!("{error}{help}")], ..Transaction::default() });
            }
            Err(error) => return Err(error),
        };
        let mut transaction = self.try_ours(host, &orders, options, &mut |_| ())?;
        if !orders.own.is_empty() {
            transaction.merge(self.try_own(host, &orders, options)?);
        }
        transaction.already.clone_from(&orders.already);
        if let Some(way) = problem::way_out(&transaction.problems) {
            transaction.problems.push(way);
        }
        Ok(transaction)
    }

    /// Installs what is wanted. What is there already is left alone; when all is, no transaction runs.
    ///
    /// # Errors
    /// Each names the host; see [`RepoError`].
    pub fn install(
        &mut self,
        host: &Host,
        wanted: &[Wanted],
        options: &InstallOptions,
        note: &mut dyn FnMut(String),
    ) -> Result<Installed, RepoError> {
        let orders = self.orders(host, wanted, options)?;
        let mut changed = Vec::new();
        if !orders.none_of_ours() {
            let transaction = self.try_ours(host, &orders, options, note)?;
            self.refuse_problems(host, &orders.install, &transaction)?;
            self.install_ours(host, &orders, &transaction, options, note)?;
            changed.extend(transaction.changed().cloned());
        }
        if !orders.own.is_empty() {
            changed.extend(self.install_own(host, &orders, options, note)?);
        }
        self.last = None;
        if !changed.is_empty() || !orders.none_of_ours() || !orders.own.is_empty() {
            self.prove(host, wanted)?;
        }
        Ok(Installed { changed, route: self.route })
    }

    /// Takes off a host what a killed run left there, on a run that itself needs no repository.
    pub fn sweep(host: &Host) -> Result<(), RepoError> {
        Site::clear(host)
    }

    /// Takes everything of this run off the host.
    pub fn close(self, host: &Host) -> Result<(), RepoError> {
        Site::clear(host)
    }

    /// Whether anything wanted is in this repository.
    fn is_needed(&self, wanted: &[Wanted]) -> Result<bool, RepoError> {
        for wanted in wanted {
            match wanted {
                Wanted::Rpm { .. } => return Ok(true),
                Wanted::Name(name) if self.place.stock.has_name(name)? => return Ok(true),
                Wanted::Name(_) => {}
            }
        }
        Ok(false)
    }

    pub(super) fn ours(&self, gpgcheck: bool) -> Ours {
        Ours {
            repos_dir: self.site.repos_dir(),
            cache_dir: self.site.cache_dir(),
            sections: repofile::ids(&self.place.stock),
            gpgcheck,
            rpm_keys: self.rpm_key_addresses(),
        }
    }

    pub(super) fn stock(&self) -> &Arc<Stock> {
        &self.place.stock
    }

    pub(super) fn manager(&self) -> Manager {
        self.manager
    }

    pub(super) fn upload_packages(&mut self, host: &Host, transaction: &Transaction) -> Result<(), RepoError> {
        upload::packages(host, &self.place.stock, &self.site, transaction, &mut self.uploaded)
    }

    /// Where the packages of a transaction lie on the host once they are uploaded.
    pub(super) fn uploaded_paths(&self, transaction: &Transaction) -> Vec<String> {
        let served = transaction.changed().filter_map(|id| self.place.stock.served(id));
        served.map(|name| format!("{}/{name}", self.site.files_dir())).collect()
    }

    pub(super) fn clean(&self, text: &str) -> String {
        self.place.stock.without_token(text)
    }

    fn orders(&self, host: &Host, wanted: &[Wanted], options: &InstallOptions) -> Result<Orders, RepoError> {
        let there = installed::query(host, wanted)?;
        let orders = orders(host.name(), &self.place.stock, wanted, &there, options)?;
        if self.manager == Manager::Rpm && !orders.own.is_empty() {
            return Err(RepoError::NoOwn { host: host.name().into(), names: orders.own });
        }
        Ok(orders)
    }

    /// What the orders for this repository would change; the members that they need are checked on our side.
    fn try_ours(
        &mut self,
        host: &Host,
        orders: &Orders,
        options: &InstallOptions,
        note: &mut dyn FnMut(String),
    ) -> Result<Transaction, RepoError> {
        if let Some((last, transaction)) = &self.last
            && last == orders
        {
            return Ok(transaction.clone());
        }
        let mut all = Transaction::default();
        if orders.none_of_ours() {
            return Ok(all);
        }
        self.need_way(host)?;
        if self.manager == Manager::Rpm {
            all = self.try_with_rpm(host, orders)?;
        } else {
            for (action, specs) in actions(orders) {
                all.merge(self.try_action(host, action, specs, options, note)?);
            }
        }
        let stock = &self.place.stock;
        let served: Vec<String> = all.changed().filter_map(|id| stock.served(id)).collect();
        stock.check(served.iter().map(String::as_str))?;
        self.last = Some((orders.clone(), all.clone()));
        Ok(all)
    }

    fn try_action(
        &mut self,
        host: &Host,
        action: Action,
        specs: &[String],
        options: &InstallOptions,
        note: &mut dyn FnMut(String),
    ) -> Result<Transaction, RepoError> {
        loop {
            let command = self.manager.ours(action, specs, &self.ours(false), true, options.timeout);
            let run = package_run::unlocked(host, self.manager, &command, options.lock_wait, note)?;
            match run.trial(self.manager) {
                Ok(transaction) => {
                    self.unread = false;
                    return Ok(transaction);
                }
                Err(Verdict::Unsolvable(problems)) => {
                    return Ok(Transaction { problems, ..Transaction::default() });
                }
                Err(Verdict::Download(why)) if self.unread && self.route != Route::Files => self.no_way(host, &why)?,
                Err(Verdict::Damaged(detail)) if self.unread => return Err(self.damaged_metadata(host, &detail)),
                Err(Verdict::Download(why)) => self.fall_back(host, &why, note)?,
                Err(Verdict::Damaged(detail)) => return Err(self.damaged(host, &detail)),
                Err(_) => return Err(run.failed(host, &self.place.stock)),
            }
        }
    }

    fn try_own(&self, host: &Host, orders: &Orders, options: &InstallOptions) -> Result<Transaction, RepoError> {
        let command = self.manager.own(&orders.own, true, options.timeout);
        let run = package_run::unlocked(host, self.manager, &command, options.lock_wait, &mut |_| ())?;
        match run.trial(self.manager) {
            Ok(transaction) => Ok(transaction),
            Err(Verdict::Unsolvable(problems)) => Ok(Transaction { problems, ..Transaction::default() }),
            Err(Verdict::Download(why)) => {
                let names = orders.own.join(", ");
                let problem =
                    format!("{names}: not in the bundle, and the host's own repositories do not answer ({why})");
                Ok(Transaction { problems: vec![problem], ..Transaction::default() })
            }
            Err(_) => Err(run.failed(host, &self.place.stock)),
        }
    }

    fn refuse_problems(&self, host: &Host, wanted: &[String], found: &Transaction) -> Result<(), RepoError> {
        if found.problems.is_empty() {
            return Ok(());
        }
        let (wanted, problems) = (wanted.to_vec(), found.problems.clone());
        Err(RepoError::Unsolvable { host: host.name().into(), wanted, problems })
    }

    /// Runs the transactions, each again by the next way should the way break.
    fn install_ours(
        &mut self,
        host: &Host,
        orders: &Orders,
        transaction: &Transaction,
        options: &InstallOptions,
        note: &mut dyn FnMut(String),
    ) -> Result<(), RepoError> {
        let keys = signatures::host_keys(host)?;
        let decision = signatures::decide(self.place.stock.catalogue()?, &keys, transaction.changed());
        if let Some(text) = decision.note {
            note(text);
        }
        if self.manager == Manager::Rpm {
            return self.install_with_rpm(host, transaction, options, note);
        }
        for (action, specs) in actions(orders) {
            loop {
                if self.route == Route::Files {
                    self.upload_packages(host, transaction)?;
                }
                let ours = self.ours(decision.gpgcheck);
                let command = self.manager.ours(action, specs, &ours, false, options.timeout);
                let run = package_run::unlocked(host, self.manager, &command, options.lock_wait, note)?;
                if run.ok() {
                    break;
                }
                match run.verdict(self.manager) {
                    Verdict::Download(why) => self.fall_back(host, &why, note)?,
                    Verdict::Damaged(detail) => return Err(self.damaged(host, &detail)),
                    Verdict::Unsolvable(problems) => {
                        return Err(RepoError::Unsolvable {
                            host: host.name().into(),
                            wanted: specs.to_vec(),
                            problems,
                        });
                    }
                    _ => return Err(run.failed(host, &self.place.stock)),
                }
            }
        }
        Ok(())
    }

    fn install_own(
        &self,
        host: &Host,
        orders: &Orders,
        options: &InstallOptions,
        note: &mut dyn FnMut(String),
    ) -> Result<Vec<RpmId>, RepoError> {
        let command = self.manager.own(&orders.own, false, options.timeout);
        let run = package_run::unlocked(host, self.manager, &command, options.lock_wait, note)?;
        if run.ok() {
            return Ok(self.manager.transaction(&run.text).changed().cloned().collect());
        }
        match run.verdict(self.manager) {
            Verdict::Unsolvable(problems) => {
                Err(RepoError::Unsolvable { host: host.name().into(), wanted: orders.own.clone(), problems })
            }
            Verdict::Download(detail) => {
                Err(RepoError::Download { host: host.name().into(), route: Route::Own, detail: self.clean(&detail) })
            }
            _ => Err(run.failed(host, &self.place.stock)),
        }
    }

    fn damaged(&self, host: &Host, detail: &str) -> RepoError {
        let detail = self.clean(detail);
        let what = problem::damaged_package(&detail).unwrap_or("a package").to_owned();
        RepoError::Damaged { host: host.name().into(), what, detail }
    }

    /// Looks again: what was wanted must be there now.
    fn prove(&self, host: &Host, wanted: &[Wanted]) -> Result<(), RepoError> {
        let there = installed::query(host, wanted)?;
        for (wanted, there) in wanted.iter().zip(&there) {
            if !wanted.is_met_by(there) {
                let command = self.manager.program().to_owned();
                return Err(RepoError::NotThere { host: host.name().into(), package: wanted.name().into(), command });
            }
        }
        Ok(())
    }
}

/// The transactions of an order, in the order to run them.
fn actions(orders: &Orders) -> impl Iterator<Item = (Action, &[String])> {
    let all = [
        (Action::Downgrade, orders.downgrade.as_slice()),
        (Action::Install, orders.install.as_slice()),
        (Action::Reinstall, orders.reinstall.as_slice()),
    ];
    all.into_iter().filter(|(_, specs)| !specs.is_empty())
}

/// What there is to install packages with.
fn manager(host: &Host, facts: &Facts) -> Result<Manager, RepoError> {
    if let Some(manager) = facts.package_manager {
        return Ok(manager.into());
    }
    if host.run(&Command::new("rpm").arg("--version"))?.ok() {
        return Ok(Manager::Rpm);
    }
    Err(RepoError::NoPackageManager { host: host.name().to_owned() })
}
