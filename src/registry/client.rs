//! Requests to one registry, with its certificate checked and its way to log in obeyed.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use camino::Utf8PathBuf;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use ureq::http::{HeaderMap, Request, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::{Agent, SendBody};

use crate::host::Secret;

use super::challenge::Challenge;
use super::error::{RegistryError, words};

/// Longest answer that is read, in bytes.
const LONGEST: u64 = 16 << 20;

/// Where distributions keep the authorities that they trust.
const TRUSTED: [&str; 3] =
    ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/ca-bundle.pem"];

/// A registry, and how to get in.
#[derive(Debug, Clone)]
pub struct Registry {
    /// `HOST` or `HOST:PORT`.
    pub address: String,
    pub plain_http: bool,
    /// The authorities that sign its certificate; the system's when none is named.
    pub ca: Option<Utf8PathBuf>,
    pub login: Option<Login>,
}

/// A user of a registry.
#[derive(Debug, Clone)]
pub struct Login {
    pub user: String,
    pub password: Secret,
}

/// A connection to a registry. What it was shown once is shown again.
#[derive(Debug)]
pub struct Client {
    registry: Registry,
    agent: Agent,
    /// The header `Authorization`, by repository.
    shown: HashMap<String, Secret>,
}

/// What a request carries.
pub(super) enum Content<'a> {
    Nothing,
    Bytes(&'a [u8]),
    /// Opened anew when it has to be sent twice.
    Stream {
        size: u64,
        open: &'a dyn Fn() -> Result<Box<dyn Read + 'a>, RegistryError>,
    },
}

/// One request.
pub(super) struct Ask<'a> {
    pub method: &'static str,
    /// Below the registry's address, or a whole address that the registry gave.
    pub path: String,
    pub media_type: &'a str,
    pub content: Content<'a>,
    /// What it is about, for the way to log in.
    pub repository: &'a str,
    /// As an operator reads it: `push pause:3.10`.
    pub what: String,
}

