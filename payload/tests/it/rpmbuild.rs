//! Packages made for the purpose by rpmbuild: everything in a header that metadata must carry.

use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};

use crate::support::Scratch;

/// Runs a program that must succeed; a missing one fails the test and names it.
pub(crate) fn run(program: &str, args: &[&str], env: &[(&str, &str)]) -> String {
    let output = Command::new(program).args(args).envs(env.iter().copied()).output();
    let output = output.unwrap_or_else(|e| panic!("cannot run {program} (its Debian package must be installed): {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {}\n{stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A spec file in the making.
pub(crate) struct Spec {
    name: String,
    tags: Vec<u8>,
    install: String,
    files: String,
    changelog: String,
    defines: Vec<String>,
}

impl Spec {
    pub(crate) fn new(name: &str) -> Self {
        let tags = format!(
            "Name: {name}\nVersion: 1.0\nRelease: 1\nLicense: MIT\nBuildArch: noarch\nURL: http://example.com/\n"
        );
        Self {
            name: name.into(),
            tags: tags.into_bytes(),
            install: String::new(),
            files: String::new(),
            changelog: String::new(),
            defines: Vec::new(),
        }
    }

    /// A line of the preamble, in bytes: it may be Latin-1.
    pub(crate) fn tag(mut self, line: impl AsRef<[u8]>) -> Self {
        self.tags.extend_from_slice(line.as_ref());
        self.tags.push(b'\n');
        self
    }

    /// Shell lines that make the files, and the lines that list them.
    pub(crate) fn files(mut self, install: &str, list: &str) -> Self {
        self.install.push_str(install);
        self.files.push_str(list);
        self
    }

    pub(crate) fn changelog(mut self, text: &str) -> Self {
        self.changelog.push_str(text);
        self
    }

    /// A macro for this build.
    pub(crate) fn define(mut self, text: &str) -> Self {
        self.defines.push(text.into());
        self
    }

    /// Builds the package; returns the rpm's path under `dir`.
    pub(crate) fn build(self, scratch: &Scratch, dir: &Utf8Path) -> Utf8PathBuf {
        fs_err::create_dir_all(dir).unwrap();
        let top = scratch.path(&format!("rpmbuild-{}", self.name));
        fs_err::create_dir_all(&top).unwrap();
        let mut text = self.tags;
        if !String::from_utf8_lossy(&text).contains("Summary:") {
            text.extend_from_slice(b"Summary: A package made for a test\n");
        }
        if !String::from_utf8_lossy(&text).contains("%description") {
            text.extend_from_slice(b"%description\nTwo lines,\nwith <xml> & \"quotes\".\n");
        }
        let (install, files, changelog) = (&self.install, &self.files, &self.changelog);
        text.extend_from_slice(
            format!("%install\nmkdir -p %{{buildroot}}\ncd %{{buildroot}}\n{install}\n%files\n{files}\n%changelog\n{changelog}\n")
                .as_bytes(),
        );
        let spec = top.join(format!("{}.spec", self.name));
        fs_err::write(&spec, text).unwrap();
        let (topdir, rpmdir) = (format!("_topdir {top}"), format!("_rpmdir {dir}"));
        let mut args = vec!["-bb", "--define", &topdir, "--define", &rpmdir];
        args.extend(["--define", "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm"]);
        args.extend(["--define", "_invalid_encoding_terminates_build 0", "--define", "__os_install_post %{nil}"]);
        args.extend(self.defines.iter().flat_map(|d| ["--define", d.as_str()]));
        args.push(spec.as_str());
        run("rpmbuild", &args, &[("SOURCE_DATE_EPOCH", "1700000000")]);
        let built = fs_err::read_dir(dir).unwrap().map(|e| Utf8PathBuf::from_path_buf(e.unwrap().path()).unwrap());
        let mut built = built.filter(|p| p.file_name().unwrap().starts_with(&format!("{}-", self.name)));
        built.next().unwrap()
    }
}

/// One package for each thing that metadata has to carry; built into `dir`.
pub(crate) fn all(scratch: &Scratch, dir: &Utf8Path) {
    Spec::new("plain")
        .files("mkdir -p usr/bin; echo x >usr/bin/plain; chmod 755 usr/bin/plain", "/usr/bin/plain")
        .build(scratch, dir);
    Spec::new("epoch")
        .tag("Epoch: 7\nProvides: other = 3:2.0-1\nObsoletes: ancient < 1:5\nConflicts: rival >= 2.0~rc1\nRequires: plain > 0.9")
        .build(scratch, dir);
    Spec::new("rich")
        .tag("Requires: (plain if epoch else weak)\nRequires: ((plain >= 1.0 with plain < 2) or rival)\nConflicts: (rival unless plain)")
        .build(scratch, dir);
    Spec::new("weak")
        .tag("Recommends: plain\nSuggests: epoch >= 7:1\nSupplements: (plain and rich)\nEnhances: other\nRequires(pre): /bin/sh\nRequires(post): shadow-utils\nRequires(preun): systemd")
        .build(scratch, dir);
    let many: String = (0..10_000).map(|i| format!("/srv/many/{}/file-{i}\n", i % 100)).collect();
    Spec::new("many")
        .files("for d in $(seq 0 99); do mkdir -p srv/many/$d; done; for i in $(seq 0 9999); do : >srv/many/$((i % 100))/file-$i; done", &many)
        .build(scratch, dir);
    let entry = |i| format!("* Mon Jan 02 2023 A <a@example.com> - 1.0-{i}\n- entry {i} <&>\n\n");
    Spec::new("log").changelog(&(0..1000).rev().map(entry).collect::<String>()).build(scratch, dir);
    Spec::new("latin")
        .tag(b"Summary: Gr\xfc\xdfe aus K\xf6ln\nVendor: Stra\xdfe\nPackager: J\xf6rg <j@example.com>\n%description\nDr\xfcber & dr\xfcnter\n".as_slice())
        .files("mkdir -p etc; : >\"etc/$(printf 'm\\374ller')\"", "/etc/*")
        .build(scratch, dir);
    Spec::new("utf8")
        .tag("Summary: Grüße aus 東京\nPackager: Jörg <j@example.com>")
        .files("mkdir -p etc; : >etc/müller", "/etc/müller")
        .build(scratch, dir);
    Spec::new("kinds")
        .files(
            "mkdir -p etc/kinds usr/lib usr/share/doc/k usr/sbin var; echo c >etc/kinds/conf; ln -s conf etc/kinds/link; ln -s /usr/bin usr/sbin/dangling; echo l >usr/lib/sendmail; echo d >usr/share/doc/k/README; mkfifo var/pipe",
            "%dir /etc/kinds\n%config(noreplace) /etc/kinds/conf\n/etc/kinds/link\n/usr/sbin/dangling\n/usr/lib/sendmail\n%doc /usr/share/doc/k/README\n%ghost /var/log/ghost.log\n%ghost %dir /run/ghost\n/var/pipe",
        )
        .files("; mkdir -p var/log run/ghost; : >var/log/ghost.log", "\n")
        .build(scratch, dir);
    newline(dir);
    Spec::new("gz")
        .define("_binary_payload w9.gzdio")
        .files("mkdir -p srv; echo gz >srv/gz", "/srv/gz")
        .build(scratch, dir);
    let signed = Spec::new("signed").files("mkdir -p srv; echo s >srv/signed", "/srv/signed").build(scratch, dir);
    sign(scratch, &signed);
}

/// A file name with a newline, which rpmbuild refuses to pack and rpm installs.
fn newline(dir: &Utf8Path) {
    let mut builder = rpm::PackageBuilder::new("newline", "1.0", "MIT", "noarch", "A newline in a file name");
    builder.using_config(rpm::BuildConfig::v4().compression(rpm::CompressionType::Gzip).source_date(1_700_000_000));
    for name in ["/srv/nl/a\nb", "/srv/nl/sp ace"] {
        builder.with_file_contents("x", rpm::FileOptions::new(name)).unwrap();
    }
    builder.build().unwrap().write_file(dir.join("newline-1.0-1.noarch.rpm")).unwrap();
}

/// Signs an rpm with a new key.
pub(crate) fn sign(scratch: &Scratch, rpm: &Utf8Path) {
    let home = scratch.path("gnupg");
    fs_err::create_dir_all(&home).unwrap();
    run("chmod", &["700", home.as_str()], &[]);
    let env = [("GNUPGHOME", home.as_str())];
    run("gpg", &["--batch", "--passphrase", "", "--quick-gen-key", "test@example.com", "rsa2048", "sign", "0"], &env);
    run(
        "rpmsign",
        &["--define", "_gpg_name test@example.com", "--define", "__gpg /usr/bin/gpg", "--addsign", rpm.as_str()],
        &env,
    );
}
