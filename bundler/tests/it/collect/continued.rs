//! A run that is killed, and the same line again.

use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use payload::Bundle;

use super::site::{Site, image_files};

/// The processes that a process started.
fn children(pid: u32) -> Vec<String> {
    let text = fs_err::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// A process that has ended may wait for its parent.
fn lives(pid: &str) -> bool {
    fs_err::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The packages that dnf has, with their sizes.
fn cached(work: &Utf8Path) -> Vec<(Utf8PathBuf, u64)> {
    let pattern = Utf8Path::new("el9/dnf/cachedir");
    let Ok(repos) = fs_err::read_dir(work.join(pattern)) else { return Vec::new() };
    let packages = repos.filter_map(|repo| fs_err::read_dir(repo.ok()?.path().join("packages")).ok()).flatten();
    let sized = |entry: std::io::Result<fs_err::DirEntry>| {
        let entry = entry.ok()?;
        Some((Utf8PathBuf::from_path_buf(entry.path()).ok()?, entry.metadata().ok()?.len()))
    };
    packages.filter_map(sized).collect()
}

#[test]
fn a_run_that_was_killed_is_continued_by_the_same_line() {
    let site = Site::new(&["el9"]);
    let out = site.scratch.path("x.bin");
    let images = image_files();
    let mut more = vec!["-o", out.as_str(), "--image"];
    more.extend(images.iter().map(String::as_str));
    let work = site.scratch.path("x.bin.work");
    let size = |name: &str| fs_err::metadata(site.scratch.path(&format!("web/el9/{name}"))).unwrap().len();

    site.web.stop_at(Some("/kubelet-"));
    let mut run = site.start(&more);
    let whole = || {
        let here = cached(&work).into_iter();
        here.filter(|(path, bytes)| path.file_name().is_some_and(|name| size(name) == *bytes)).collect::<Vec<_>>()
    };
    wait_until("half of the kubelet and some other packages", || {
        let half = cached(&work).iter().any(|(path, bytes)| path.as_str().contains("/kubelet-") && *bytes > 0);
        half && whole().len() > 3
    });
    let dnf = children(run.id());
    assert_eq!(dnf.len(), 1);
    run.kill().unwrap();
    run.wait().unwrap();
    wait_until("dnf ends with the program that started it", || !dnf.iter().any(|pid| lives(pid)));
    let whole: Vec<String> = whole().iter().map(|(path, _)| path.file_name().unwrap().to_owned()).collect();
    assert!(!out.exists());

    site.web.stop_at(None);
    site.web.asked();
    let (code, stdout, stderr) = site.collect(&more);
    assert_eq!(code, 0, "{stdout}{stderr}");
    Bundle::open(&out).unwrap().verify(&mut |_| ()).unwrap();
    let again = site.web.asked();
    assert!(again.iter().any(|url| url.contains("/kubelet-")), "{again:?}");
    for name in &whole {
        assert!(!again.iter().any(|url| url.contains(name.as_str())), "{name}: {again:?}");
    }
    // And with everything here, no package at all.
    let (code, stdout, stderr) = site.collect(&more);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let third = site.web.asked();
    assert!(!third.is_empty() && !third.iter().any(|url| url.contains(".rpm")), "{third:?}");
}

/// The rest of a file that a lock names is asked for, not the whole.
#[test]
fn half_a_package_of_a_lock_is_continued_and_a_proxy_is_used() {
    let site = Site::new(&["el9"]);
    let (lock, out) = (site.scratch.path("x.lock"), site.scratch.path("x.bin"));
    let images = image_files();
    let mut more = vec!["--lock", lock.as_str(), "--image"];
    more.extend(images.iter().map(String::as_str));
    let (code, stdout, stderr) = site.collect(&[&more[..], &["-o", out.as_str()]].concat());
    assert_eq!(code, 0, "{stdout}{stderr}");
    let fresh = site.scratch.path("fresh");
    let packages = fresh.join("el9/packages");
    fs_err::create_dir_all(&packages).unwrap();
    fs_err::write(fresh.join("collect.lock"), "").unwrap();
    let kubelet = "kubelet-1.36.3-1.el9.x86_64.rpm";
    let bytes = fs_err::read(site.scratch.path(&format!("web/el9/{kubelet}"))).unwrap();
    fs_err::write(packages.join(format!("{kubelet}.part")), &bytes[..1000]).unwrap();
    site.web.asked();

    let url = site.web.url();
    let second = site.scratch.path("second.bin");
    let rest = ["--work", fresh.as_str(), "--proxy", &url, "-o", second.as_str()];
    // No mirror: only a proxy gets at that host.
    let repo = site.repo("el9", "gpgcheck=0");
    let line =
        ["collect", "--deployer", crate::setup::DEPLOYER, "--kubernetes", "1.36.3", "--distro", "el9", "--repo", &repo];
    let (code, stdout, stderr) = crate::setup::bundler(&[&line[..], &more, &rest].concat());
    assert_eq!(code, 0, "{stdout}{stderr}");
    let asked = site.web.asked();
    assert!(asked.contains(&format!("http://repo.invalid/el9/{kubelet} 1000-")), "{asked:?}");
    assert!(fs_err::read(&out).unwrap() == fs_err::read(&second).unwrap());

    // dnf goes through it too, as far as it comes here.
    let third = site.scratch.path("third.bin");
    let rest = ["--package", "nosuch", "--proxy", &url, "-o", third.as_str()];
    let (code, stdout, stderr) = crate::setup::bundler(&[&line[..], &rest].concat());
    assert_eq!(code, 2, "{stdout}{stderr}");
    assert!(site.web.asked().contains(&"http://repo.invalid/el9/repodata/repomd.xml".to_owned()), "{stderr}");
}
