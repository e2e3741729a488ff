//! Bundles of the lab's rpms, and the library at work inside a lab's network.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;

use camino::{Utf8Path, Utf8PathBuf};
use nix::sched::{CloneFlags, setns};
use payload::yum::{Packing, scan};
use payload::{Bundle, Inputs, MemberKind, NewMember, Recipe, RpmId, Source};
use sunshine_installer::deliver::{RouteChoice, Server};
use sunshine_installer::host::{Connect, Facts, Host, Target, TargetDefaults};
use sunshine_installer::packages::{HostRepo, InstallOptions, Installed, PackageError, Wanted};

use crate::lab::{self, Lab};

/// Any free port, on every address.
pub(crate) const ANY: &str = "0.0.0.0:0";

pub(crate) fn listen() -> SocketAddr {
    ANY.parse().unwrap()
}

/// A folder that goes with the test.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        Scratch(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.0.path()).unwrap().join(name)
    }

    /// A bundle of these rpms. `spoil` may change an rpm's bytes after its metadata was made.
    pub(crate) fn bundle_with(&self, rpms: &[Utf8PathBuf], spoil: &dyn Fn(&str, &mut Vec<u8>)) -> Bundle {
        self.pack(rpms, &[], spoil)
    }

    /// A bundle of these rpms and of keys that they are signed with.
    pub(crate) fn bundle_with_keys(&self, rpms: &[Utf8PathBuf], keys: &[Utf8PathBuf]) -> Bundle {
        self.pack(rpms, keys, &|_, _| ())
    }

    fn pack(&self, rpms: &[Utf8PathBuf], keys: &[Utf8PathBuf], spoil: &dyn Fn(&str, &mut Vec<u8>)) -> Bundle {
        let scanned = scan(rpms, "rpms/", Packing::Gzip, &mut |_| ()).unwrap();
        let mut members = Vec::new();
        let member = |name: String, kind, source, rpm| NewMember { name, kind, source, rpm, mtime: 1, sha256: None };
        for rpm in &scanned.rpms {
            let name = format!("rpms/{}", rpm.path.file_name().unwrap());
            let mut bytes = fs_err::read(&rpm.path).unwrap();
            spoil(rpm.path.file_name().unwrap(), &mut bytes);
            members.push(member(name, MemberKind::Rpm, Source::Bytes(bytes), Some(rpm.id.clone())));
        }
        for file in scanned.repodata {
            members.push(member(file.name, MemberKind::Repodata, Source::Bytes(file.bytes), None));
        }
        for key in keys {
            let name = format!("keys/{}", key.file_name().unwrap());
            members.push(member(name, MemberKind::Key, Source::File(key.clone()), None));
        }
        let recipe = Recipe {
            product_version: "0.1.0".into(),
            // Some program: what is served of the bundle is its packages.
            deployer: Source::File("/bin/true".into()),
            pinned_key: None,
            newest_input: 1,
            members,
        };
        let out = self.path("test.bin");
        payload::write(&recipe, &out, &mut |_| ()).unwrap();
        Bundle::open(&out).unwrap()
    }

    pub(crate) fn bundle(&self, rpms: &[Utf8PathBuf]) -> Bundle {
        self.bundle_with(rpms, &|_, _| ())
    }

    /// A bundle of rpms for platforms; without a name one is for all hosts.
    pub(crate) fn bundle_for(&self, rpms: Vec<(&str, Utf8PathBuf)>) -> Bundle {
        let out = self.path("platforms.bin");
        let mut inputs = Inputs::new("0.1.0", Source::File("/bin/true".into()), &out);
        rpms.into_iter().for_each(|(platform, path)| inputs.rpm(platform.parse().ok(), Source::File(path)));
        let assembled = payload::assemble(inputs, &mut |_| ()).unwrap();
        payload::write(&assembled.recipe, &out, &mut |_| ()).unwrap();
        Bundle::open(&out).unwrap()
    }

    /// Builds a small package: `extra` are more lines of its spec file, `size` the bytes of noise in it.
    pub(crate) fn rpm(&self, name: &str, version: &str, extra: &str, size: usize) -> Utf8PathBuf {
        self.rpm_with(name, version, extra, size, "")
    }

    /// As [`Scratch::rpm`], with its name in another file beside its own.
    pub(crate) fn rpm_with(&self, name: &str, version: &str, extra: &str, size: usize, other: &str) -> Utf8PathBuf {
        let write = match other.rsplit_once('/') {
            Some((folder, _)) => format!("mkdir -p %{{buildroot}}{folder}; echo {name} >%{{buildroot}}{other}"),
            None => String::new(),
        };
        let spec = format!(
            "Name: {name}\nVersion: {version}\nRelease: 1\nSummary: test\nLicense: none\nAutoReqProv: no\nBuildArch: noarch\n\
             {extra}\n%description\ntest\n%install\nmkdir -p %{{buildroot}}/opt/{name}\n\
             head -c {size} /dev/urandom >%{{buildroot}}/opt/{name}/data\n{write}\n%files\n/opt/{name}\n{other}\n"
        );
        let file = self.path(&format!("{name}-{version}.spec"));
        fs_err::write(&file, spec).unwrap();
        let mut rpmbuild = std::process::Command::new("rpmbuild");
        rpmbuild.args(["-bb", "--quiet", "--define", &format!("_topdir {}", self.path("top"))]);
        rpmbuild.args(["--define", &format!("_rpmdir {}", self.path("rpms")), "--define", "_binary_payload w1.gzdio"]);
        rpmbuild.args(["--define", "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm"]).arg(&file);
        lab::Output::of(&mut rpmbuild).expect_ok();
        self.path(&format!("rpms/{name}-{version}-1.noarch.rpm"))
    }

    /// Which package [`Scratch::rpm`] makes.
    pub(crate) fn id(&self, name: &str, version: &str) -> RpmId {
        let (name, version) = (name.to_owned(), version.to_owned());
        RpmId { name, epoch: 0, version, release: "1".into(), arch: "noarch".into() }
    }

    /// That package, as -f names it.
    pub(crate) fn file(&self, name: &str, version: &str) -> Wanted {
        let file_name = format!("{name}-{version}-1.noarch.rpm");
        Wanted::Rpm { file_name, id: self.id(name, version), local: None }
    }

    /// The library's settings for a lab's hosts.
    fn connect(&self) -> Connect {
        Connect { known_hosts: self.path("known_hosts"), ..Connect::default() }
    }

    pub(crate) fn session(&self, host: &lab::Host) -> Host {
        let target = Target::parse(&host.target(), &TargetDefaults::default()).unwrap();
        Host::connect(&target, &self.connect()).unwrap()
    }
}

