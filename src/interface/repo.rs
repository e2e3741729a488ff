//! `repo serve`: the bundle as a yum repository and registry alone. Prints the .repo file to put on a host, then serves until it is
//! interrupted. A command and a place to write flow in, the .repo file flows out.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use payload::{Bundle, BundleError};

use crate::deliver::{DeliverError, Server};

use crate::flow::FlowError;

use super::rest::Tls;
use super::signals::Ending;

/// What to do with the repository.
#[derive(Clone, Debug, Subcommand)]
pub enum RepoCommand {
    /// Serve the bundle's packages to any yum, dnf or zypper, and its images to any client of a registry, until interrupted;
    /// print the .repo file and a name to pull by
    Serve(ServeArgs),
}

/// `repo serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Another bundle, or a folder that one was extracted to, instead of the running program's own.
    #[arg(long, value_name = "FILE|DIR")]
    pub bundle: Option<Utf8PathBuf>,
    /// Serve on this address, port, or both; all addresses and a free port without it.
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:0", value_parser = listen)]
    pub listen: SocketAddr,
    /// Speak TLS with this certificate chain (PEM), which the hosts must trust.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<Utf8PathBuf>,
    /// The certificate's key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<Utf8PathBuf>,
    /// Serve these packages of the control host too.
    #[arg(value_name = "RPM")]
    pub rpms: Vec<Utf8PathBuf>,
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum RepoCommandError {
    /// Neither a bundle nor packages.
    #[error("this program carries no bundle, and no packages are given: there is nothing to serve")]
    Empty,
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The server.
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    /// The certificate or its key.
    #[error(transparent)]
    Tls(FlowError),
    /// Standard output, or waiting for the interrupt.
    #[error("cannot {what}: {source}")]
    Io { what: &'static str, source: io::Error },
}

impl RepoCommandError {
    /// What the user can do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Empty => Some("name a bundle with --bundle, or rpm files".into()),
            Self::Bundle(error) => error.help(),
            Self::Deliver(error) => error.help(),
            Self::Tls(error) => error.help(),
            Self::Io { .. } => None,
        }
    }

    /// Whether the command line is wrong rather than the work (exit code 2).
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Empty | Self::Tls(_) | Self::Deliver(DeliverError::LocalRpm { .. }))
    }

    /// Whether the bundle is damaged.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Bundle(error) => error.is_damage(),
            Self::Deliver(error) => error.is_damage(),
            _ => false,
        }
    }
}

/// Runs a repository command. `repo serve` comes back when the process is told to end.
pub fn run(command: &RepoCommand, out: &mut dyn Write) -> Result<(), RepoCommandError> {
    let RepoCommand::Serve(args) = command;
    let bundle = match &args.bundle {
        Some(path) => Some(Bundle::open_for_work(path)?),
        None => Bundle::open_self()?,
    };
    if let Some(bundle) = &bundle {
        bundle.check_pinned_key()?;
    }
    if bundle.is_none() && args.rpms.is_empty() {
        return Err(RepoCommandError::Empty);
    }
    let tls = args.tls_cert.as_ref().zip(args.tls_key.as_ref());
    let tls = tls.map(|(cert, key)| Tls::read(cert, key)).transpose().map_err(RepoCommandError::Tls)?;
    let images = bundle.as_ref().map(Bundle::images).transpose()?.unwrap_or_default();
    let io = |what| move |source| RepoCommandError::Io { what, source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io("wait for the end"))?;
    let _inside = runtime.enter();
    // Listened for before anything is printed: whoever reads the file may end the program at once.
    let mut ending = Ending::listen().map_err(io("wait for the end"))?;
    let server = Server::start_over(tls.as_ref().map(Tls::config), bundle, &args.rpms, args.listen)?;
    let shown = shown_address(server.addr().ip());
    let text = server.repo_file(shown)?;
    let mut head =
        "# put this into /etc/yum.repos.d/sunshine-installer.repo; it holds until this program ends (Ctrl-C)\n"
            .to_owned();
    let (key, fingerprint) = server.key_of(shown)?;
    head.push_str(&how_to_compare(&key, &fingerprint, tls.is_some()));
    if let Some(image) = images.first().and_then(|image| image.names.first()) {
        head.push_str(&format!("# its container images: docker pull {}\n", server.image_name(shown, image)));
    }
    out.write_all(head.as_bytes()).and_then(|()| out.write_all(text.as_bytes())).map_err(io("print the .repo file"))?;
    out.flush().map_err(io("print the .repo file"))?;
    runtime.block_on(ending.wait());
    Ok(())
}

/// What tells this server's metadata from somebody else's: without TLS whoever sits on the wire can put a key of its own there.
fn how_to_compare(key: &str, fingerprint: &str, is_encrypted: bool) -> String {
    let how = if is_encrypted {
        " (over TLS: where the host trusts the certificate, nothing needs to be compared)"
    } else {
        ""
    };
    format!(
        "# its metadata is signed with this run's key, whose fingerprint is{how}\n#   {fingerprint}\n\
         # compare it on each host before it is trusted: yum and dnf show it when they ask for the key (not with -y), and so does\n\
         #   curl -fsS {key} | gpg --with-colons --with-fingerprint\n"
    )
}

/// Reads `ADDRESS:PORT`, `ADDRESS`, `:PORT` or `PORT`.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, 0));
    }
    let port = text.strip_prefix(':').unwrap_or(text).parse::<u16>();
    port.map(|port| SocketAddr::new(any, port)).map_err(|_| "an address, a port, or ADDRESS:PORT is wanted".to_owned())
}

/// The address that goes into the .repo file: the one listened on, else the control host's own on the way to others. No
/// packet is sent for that: connecting a UDP socket only asks the routing table.
fn shown_address(listening: IpAddr) -> IpAddr {
    if !listening.is_unspecified() {
        return listening;
    }
    let ask = |any: IpAddr, other: IpAddr| {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((other, 9))?;
        socket.local_addr()
    };
    let four = ask(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let six = || ask(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into());
    let asked = match listening {
        IpAddr::V4(_) => four,
        IpAddr::V6(_) => four.or_else(|_| six()),
    };
    asked.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_compared_by_other_means_than_the_wire() {
        let plain = how_to_compare("http://10.0.0.1:80/t/KEY", "AB12 CD34", false);
        assert!(
            plain.contains("#   AB12 CD34\n") && plain.contains("curl -fsS http://10.0.0.1:80/t/KEY | gpg"),
            "{plain}"
        );
        assert!(plain.lines().all(|line| line.starts_with('#')) && !plain.contains("TLS"), "{plain}");
        assert!(how_to_compare("https://x", "AB12", true).contains("TLS"));
    }

    #[test]
    fn what_to_listen_on_can_be_said_in_four_ways() {
        for (text, address) in [
            ("10.8.14.1:8080", "10.8.14.1:8080"),
            ("10.8.14.1", "10.8.14.1:0"),
            (":8080", "0.0.0.0:8080"),
            ("8080", "0.0.0.0:8080"),
            ("[::1]:80", "[::1]:80"),
            ("[::1]", "[::1]:0"),
            ("::1", "[::1]:0"),
        ] {
            assert_eq!(listen(text).unwrap().to_string(), address, "{text}");
        }
        for wrong in ["", "somewhere", "10.8.14.1:", "70000", "1.2.3.4:x"] {
            assert!(listen(wrong).is_err(), "{wrong}");
        }
    }
}
