//! Where packages and images are collected from: the lab's, as a repository and in a registry.

use std::net::TcpListener;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use camino::{Utf8Path, Utf8PathBuf};

use super::web::Web;
use crate::setup::{DEPLOYER, Scratch, bundler, lab_files, lab_rpms};

/// What the lab's `kubeadm-1.36` has.
pub(crate) const KUBERNETES: &str = "1.36.3";
/// What its packages require of the system below them.
const SYSTEM: [&str; 7] = ["/bin/sh", "systemd", "shadow-utils", "iproute", "iptables", "util-linux", "grep"];

/// A repository that a web server has, and a folder for the rest of the test.
pub(crate) struct Site {
    pub(crate) scratch: Scratch,
    pub(crate) web: Web,
}

/// The repository's folder of a distribution.
pub(crate) fn rpm_folder(scratch: &Scratch, distro: &str) -> Utf8PathBuf {
    scratch.path(&format!("web/{distro}"))
}

impl Site {
    /// With a repository for each distribution.
    pub(crate) fn new(distros: &[&str]) -> Self {
        let scratch = Scratch::new();
        for distro in distros {
            let folder = rpm_folder(&scratch, distro);
            fs_err::create_dir_all(&folder).unwrap();
            for rpm in lab_rpms(&["kubeadm-1.36", "containerd-2", "etcd-3.6", "extras"]) {
                fs_err::copy(&rpm, folder.join(Utf8Path::new(&rpm).file_name().unwrap())).unwrap();
            }
            package(&folder, "base-system", "1", &SYSTEM);
            index(&folder);
        }
        let web = Web::serve(&scratch.path("web"));
        Self { scratch, web }
    }

    /// A file that names a distribution's repository; its host is one that cannot be had.
    pub(crate) fn repo(&self, distro: &str, more: &str) -> String {
        let url = format!("http://repo.invalid/{distro}");
        let text = format!("[{distro}-all]\nname=all\nbaseurl={url}/\nenabled=1\nexclude=kube*\n{more}\n");
        self.scratch.file(&format!("{distro}.repo"), text.as_bytes()).into_string()
    }

    /// `--mirror` for the repositories' host.
    pub(crate) fn mirror(&self) -> String {
        format!("http://repo.invalid={}", self.web.url())
    }

    /// Runs `collect` for el9 with its images from files; returns exit code, standard output and standard error.
    pub(crate) fn collect(&self, more: &[&str]) -> (i32, String, String) {
        bundler(&self.line(more).iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The same as a process that goes on.
    pub(crate) fn start(&self, more: &[&str]) -> Child {
        let mut command = Command::new(cargo_bin!("sunshine-bundler"));
        command.args(self.line(more)).stderr(std::process::Stdio::piped()).spawn().unwrap()
    }

    fn line(&self, more: &[&str]) -> Vec<String> {
        let mirror = self.mirror();
        let mut line: Vec<String> = ["collect", "--deployer", DEPLOYER, "--mirror", &mirror].map(str::to_owned).into();
        let mut add = |option: &str, value: &dyn Fn() -> String| {
            if !more.contains(&option) {
                line.extend([option.to_owned(), value()]);
            }
        };
        add("--kubernetes", &|| KUBERNETES.to_owned());
        add("--distro", &|| "el9".to_owned());
        add("--repo", &|| self.repo("el9", "gpgcheck=0"));
        line.extend(more.iter().map(|word| (*word).to_owned()));
        line
    }
}

/// The images that the lab's kubeadm lists, and flannel's, as files: `--image FILE…`.
pub(crate) fn image_files() -> Vec<String> {
    let files = lab_files(&["kubeadm-1.36", "flannel"]).into_iter();
    files.filter(|file| file.ends_with(".tar") && !file.contains("/etcd-")).collect()
}

/// Makes a package without files.
pub(crate) fn package(folder: &Utf8Path, name: &str, version: &str, provides: &[&str]) -> Utf8PathBuf {
    let mut builder = rpm::PackageBuilder::new(name, version, "MIT", "noarch", "of a test");
    builder.using_config(rpm::BuildConfig::v4().compression(rpm::CompressionType::Gzip).source_date(1_700_000_000));
    for capability in provides {
        builder.provides(rpm::Dependency::any(*capability));
    }
    let path = folder.join(format!("{name}-{version}-1.noarch.rpm"));
    builder.build().unwrap().write_file(&path).unwrap();
    path
}

/// Writes the repository's metadata.
pub(crate) fn index(folder: &Utf8Path) {
    let (code, _, stderr) = bundler(&["metadata", folder.as_str()]);
    assert_eq!(code, 0, "{stderr}");
}

/// The lab's registry, with images; it ends with the test.
pub(crate) struct Registry {
    child: Child,
    pub(crate) host: String,
}

impl Registry {
    pub(crate) fn start(scratch: &Scratch) -> Self {
        let rpm = lab_rpms(&["extras"]).into_iter().find(|rpm| rpm.contains("/docker-registry-")).unwrap();
        let package = rpm::Package::open(&rpm).unwrap();
        let mut files = package.files().unwrap().filter_map(Result::ok);
        let file = files.find(|file| file.metadata.path().ends_with("bin/docker-registry")).unwrap();
        let program = scratch.file("docker-registry", file.content().unwrap());
        use std::os::unix::fs::PermissionsExt;
        fs_err::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{free}");
        let storage = scratch.path("registry");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {storage}}}}}\nhttp: {{addr: '{host}'}}\n"
        );
        let config = scratch.file("registry.yml", config.as_bytes());
        let child = Command::new(&program)
            .args(["serve", config.as_str()])
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(&host).is_err() {
            assert!(Instant::now() < until, "the registry does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, host }
    }

    /// Pushes an archive's image.
    pub(crate) fn push(&self, kind: &str, file: &str, name: &str) {
        let to = format!("docker://{}/{name}", self.host);
        let from = format!("{kind}:{file}");
        let output = Command::new("skopeo")
            .args(["copy", "--insecure-policy", "--dest-tls-verify=false", &from, &to])
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The images of the lab's kubeadm, below `k8s/`, and of its flannel, below `flannel/`, by the names that `collect` looks for.
    pub(crate) fn push_kubernetes(&self) {
        for file in image_files() {
            let stem = Utf8Path::new(&file).file_stem().unwrap();
            let place = match stem.rsplit_once('-').unwrap() {
                ("flannel-cni-plugin", _) => "flannel/flannel-cni-plugin:v1.9.1-flannel3".to_owned(),
                ("flannel", tag) => format!("flannel/flannel:{tag}"),
                ("coredns", tag) => format!("k8s/coredns/coredns:{tag}"),
                (name, tag) => format!("k8s/{name}:{tag}"),
            };
            self.push("oci-archive", &file, &place);
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
