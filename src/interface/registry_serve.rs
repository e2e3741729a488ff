//! `registry serve`: an archive of images as a read-only registry. Options flow in; it returns on SIGINT, SIGTERM or SIGHUP.

use std::net::SocketAddr;

use camino::Utf8PathBuf;
use clap::Args;

use crate::deliver::{ArchiveServer, DeliverError};
use crate::flow::FlowError;

use super::cli::Global;
use super::exit::Exit;
use super::rest::Tls;
use super::signals::Ending;
use super::terminal::Terminal;

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The images: an OCI image layout as an uncompressed tar, such as `ctr images export` writes
    #[arg(long, value_name = "FILE", required = true)]
    images: Utf8PathBuf,
    /// Listen on this address and port
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:5001")]
    listen: SocketAddr,
    /// Speak TLS with this certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<Utf8PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<Utf8PathBuf>,
}

/// Serves until SIGINT, SIGTERM or SIGHUP.
pub(super) fn run(args: &ServeArgs, global: &Global) -> Result<Exit, FlowError> {
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Some(Tls::read(cert, key)?.config()),
        _ if args.listen.ip().is_loopback() => None,
        _ => {
            return Err(FlowError::request_with_help(
                format!(
                    "--listen {}: others reach this address, and without TLS they cannot know the server",
                    args.listen
                ),
                "give --tls-cert and --tls-key, or listen on 127.0.0.1",
            ));
        }
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let wait = |e: std::io::Error| FlowError::Failed { error: format!("cannot wait for signals: {e}"), help: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(wait)?;
    let _inside = runtime.enter();
    // Listened for before anything is said: whoever reads it may end the program at once.
    let mut ending = Ending::listen().map_err(wait)?;
    let server = ArchiveServer::start(&args.images, args.listen, tls).map_err(|e| failed(&e))?;
    let terminal = Terminal::new(global.manner());
    terminal.tell(&format!("serving {} image(s) on {scheme}://{}", server.images(), server.address()));
    runtime.block_on(ending.wait());
    Ok(Exit::Done)
}

fn failed(error: &DeliverError) -> FlowError {
    FlowError::Failed { help: error.help(), error: error.to_string() }
}
