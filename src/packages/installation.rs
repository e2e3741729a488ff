//! Packages installed on a host, proved, and by the next way when one breaks in the middle.

use payload::RpmId;

use crate::deliver::{DeliverError, Route};
use crate::host::Host;

use super::error::PackageError;
use super::hostrepo::{HostRepo, Installed, actions};
use super::manager::Manager;
use super::package_run::{self, Run};
use super::problem::{self, Verdict};
use super::transaction::Transaction;
use super::wanted::{InstallOptions, Orders, Wanted};
use super::{installed, signatures};

impl HostRepo {
    /// Installs what is wanted. What is there already is left alone; when all is, no transaction runs.
    ///
    /// # Errors
    /// Each names the host; see [`PackageError`].
    pub fn install(
        &mut self,
        host: &Host,
        wanted: &[Wanted],
        options: &InstallOptions,
        note: &mut dyn FnMut(String),
    ) -> Result<Installed, PackageError> {
        let orders = match (&self.held, &self.last) {
            // dnf waits with the answer to this very question.
            (Some(held), Some((last, _))) if held.wanted == wanted => last.clone(),
            _ => self.orders(host, wanted, options)?,
        };
        let mut changed = Vec::new();
        if !orders.none_of_ours() {
            let transaction = self.try_ours(host, &orders, options, note)?;
            self.refuse_problems(host, &orders.install, &transaction)?;
            changed.extend(self.install_ours(host, &orders, &transaction, options, note)?);
        }
        if !orders.own.is_empty() {
            changed.extend(self.install_own(host, &orders, options, note)?);
        }
        if !changed.is_empty() || !orders.none_of_ours() || !orders.own.is_empty() {
            self.prove(host, wanted)?;
        }
        Ok(Installed { changed, route: self.route })
    }

    /// Has the transaction done that is held, when that is what is ordered; else ends the wait.
    fn run_held(
        &mut self,
        host: &Host,
        orders: &Orders,
        tried: &Transaction,
        gpgcheck: bool,
        options: &InstallOptions,
        note: &mut dyn FnMut(String),
    ) -> Result<Option<Run>, PackageError> {
        let keys = if gpgcheck { self.rpm_key_addresses() } else { Vec::new() };
        match (self.held.take(), &self.last) {
            (Some(held), Some((last, _))) if last == orders && held.gpgcheck == gpgcheck => {
                held.transaction.go(host, &keys, tried, options, note)
            }
            (Some(held), _) => held.transaction.give_up(host).map(|()| None),
            (None, _) => Ok(None),
        }
    }

    fn refuse_problems(&self, host: &Host, wanted: &[String], found: &Transaction) -> Result<(), PackageError> {
        if found.problems.is_empty() {
            return Ok(());
        }
        let (wanted, problems) = (wanted.to_vec(), found.problems.clone());
        Err(PackageError::Unsolvable { host: host.name().clone(), wanted, problems })
    }

    /// Runs the transactions, each again by the next way should the way break; the packages that came. `tried` is what a
    /// trial said of them, maybe together with others.
    fn install_ours(
        &mut self,
        host: &Host,
        orders: &Orders,
        tried: &Transaction,
        options: &InstallOptions,
        note: &mut dyn FnMut(String),
    ) -> Result<Vec<RpmId>, PackageError> {
        let decision = signatures::decide_for(host, self.offer.catalogue()?, tried.changed())?;
        if let Some(text) = decision.note {
            note(text);
        }
        if self.manager == Manager::Rpm {
            self.install_with_rpm(host, tried, options, note)?;
            return Ok(tried.changed().cloned().collect());
        }
        let mut changed = Vec::new();
        for (action, specs) in actions(orders) {
            loop {
                if self.route == Route::Push {
                    self.upload_packages(host, tried)?;
                }
                let run = match self.run_held(host, orders, tried, decision.gpgcheck, options, note)? {
                    Some(run) => run,
                    None => {
                        let ours = self.ours(decision.gpgcheck);
                        let command = self.manager.ours(action, specs, &ours, false, options.timeout);
                        let command = options.guarded(command, tried);
                        package_run::unlocked(host, self.manager, &command, options.lock_wait, note)?
                    }
                };
                if run.ok() {
                    changed.extend(self.manager.transaction(&run.text).changed().cloned());
                    break;
                }
                match run.verdict(self.manager) {
                    Verdict::Download(why) => self.fall_back(host, &why, note)?,
                    Verdict::Damaged(detail) => return Err(self.damaged(host, &detail)),
                    Verdict::Unsolvable(problems) => {
                        return Err(PackageError::Unsolvable {
                            host: host.name().clone(),
                            wanted: specs.to_vec(),
                            problems,
                        });
                    }
                    _ => return Err(run.failed(host, &self.place.stock)),
                }
            }
        }
        Ok(changed)
    }

    fn install_own(
        &self,
        host: &Host,
        orders: &Orders,
        options: &InstallOptions,
        note: &mut dyn FnMut(String),
    ) -> Result<Vec<RpmId>, PackageError> {
        let tried = self.try_own(host, orders, options)?;
        self.refuse_problems(host, &orders.own, &tried)?;
        let command = options.guarded(self.manager.own(&orders.own, false, options.timeout), &tried);
        let run = package_run::unlocked(host, self.manager, &command, options.lock_wait, note)?;
        if run.ok() {
            return Ok(self.manager.transaction(&run.text).changed().cloned().collect());
        }
        match run.verdict(self.manager) {
            Verdict::Unsolvable(problems) => {
                Err(PackageError::Unsolvable { host: host.name().clone(), wanted: orders.own.clone(), problems })
            }
            Verdict::Download(detail) => Err(PackageError::Download {
                host: host.name().clone(),
                route: Route::Own,
                detail: self.clean(&detail),
            }),
            _ => Err(run.failed(host, &self.place.stock)),
        }
    }

    pub(super) fn damaged(&self, host: &Host, detail: &str) -> PackageError {
        let detail = self.clean(detail);
        let what = problem::damaged_package(&detail).unwrap_or("a package").to_owned();
        DeliverError::Damaged { host: host.name().clone(), what, detail }.into()
    }

    /// Looks again: what was wanted must be there now.
    fn prove(&self, host: &Host, wanted: &[Wanted]) -> Result<(), PackageError> {
        let there = installed::query(host, wanted)?;
        for (wanted, there) in wanted.iter().zip(&there) {
            if !wanted.is_met_by(there) {
                let command = self.manager.program().to_owned();
                return Err(PackageError::NotThere {
                    host: host.name().clone(),
                    package: wanted.name().into(),
                    command,
                });
            }
        }
        Ok(())
    }
}
