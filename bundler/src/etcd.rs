//! etcd's package, made from its image where no input is such a package: distributions of today have none, and etcd runs outside of
//! kubeadm's cluster.
//!
//! The programs in the image are static; unit, user and configuration are those that packages of etcd have.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use payload::yum::RpmFile;
use payload::{BundleError, Inputs, Platform, Reference, Source};
use rpm::{BuildConfig, CompressionType, Dependency, FileOptions, PackageBuilder};

const NAME: &str = "etcd";
/// Where the programs lie in the image of Kubernetes' registry, and in etcd's own.
const PROGRAMS: [&str; 3] = ["usr/local/bin/etcd", "usr/local/bin/etcdctl", "usr/local/bin/etcdutl"];
/// The time that stands in the package: the same image makes the same bytes on any day.
const TIME: u32 = 1_700_000_000;

const UNIT: &str = "[Unit]
Description=etcd, a key-value store
Documentation=https://etcd.io/docs
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
User=etcd
WorkingDirectory=/var/lib/etcd
EnvironmentFile=-/etc/etcd/etcd.conf
ExecStart=/usr/bin/etcd
Restart=on-failure
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
";
const CONF: &str = "# Options of etcd as variables of its environment: ETCD_NAME, ETCD_DATA_DIR and so on.\n";
const BEFORE: &str = "getent group etcd >/dev/null || groupadd --system etcd
getent passwd etcd >/dev/null || useradd --system --gid etcd --home-dir /var/lib/etcd --shell /sbin/nologin --comment 'etcd daemon' etcd
";
const AFTER: &str = "systemctl daemon-reload >/dev/null 2>&1 || :\n";
const BEFORE_ERASE: &str = "[ \"$1\" != 0 ] || systemctl --no-reload disable --now etcd.service >/dev/null 2>&1 || :\n";

/// Whether one of these files is a package of etcd.
pub(crate) fn is_among(rpms: &[(Option<Platform>, Utf8PathBuf)]) -> bool {
    let named_so = |path: &&Utf8PathBuf| path.file_name().is_some_and(|name| name.starts_with("etcd"));
    let mut files = rpms.iter().map(|(_, path)| path).filter(named_so);
    files.any(|path| RpmFile::read(path, "").is_ok_and(|rpm| rpm.id.name == NAME))
}

/// Where no package is etcd's and an image is, puts a package into the inputs instead of the image; what was done, for the report.
pub(crate) fn make(
    inputs: &mut Inputs,
    rpms: &[(Option<Platform>, Utf8PathBuf)],
) -> Result<Option<String>, Vec<BundleError>> {
    if is_among(rpms) {
        return Ok(None);
    }
    let images = inputs.image_names()?;
    let Some((version, image)) = images.iter().filter_map(|name| Some((version(name)?, name))).max() else {
        return Ok(None);
    };
    let files = inputs.take_files(image, &PROGRAMS)?;
    let made = package(inputs, &text(version), &files).map_err(|what| {
        vec![BundleError::Unfit {
            path: image.to_string().into(),
            what: format!("no package of etcd can be made of it: {what}"),
        }]
    })?;
    let name = made.file_name().unwrap_or_default().to_owned();
    inputs.rpm(None, Source::File(made));
    Ok(Some(format!("{name} was made from the image {image}: no package of etcd was given")))
}

/// The version of etcd that an image of it names: `registry.k8s.io/etcd:3.6.8-0`, `quay.io/coreos/etcd:v3.6.8`.
fn version(image: &Reference) -> Option<[u32; 3]> {
    let tag = Some(image).filter(|image| image.repository().rsplit('/').next() == Some(NAME))?.tag();
    let mut numbers = tag.trim_start_matches('v').split('-').next()?.split('.').map(str::parse);
    let version = [numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?];
    numbers.next().is_none().then_some(version)
}

fn text(version: [u32; 3]) -> String {
    version.map(|number| number.to_string()).join(".")
}

fn package(inputs: &Inputs, version: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<Utf8PathBuf, String> {
    if let Some(absent) = PROGRAMS[..2].iter().find(|path| !files.contains_key(**path)) {
        return Err(format!("it has no {absent}"));
    }
    let arch = match inputs.architecture().map_err(|e| e.to_string())? {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    };
    let folder = inputs.scratch().map_err(|e| e.to_string())?.join("etcd");
    fs_err::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let path = folder.join(format!("{NAME}-{version}-1.{arch}.rpm"));
    write(&path, version, arch, files).map_err(|e| e.to_string())?;
    Ok(path)
}

fn write(path: &Utf8Path, version: &str, arch: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<(), rpm::Error> {
    let mut package = PackageBuilder::new(NAME, version, "Apache-2.0", arch, "A distributed key-value store");
    // The oldest hosts know neither zstd in packages nor the later format.
    package.using_config(BuildConfig::v4().compression(CompressionType::Gzip).source_date(TIME)).release("1");
    package.description("etcd, etcdctl and etcdutl as their project publishes them in its container image.");
    package
        .url("https://etcd.io")
        .requires(Dependency::any("systemd"))
        .requires(Dependency::script_pre("shadow-utils"));
    package.pre_install_script(BEFORE).post_install_script(AFTER).pre_uninstall_script(BEFORE_ERASE);
    for (from, content) in files {
        let to = from.replacen("usr/local/bin", "/usr/bin", 1);
        package.with_file_contents(content.as_slice(), FileOptions::new(to).permissions(0o755))?;
    }
    package.with_file_contents(UNIT, FileOptions::new("/usr/lib/systemd/system/etcd.service"))?;
    package.with_file_contents(CONF, FileOptions::new("/etc/etcd/etcd.conf").config().noreplace())?;
    package.with_dir_entry(FileOptions::dir("/etc/etcd"))?;
    package.with_dir_entry(FileOptions::dir("/var/lib/etcd").permissions(0o755).user(NAME).group(NAME))?;
    package.build()?.write_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_etcd_are_known_by_their_names() {
        let of = |name: &str| version(&name.parse().unwrap());
        assert_eq!(of("registry.k8s.io/etcd:3.6.8-0"), Some([3, 6, 8]));
        assert_eq!(of("quay.io/coreos/etcd:v3.6.10"), Some([3, 6, 10]));
        assert_eq!(of("registry.k8s.io/etcd:latest"), None);
        assert_eq!(of("example.org/etcd-backup:3.6.8"), None);
    }
}
