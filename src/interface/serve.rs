//! `serve`: the REST listener. Options flow in; it comes back when it is told to end and every task is at a safe point.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use camino::Utf8PathBuf;
use clap::Args;

use crate::flow::{FlowError, state_dir};
use crate::store::vault::Vault;

use super::cli::{Global, Source, open_log};
use super::exit::Exit;
use super::rest::{Auth, Memory, Recent, RestApi, Runner, Tls, serve};
use super::signals::Ending;
use super::terminal::{Terminal, Voice};

/// The port that the contract's users call.
const PORT: u16 = 8383;

/// Options of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Listen on this address, port, or both
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8383", value_parser = listen)]
    pub(crate) listen: SocketAddr,
    /// Answer only to this token, the file's first line (mode 0600); wanted on any address but the control host's own,
    /// where without it only processes of this user and of root are answered
    #[arg(long, value_name = "FILE", conflicts_with = "no_auth")]
    pub(crate) token_file: Option<Utf8PathBuf>,
    /// Answer to everybody who reaches the address; nothing that lies on the control host is used for them (kept passwords,
    /// keys, package files, the AWS account), and no environment is deleted
    #[arg(long)]
    pub(crate) no_auth: bool,
    /// Answer also when called by this name, not by an address or as localhost; without a token only
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = host_name)]
    pub(crate) allow_host: Vec<String>,
    /// Speak TLS with this certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<Utf8PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<Utf8PathBuf>,
    /// Have systemd run it with the other options given here, now and after a restart
    #[arg(long)]
    pub(crate) install: bool,
    #[command(flatten)]
    pub(crate) source: Source,
    /// The options that the line gives, for `--install`.
    #[arg(skip)]
    pub(crate) given: Vec<String>,
}

/// Runs the listener.
pub(crate) fn run(args: &ServeArgs, global: &Global) -> Result<Exit, FlowError> {
    let auth = auth(args)?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Some(Tls::read(cert, key)?),
        _ => None,
    };
    if args.no_auth && global.keep_credentials.is_some() {
        return Err(FlowError::request_with_help(
            "--keep-credentials with --no-auth: kept passwords are not used where everybody is answered",
            "--token-file FILE instead of --no-auth, or no --keep-credentials",
        ));
    }
    let vault = global.keep_credentials.as_deref().map(Vault::open).transpose().map_err(|e| request(&e))?;
    let bundle = args.source.open()?;
    open_log(global);
    let terminal = Terminal::new(global.manner());
    let voice = terminal.voice();
    warn(args, tls.is_some(), &voice);
    if args.install {
        super::unit::install(&args.given, &voice)?;
        terminal.tell("sunshine-installer.service runs; systemctl status sunshine-installer shows more");
        return Ok(Exit::Done);
    }
    let memory = (!args.no_auth).then(Memory::default);
    let runner = Runner::new(bundle, state_dir(), global.options(), vault, memory)?;
    let api =
        Arc::new(RestApi { auth, runner: Arc::new(runner), metrics: Default::default(), recent: Recent::default() });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("listener")
        .enable_all()
        .build()
        .map_err(|e| failed("start the listener", &e))?;
    runtime.block_on(listen_until_told(args.listen, tls, api, &terminal))?;
    runtime.shutdown_background();
    Ok(Exit::Done)
}

async fn listen_until_told(
    address: SocketAddr,
    tls: Option<Tls>,
    api: Arc<RestApi>,
    terminal: &Terminal,
) -> Result<(), FlowError> {
    let wait = |e: std::io::Error| failed("wait for signals", &e);
    let mut ending = Ending::listen().map_err(wait)?;
    let listener = crate::deliver::listen(address).await.map_err(|e| failed(&format!("listen on {address}"), &e))?;
    let bound = listener.local_addr().map_err(|e| failed("listen", &e))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    terminal.tell(&format!("listening on {scheme}://{bound}"));
    tracing::info!("listening on {scheme}://{bound}");
    let runner = Arc::clone(&api.runner);
    tokio::spawn(serve(listener, tls, api));
    ending.wait().await;
    terminal.voice().warn("ending: running tasks are brought to a safe point first; once more ends at once");
    tracing::info!("ending");
    tokio::select! {
        () = runner.stop() => {}
        () = ending.wait() => {}
    }
    runner.forget_logins();
    Ok(())
}

fn auth(args: &ServeArgs) -> Result<Auth, FlowError> {
    if let Some(path) = &args.token_file {
        return Auth::from_file(path);
    }
    if args.no_auth {
        return Ok(Auth::everybody().with_names(&args.allow_host));
    }
    if args.listen.ip().to_canonical().is_loopback() {
        return Ok(Auth::own_user().with_names(&args.allow_host));
    }
    Err(FlowError::request_with_help(
        format!("--listen {}: others reach this address, so a token is wanted", args.listen),
        "--token-file FILE (openssl rand -hex 32 makes one), or --no-auth to answer to everybody",
    ))
}

fn warn(args: &ServeArgs, encrypted: bool, voice: &Voice) {
    let local = args.listen.ip().to_canonical().is_loopback();
    if args.no_auth {
        let who = if local { "every user of this host" } else { "whoever reaches this address" };
        voice.warn(&format!("--no-auth: {who} can install, change and remove clusters"));
    }
    if local {
        return;
    }
    if !encrypted {
        voice.warn("without --tls-cert and --tls-key, tokens and passwords cross the network as they are");
    }
}

fn failed(what: &str, error: &std::io::Error) -> FlowError {
    FlowError::Failed { error: format!("cannot {what}: {error}"), help: None }
}

fn request(error: &crate::store::StoreError) -> FlowError {
    FlowError::request(error.to_string())
}

/// A name as it stands in a request's `Host`.
fn host_name(text: &str) -> Result<String, String> {
    let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if text.is_empty() || !letters {
        return Err("a DNS name is wanted, without a port".to_owned());
    }
    Ok(text.to_owned())
}

/// Reads `ADDRESS:PORT`, `ADDRESS`, `:PORT` or `PORT`.
fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, PORT));
    }
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let port = text.strip_prefix(':').unwrap_or(text).parse::<u16>();
    port.map(|port| SocketAddr::new(local, port))
        .map_err(|_| "an address, a port, or ADDRESS:PORT is wanted".to_owned())
}