/// The lab's rpm files of these groups.
pub(crate) fn lab_rpms(groups: &[&str]) -> Vec<Utf8PathBuf> {
    let files = Lab::rpms(groups).into_iter().filter(|file: &PathBuf| file.extension().is_some_and(|e| e == "rpm"));
    files.map(|file| Utf8PathBuf::from_path_buf(file).unwrap()).collect()
}

/// The lab's packages, images and programs of these groups.
pub(crate) fn lab_files(groups: &[&str]) -> Vec<Utf8PathBuf> {
    Lab::rpms(groups).into_iter().map(|file| Utf8PathBuf::from_path_buf(file).unwrap()).collect()
}

pub(crate) fn names(names: &[&str]) -> Vec<Wanted> {
    names.iter().map(|name| Wanted::Name((*name).to_owned())).collect()
}

/// Runs `work` on a thread that lives in the lab's network, as the installer on its control host would. Threads and
/// sockets made by it live there too.
pub(crate) fn inside<T: Send>(lab: &Lab, work: impl FnOnce() -> T + Send) -> T {
    let network = File::open(format!("/run/netns/lab-{}", lab.name())).unwrap();
    thread::scope(|scope| {
        let done = scope.spawn(|| {
            setns(network, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// One host's part of a run: session, facts, repository.
pub(crate) struct Part {
    pub(crate) host: Host,
    pub(crate) facts: Facts,
    pub(crate) notes: Vec<String>,
}

impl Part {
    pub(crate) fn new(scratch: &Scratch, host: &lab::Host) -> Part {
        let host = scratch.session(host);
        let facts = host.facts(&[]).unwrap();
        Part { host, facts, notes: Vec::new() }
    }

    pub(crate) fn open(
        &mut self,
        server: &Server,
        choice: RouteChoice,
        wanted: &[Wanted],
    ) -> Result<HostRepo, PackageError> {
        let notes = &mut self.notes;
        let environment = Some("parts-0123456789abcdef");
        let note = &mut |note| notes.push(note);
        HostRepo::open(&self.host, &self.facts, server.place(), choice, wanted, environment, note)
    }

    pub(crate) fn install(
        &mut self,
        repo: &mut HostRepo,
        wanted: &[Wanted],
        options: &InstallOptions,
    ) -> Result<Installed, PackageError> {
        let notes = &mut self.notes;
        repo.install(&self.host, wanted, options, &mut |note| notes.push(note))
    }

    /// Opens, installs and closes.
    pub(crate) fn run(
        &mut self,
        server: &Server,
        choice: RouteChoice,
        wanted: &[Wanted],
        options: &InstallOptions,
    ) -> Result<Installed, PackageError> {
        let mut repo = self.open(server, choice, wanted)?;
        let installed = self.install(&mut repo, wanted, options);
        let closed = repo.close(&self.host);
        let installed = installed?;
        closed?;
        Ok(installed)
    }
}

/// Everything on a host that a run may leave behind, apart from the packages themselves.
pub(crate) fn traces(host: &lab::Host) -> String {
    host.sh("find /run /var/cache /var/lib/dnf /var/lib/yum /etc /tmp /root -path '*sunshine-installer*' 2>/dev/null; \
         find / -xdev -newer /etc/machine-id -name '*.rpm' 2>/dev/null; \
         find /etc/yum.repos.d -newer /etc/machine-id -type f 2>/dev/null; true")
}