/// An answer, of any status.
pub(super) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    /// A header's text.
    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Client {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// When the authorities' file cannot be read.
    pub fn new(registry: Registry) -> Result<Self, RegistryError> {
        let config = Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(Duration::from_secs(300)))
            .http_status_as_error(false)
            .proxy(None);
        let config = if registry.plain_http { config } else { config.tls_config(tls(&registry)?) };
        Ok(Self { registry, agent: config.build().new_agent(), shown: HashMap::new() })
    }

    /// That it is a registry and answers, to a login too where one is given (OCI distribution specification, "Determining
    /// Support").
    ///
    /// # Errors
    /// When it does not answer, is none, or refuses the login.
    pub fn answers(&mut self) -> Result<(), RegistryError> {
        let statuses: &[u16] = if self.registry.login.is_some() { &[200] } else { &[200, 401] };
        let (path, what) = ("/v2/".to_owned(), "be asked whether it is a registry".to_owned());
        let ask = Ask { method: "GET", path, media_type: "", content: Content::Nothing, repository: "", what };
        self.expect(&ask, statuses).map(drop)
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.registry.address
    }

    /// The answer to a request, once it has been shown what it wants to see.
    pub(super) fn ask(&mut self, ask: &Ask<'_>) -> Result<Answer, RegistryError> {
        let answer = self.send(ask)?;
        if answer.status != 401 {
            return Ok(answer);
        }
        let challenges = answer.headers.get_all(header::WWW_AUTHENTICATE).iter();
        let challenge = challenges.filter_map(|value| Challenge::parse(value.to_str().ok()?)).next();
        let shown = match challenge {
            Some(Challenge::Basic) => self.registry.login.as_ref().map(basic),
            Some(Challenge::Bearer { realm, service, scope }) => {
                Some(self.token(ask, &realm, service.as_deref(), scope.as_deref())?)
            }
            None => None,
        };
        let Some(shown) = shown else { return Ok(answer) };
        self.shown.insert(ask.repository.to_owned(), shown);
        self.send(ask)
    }

    /// The same, where another status than these is an error.
    pub(super) fn expect(&mut self, ask: &Ask<'_>, statuses: &[u16]) -> Result<Answer, RegistryError> {
        let answer = self.ask(ask)?;
        if statuses.contains(&answer.status) { Ok(answer) } else { Err(self.refused(ask, &answer)) }
    }

    fn refused(&self, ask: &Ask<'_>, answer: &Answer) -> RegistryError {
        RegistryError::Refused {
            registry: self.registry.address.clone(),
            what: ask.what.clone(),
            status: answer.status,
            why: words(&answer.text),
        }
    }

    fn no_answer(&self, what: &str, why: &dyn std::fmt::Display) -> RegistryError {
        RegistryError::NoAnswer { registry: self.registry.address.clone(), what: what.to_owned(), why: why.to_string() }
    }

    fn url(&self, path: &str) -> String {
        if path.contains("://") {
            return path.to_owned();
        }
        let scheme = if self.registry.plain_http { "http" } else { "https" };
        format!("{scheme}://{}{path}", self.registry.address)
    }

    /// What was shown goes to the registry itself only, not to another address that it names for an upload.
    fn is_own(&self, url: &str) -> bool {
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        rest.strip_prefix(&self.registry.address).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn send(&self, ask: &Ask<'_>) -> Result<Answer, RegistryError> {
        let url = self.url(&ask.path);
        let mut request = Request::builder().method(ask.method).uri(&url);
        if let Some(shown) = self.shown.get(ask.repository).filter(|_| self.is_own(&url)) {
            request = request.header(header::AUTHORIZATION, shown.expose());
        }
        if !ask.media_type.is_empty() {
            let name = if ask.method == "PUT" { header::CONTENT_TYPE } else { header::ACCEPT };
            request = request.header(name, ask.media_type);
        }
        let wrong = |error: ureq::http::Error| self.no_answer(&ask.what, &error);
        let answer = match &ask.content {
            Content::Nothing => self.agent.run(request.body(()).map_err(wrong)?),
            Content::Bytes(bytes) => self.agent.run(request.body(*bytes).map_err(wrong)?),
            Content::Stream { size, open } => {
                let mut reader = open()?;
                let request = request.header(header::CONTENT_LENGTH, *size);
                self.agent.run(request.body(SendBody::from_reader(&mut reader)).map_err(wrong)?)
            }
        };
        let mut answer = answer.map_err(|error| self.no_answer(&ask.what, &error))?;
        let text = answer.body_mut().with_config().limit(LONGEST).read_to_string();
        let text = text.map_err(|error| self.no_answer(&ask.what, &error))?;
        Ok(Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), text })
    }

    /// A token for what the registry asks about.
    fn token(
        &self,
        ask: &Ask<'_>,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<Secret, RegistryError> {
        let what = "give a token".to_owned();
        if !self.registry.plain_http && !realm.starts_with("https://") {
            return Err(self.no_answer(&what, &format!("it would be got without TLS from {realm}")));
        }
        let scope = scope.map_or_else(|| format!("repository:{}:pull,push", ask.repository), str::to_owned);
        let mut fields = vec![format!("scope={}", encoded(&scope))];
        fields.extend(service.map(|service| format!("service={}", encoded(service))));
        let mut request = Request::get(format!("{realm}?{}", fields.join("&")));
        if let Some(login) = &self.registry.login {
            request = request.header(header::AUTHORIZATION, basic(login).expose());
        }
        let request = request.body(()).map_err(|error| self.no_answer(&what, &error))?;
        let mut answer = self.agent.run(request).map_err(|error| self.no_answer(&what, &error))?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().with_config().limit(LONGEST).read_to_string();
        let text = text.map_err(|error| self.no_answer(&what, &error))?;
        let token = serde_json::from_str::<Token>(&text).ok().filter(|_| status == 200);
        match token.and_then(|token| token.token.or(token.access_token)) {
            Some(token) => Ok(Secret::new(format!("Bearer {token}"))),
            None => {
                let why = if status == 200 { "there is none in its answer".to_owned() } else { words(&text) };
                Err(RegistryError::Refused { registry: self.registry.address.clone(), what, status, why })
            }
        }
    }
}

fn encoded(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

fn basic(login: &Login) -> Secret {
    Secret::new(format!("Basic {}", STANDARD.encode(format!("{}:{}", login.user, login.password.expose()))))
}

fn tls(registry: &Registry) -> Result<TlsConfig, RegistryError> {
    let named = registry.ca.as_ref().map(|path| path.as_std_path());
    let system = || TRUSTED.iter().map(std::path::Path::new).find(|path| path.is_file());
    let mut roots = Vec::new();
    if let Some(path) = named.or_else(system) {
        let bad = |why: String| RegistryError::Given(format!("--ca {}: {why}", path.display()));
        let text = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        roots.extend(parse_pem(&text).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        }));
        if roots.is_empty() {
            return Err(bad("there is no certificate in it".to_owned()));
        }
    }
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots))
        .build())
}
