//! The packages of all distributions: resolved by dnf, or fetched as the lock has them.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use indicatif::HumanBytes;

use super::args::CollectArgs;
use super::distro::Distro;
use super::fetch::{Source, without_login};
use super::lock::{Lock, LockedDistro, LockedPackage};
use super::mirror::Mirrors;
use super::packages;
use super::problem::Problem;
use super::request::Plan;
use super::resolve::{Chosen, Dnf, Event, Request};
use super::work::{PackageSet, Work, broken_disk, empty, link};
use crate::build::{self, Failure};

/// One run.
pub(super) struct Collection<'a> {
    pub(super) args: &'a CollectArgs,
    pub(super) plan: &'a Plan,
    pub(super) work: &'a Work,
}

impl Collection<'_> {
    fn tell(&self, line: &str) {
        build::tell(self.args.build.quiet, line);
    }

    fn folder(&self, distro: &Distro) -> Utf8PathBuf {
        self.work.of(distro).join("packages")
    }

    /// What dnf chooses now.
    pub(super) fn resolve(&self) -> Result<Vec<LockedDistro>, Failure> {
        let Some(dnf) = &self.plan.dnf else {
            return Ok(Vec::new());
        };
        let wanted = packages::wanted(&self.args.kubernetes, &self.args.packages);
        let one = |(distro, files): &(Distro, Vec<String>)| Ok(self.resolve_one(dnf, distro, files, &wanted)?);
        self.plan.repositories.iter().map(one).collect()
    }

    fn resolve_one(
        &self,
        dnf: &Dnf,
        distro: &Distro,
        files: &[String],
        wanted: &[packages::Wanted],
    ) -> Result<LockedDistro, Problem> {
        self.tell(&format!("{distro}: resolving packages"));
        let of_distro = self.work.of(distro);
        let mirrors = Mirrors::new(&self.args.mirrors);
        let repos = of_distro.join("repos");
        write_repositories(&repos, &mirrors, files).map_err(|e| broken_disk(&e))?;
        // No key of an earlier run is trusted.
        empty(&of_distro.join("dnf/installroot")).map_err(|e| broken_disk(&e))?;
        let platform = distro.platform();
        let architecture = self.plan.rpm_architecture;
        let request = Request {
            folder: of_distro.join("dnf"),
            repos,
            variables: BTreeMap::from([
                ("releasever", distro.releasever()),
                ("arch", architecture),
                ("basearch", architecture),
            ]),
            platform: platform.as_ref().map(payload::Platform::as_str),
            proxy: self.args.proxy.as_deref(),
            packages: wanted,
        };
        let bar = build::bar(self.args.build.quiet, 0);
        let mut tell = |event: &Event| match event {
            Event::Resolved { count, bytes } => {
                self.tell(&format!("{distro}: {count} packages, {}", HumanBytes(*bytes)));
                bar.set_length(*bytes);
            }
            Event::Bytes { done } => bar.set_position(*done),
            Event::Absent { name } => self.warn_absent(distro, name),
            Event::Unchecked { repo } => self.tell(&format!(
                "warning: {distro}: the repository {repo} has gpgcheck=0: signatures of its packages are not checked"
            )),
            Event::Done { .. } | Event::Failed { .. } => {}
        };
        let chosen = dnf.resolve(&request, &of_distro.join("dnf.log"), &mut tell);
        bar.finish_and_clear();
        let chosen = chosen.map_err(|problem| problem.of(distro))?;
        self.keep(distro, &chosen, &mirrors).map_err(|e| broken_disk(&e))
    }

    /// One that is given by `--rpms` is not absent.
    fn warn_absent(&self, distro: &Distro, name: &str) {
        if name.split(" or ").any(|name| self.plan.given.iter().any(|file| file.starts_with(&format!("{name}-")))) {
            return;
        }
        let why = packages::why(name).map(|why| format!(" ({why})")).unwrap_or_default();
        self.tell(&format!(
            "warning: {distro}: no repository has {name}{why}; give its rpm with --rpms FILE if the bundle needs it"
        ));
    }

    /// From dnf's cache into the folder of packages, as the lock will have them.
    fn keep(&self, distro: &Distro, chosen: &[Chosen], mirrors: &Mirrors) -> std::io::Result<LockedDistro> {
        let folder = self.folder(distro);
        fs_err::create_dir_all(&folder)?;
        let one = |package: &Chosen| {
            let file = package.path.file_name().unwrap_or_default().to_owned();
            let (sha256, size) = payload::hash_file(fs_err::File::open(&package.path)?.file())?;
            link(&package.path, &folder.join(&file))?;
            let url = mirrors.original(&without_login(&package.url));
            Ok(LockedPackage { nevra: package.nevra.clone(), file, size, sha256, url })
        };
        let packages = chosen.iter().map(one).collect::<std::io::Result<_>>()?;
        Ok(LockedDistro { name: distro.to_string(), packages })
    }

    /// What the lock has.
    pub(super) fn fetch(&self, lock: &Lock) -> Result<Vec<LockedDistro>, Failure> {
        let mirrors = Mirrors::new(&self.args.mirrors);
        let source = Source { mirrors: &mirrors, proxy: self.args.proxy.as_deref() };
        for (distro, locked) in self.args.distros.iter().zip(&lock.distributions) {
            let bytes = locked.packages.iter().map(|package| package.size).sum();
            self.tell(&format!("{distro}: {} packages of the lock, {}", locked.packages.len(), HumanBytes(bytes)));
            let bar = build::bar(self.args.build.quiet, bytes);
            let fetched = source.fetch(&locked.packages, &self.folder(distro), &mut |bytes| bar.inc(bytes));
            bar.finish_and_clear();
            fetched.map_err(|problems| Failure::Collect(problems.into_iter().map(|one| one.of(distro)).collect()))?;
        }
        Ok(lock.distributions.clone())
    }

    /// A folder as `build --rpms` takes it: of one distribution for all hosts, of several each for its own.
    pub(super) fn stage(&self, distributions: &[LockedDistro]) -> Result<Utf8PathBuf, Problem> {
        let alone = distributions.len() == 1;
        let set = |(distro, locked): (&Distro, &LockedDistro)| PackageSet {
            platform: distro.platform().filter(|_| !alone),
            files: locked.packages.iter().map(|package| self.folder(distro).join(&package.file)).collect(),
        };
        self.work.stage(&self.args.distros.iter().zip(distributions).map(set).collect::<Vec<_>>())
    }
}

fn write_repositories(folder: &Utf8Path, mirrors: &Mirrors, files: &[String]) -> std::io::Result<()> {
    empty(folder)?;
    let write =
        |(at, text): (usize, &String)| fs_err::write(folder.join(format!("{at}.repo")), mirrors.repository_file(text));
    files.iter().enumerate().try_for_each(write)
}
