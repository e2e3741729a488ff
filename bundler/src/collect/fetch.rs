//! Packages that a lock names: fetched from where it says, each compared with its sum.

use std::time::Duration;

use camino::Utf8Path;
use reqwest::header::RANGE;
use reqwest::{Client, Proxy, StatusCode};

use super::lock::{ANEW, LockedPackage};
use super::mirror::Mirrors;
use super::problem::Problem;
use crate::download::Download;

/// How long a server may say nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where packages are fetched from.
pub(super) struct Source<'a> {
    pub(super) mirrors: &'a Mirrors,
    pub(super) proxy: Option<&'a str>,
}

impl Source<'_> {
    /// Fetches those packages that are not in the folder. `progress` hears of bytes that are there. All that differ are named.
    pub(super) fn fetch(
        &self,
        packages: &[LockedPackage],
        folder: &Utf8Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Vec<Problem>> {
        let machine = |why: String| vec![Problem::machine(why, REACH)];
        fs_err::create_dir_all(folder).map_err(|e| machine(e.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| machine(e.to_string()))?;
        let client = self.client().map_err(|e| machine(causes(&e)))?;
        let mut problems = Vec::new();
        for package in packages {
            match runtime.block_on(self.one(&client, package, folder)) {
                Ok(()) => progress(package.size),
                Err(problem) => {
                    // A server that does not answer would not answer for the next package either.
                    let last = problem.is_machine();
                    problems.push(problem);
                    if last {
                        break;
                    }
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn client(&self) -> reqwest::Result<Client> {
        let mut client = Client::builder()
            .user_agent(concat!("sunshine-bundler/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(PATIENCE)
            .read_timeout(PATIENCE);
        if let Some(url) = self.proxy {
            client = client.proxy(Proxy::all(url)?.no_proxy(reqwest::NoProxy::from_env()));
        }
        client.build()
    }

    async fn one(&self, client: &Client, package: &LockedPackage, folder: &Utf8Path) -> Result<(), Problem> {
        let url = self.mirrors.url(&package.url);
        let broken =
            |e: std::io::Error| Problem::machine(format!("{}: {e}", package.file), "see to the work folder's disk");
        let file = Download::new(folder.join(&package.file), folder, &package.sha256.to_string());
        if file.is_done().map_err(broken)? {
            return Ok(());
        }
        let there = file.there();
        if there > 0 && get(client, &url, &file, there).await.is_ok() && file.finish().map_err(broken)?.is_ok() {
            return Ok(());
        }
        get(client, &url, &file, 0).await.map_err(|why| unreachable(package, &url, &why))?;
        file.finish().map_err(broken)?.map_err(|sum| differs(package, &url, &sum))
    }
}

/// Writes the rest of a file from the offset on.
async fn get(client: &Client, url: &str, file: &Download, offset: u64) -> Result<(), String> {
    if let Some(path) = url.strip_prefix("file://") {
        return copy(Utf8Path::new(path), file).map_err(|e| e.to_string());
    }
    let mut request = client.get(url);
    if offset > 0 {
        request = request.header(RANGE, format!("bytes={offset}-"));
    }
    let mut response = request.send().await.and_then(reqwest::Response::error_for_status).map_err(|e| causes(&e))?;
    let offset = if response.status() == StatusCode::PARTIAL_CONTENT { offset } else { 0 };
    let mut part = file.open(offset).map_err(|e| e.to_string())?;
    while let Some(bytes) = response.chunk().await.map_err(|e| causes(&e))? {
        part.write(&bytes).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn copy(from: &Utf8Path, file: &Download) -> std::io::Result<()> {
    let bytes = fs_err::read(from)?;
    file.open(0)?.write(&bytes)
}

const REACH: &str =
    "see whether the server can be reached from here (--proxy URL, --mirror FROM=TO), and run the same line again";

/// Repositories keep old packages for a while only.
fn unreachable(package: &LockedPackage, url: &str, why: &str) -> Problem {
    let text = format!("{} cannot be fetched from {}: {why}", package.nevra, without_login(url));
    if why.contains("404") || why.contains("410") {
        let help = format!(
            "the repository may have dropped it: name a mirror that keeps old packages (--mirror FROM=TO), or {ANEW}"
        );
        return Problem::machine(text, help);
    }
    Problem::machine(text, REACH)
}

fn differs(package: &LockedPackage, url: &str, sum: &str) -> Problem {
    Problem::input(
        format!("{} differs: {} has sha256 {sum}, the lock {}", package.nevra, without_login(url), package.sha256),
        format!("find out who changed it; if that is right, {ANEW}"),
    )
}

/// The URL without name and password.
pub(super) fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{scheme}://{}{path}", host.rsplit_once('@').map_or(host, |(_, host)| host))
}

/// An error with what caused it; URLs are named by who reports it.
fn causes(error: &reqwest::Error) -> String {
    let status = error.status().map(|status| status.to_string());
    let mut text = status.unwrap_or_else(|| "the request failed".to_owned());
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_login() {
        for (url, shown) in [
            ("https://user:pass@host:1/a@b", "https://host:1/a@b"),
            ("https://host/a", "https://host/a"),
            ("file:///a@b", "file:///a@b"),
        ] {
            assert_eq!(without_login(url), shown);
        }
    }
}
