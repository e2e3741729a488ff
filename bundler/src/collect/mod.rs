//! `collect`: a bundle in one command, where there is internet.
//!
//! 1. All that can be wrong in the request is found before anything is fetched.
//! 2. For each distribution, dnf resolves and downloads the packages against an empty root; or those of the lock are fetched.
//! 3. The images that are named, also by the kubeadm among those packages, are pulled.
//! 4. The lock is written, where one was asked for and is not there.
//! 5. `build` makes the bundle of it all.

mod args;
mod distro;
mod fetch;
mod images;
mod lock;
mod mirror;
mod packages;
mod problem;
mod request;
mod resolve;
mod rpms;
mod work;

use std::io::Write;

pub(crate) use args::CollectArgs;
pub(crate) use problem::Problem;

use crate::build::{self, Failure};
use crate::cli::ImageArg;
use lock::Lock;
use request::Plan;
use rpms::Collection;
use work::Work;

/// Collects what the arguments describe, and builds the bundle; its summary goes to `out`.
pub(crate) fn run(args: &CollectArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let plan = Plan::check(args)?;
    let work = Work::open(&plan.work)?;
    let collection = Collection { args, plan: &plan, work: &work };
    let mut lock = Lock::new(args, plan.rpm_architecture);
    lock.distributions = match &plan.locked {
        Some(locked) => collection.fetch(locked)?,
        None => collection.resolve()?,
    };
    let mut build = args.build.clone();
    build.rpms.push(collection.stage(&lock.distributions)?);
    let named = images::named(&build, &build::gather(&args.build)?)?;
    let locked = plan.locked.as_ref().map(|lock| lock.images.as_slice());
    if let Some(locked) = locked {
        images::must_be_locked(&named, locked).map_err(Failure::Collect)?;
    }
    lock.images = images::pull(args, &named, locked, plan.image_architecture, &work)?;
    if let (Some(path), None) = (&args.lock, &plan.locked) {
        lock.write(path)?;
    }
    if !named.is_empty() {
        build.images.push(ImageArg { name: None, path: work.images() });
    }
    // They are among those images.
    build.pull.clear();
    build.image_list = None;
    build.require_images = true;
    build::run(&build, out)?;
    build::tell(args.build.quiet, &format!("downloads are kept in {} for the next run", work.folder()));
    Ok(())
}
