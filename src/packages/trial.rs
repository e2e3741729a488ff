//! What installing would change on a host, as its package manager works it out. Nothing is changed.

use crate::deliver::Route;
use crate::host::Host;

use super::error::PackageError;
use super::held::Held;
use super::hostrepo::{HeldTrial, HostRepo, actions};
use super::manager::{Action, Manager};
use super::package_run::{self, Run};
use super::problem::Verdict;
use super::signatures;
use super::transaction::Transaction;
use super::wanted::{InstallOptions, Orders, Wanted};

impl HostRepo {
    /// What installing would change. Changes nothing, and says why when it could not be done.
    pub fn trial(
        &mut self,
        host: &Host,
        wanted: &[Wanted],
        options: &InstallOptions,
    ) -> Result<Transaction, PackageError> {
        let orders = match self.orders(host, wanted, options) {
            Ok(orders) => orders,
            Err(
                error @ (PackageError::Newer { .. }
                | PackageError::Unsolvable { .. }
                | PackageError::OtherPlatform { .. }),
            ) => {
                let help = error.help().map(|help| format!(" ({help})")).unwrap_or_default();
                return Ok(Transaction { problems: vec![format!("{error}{help}")], ..Transaction::default() });
            }
            Err(error) => return Err(error),
        };
        let mut transaction = self.try_ours(host, &orders, options, &mut |_| ())?;
        if let Some(held) = &mut self.held {
            held.wanted = wanted.to_vec();
        }
        if !orders.own.is_empty() {
            transaction.merge(self.try_own(host, &orders, options)?);
        }
        transaction.already.clone_from(&orders.already);
        Ok(transaction)
    }

    /// What the orders for this repository would change; the members that they need are checked on our side.
    pub(super) fn try_ours(
        &mut self,
        host: &Host,
        orders: &Orders,
        options: &InstallOptions,
        note: &mut dyn FnMut(String),
    ) -> Result<Transaction, PackageError> {
        // What was tried together may be installed in parts, one operation after the other. rpm alone is told every package
        // by name, so there it must be the very same.
        if let Some((last, transaction)) = &self.last
            && (last == orders || self.manager != Manager::Rpm && last.cover(orders))
        {
            return Ok(transaction.clone());
        }
        let mut all = Transaction::default();
        if orders.none_of_ours() {
            return Ok(all);
        }
        self.need_route(host)?;
        if self.manager == Manager::Rpm {
            all = self.try_with_rpm(host, orders)?;
        } else {
            // Of several transactions the later ones depend on the earlier: none can be held.
            let alone = actions(orders).count() == 1 && !orders.install.is_empty();
            let options = InstallOptions { hold: options.hold && alone, ..options.clone() };
            for (action, specs) in actions(orders) {
                all.merge(self.try_action(host, action, specs, &options, note)?);
            }
        }
        let served: Vec<String> = all.changed().filter_map(|id| self.offer.served(id)).collect();
        self.offer.stock.check(served.iter().map(String::as_str))?;
        if all.problems.is_empty() && self.manager != Manager::Rpm {
            all.problems = self.rpm_test(host, &all)?;
        }
        if all.problems.is_empty() {
            self.last = Some((orders.clone(), all.clone()));
        }
        Ok(all)
    }

    fn try_action(
        &mut self,
        host: &Host,
        action: Action,
        specs: &[String],
        options: &InstallOptions,
        note: &mut dyn FnMut(String),
    ) -> Result<Transaction, PackageError> {
        loop {
            let run = self.run_trial(host, action, specs, options, note)?;
            match run.trial(self.manager) {
                Ok(transaction) => {
                    self.unread = false;
                    return Ok(transaction);
                }
                Err(Verdict::Unsolvable(problems)) => {
                    return Ok(Transaction { problems, ..Transaction::default() });
                }
                Err(Verdict::Download(why)) if self.unread && self.route != Route::Push => {
                    self.route_failed(host, &why)?
                }
                Err(Verdict::Damaged(detail)) if self.unread => return Err(self.damaged_metadata(host, &detail)),
                Err(Verdict::Download(why)) => self.fall_back(host, &why, note)?,
                Err(Verdict::Damaged(detail)) => return Err(self.damaged(host, &detail)),
                Err(_) => return Err(run.failed(host, &self.place.stock)),
            }
        }
    }

    /// A trial, held where it can be.
    fn run_trial(
        &mut self,
        host: &Host,
        action: Action,
        specs: &[String],
        options: &InstallOptions,
        note: &mut dyn FnMut(String),
    ) -> Result<Run, PackageError> {
        if options.hold
            && let Some(gpgcheck) = signatures::decide_for_any(host, self.offer.catalogue()?)?
            && let Some(dnf) = self.manager.asking(specs, self.ours(gpgcheck), options.timeout)
        {
            let folder = self.site.held_dir();
            let command = Held::command(dnf, &folder);
            let run = package_run::patiently(host, self.manager, &command, options.lock_wait, note)?;
            let held = Held::of(&run, &folder);
            self.held = held.map(|transaction| HeldTrial { transaction, wanted: Vec::new(), gpgcheck });
            return Ok(run);
        }
        let command = self.manager.ours(action, specs, &self.ours(false), true, options.timeout);
        package_run::unlocked(host, self.manager, &command, options.lock_wait, note)
    }

    pub(super) fn try_own(
        &self,
        host: &Host,
        orders: &Orders,
        options: &InstallOptions,
    ) -> Result<Transaction, PackageError> {
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
}
