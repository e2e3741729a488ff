//! What a registry refuses, or cannot do.

use serde::Deserialize;

/// Why something did not work at a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// What was given cannot be used.
    #[error("{0}")]
    Given(String),
    /// It does not answer, or the connection broke.
    #[error("{registry} does not answer to {what}: {why}")]
    NoAnswer { registry: String, what: String, why: String },
    /// It answers with an error.
    #[error("{registry} refuses to {what}: status {status}{}", said(.why))]
    Refused { registry: String, what: String, status: u16, why: String },
    /// What is to be pushed cannot be read.
    #[error(transparent)]
    Bundle(#[from] payload::BundleError),
}

fn said(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": {why}") }
}

impl RegistryError {
    /// What the operator can do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Refused { status: 401, .. } => Some("give a user with --user and --password-file".into()),
            Self::Refused { status: 403, .. } => {
                Some("the user needs the right to push there; in Harbor: a member of the project".into())
            }
            Self::Refused { status: 404, .. } => Some(
                "create the project or repository there first, or name another prefix: HOST[:PORT]/PREFIX".into(),
            ),
            Self::NoAnswer { why, .. } if is_trust(why) => {
                Some("name the file of the authority that signed its certificate with --ca".into())
            }
            Self::NoAnswer { why, .. } if is_plain(why) => Some("a registry without TLS needs --plain-http".into()),
            Self::NoAnswer { .. } => {
                Some("is the address right, and is it up? Run the same command again then: a push sends only what is missing".into())
            }
            Self::Bundle(error) => error.help(),
            Self::Refused { .. } | Self::Given(_) => None,
        }
    }

    /// Whether the same request may succeed when it is sent again.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::NoAnswer { why, .. } => !is_trust(why) && !is_plain(why),
            Self::Refused { status, .. } => *status == 429 || *status >= 500,
            Self::Given(_) | Self::Bundle(_) => false,
        }
    }
}

fn is_trust(why: &str) -> bool {
    why.contains("invalid peer certificate") || why.contains("UnknownIssuer")
}

fn is_plain(why: &str) -> bool {
    why.contains("InvalidContentType") || why.contains("corrupt message")
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The registry's own words for a refusal (OCI distribution specification 1.1, "Error Codes"), else the first line of its answer.
pub(super) fn words(text: &str) -> String {
    match serde_json::from_str::<Errors>(text) {
        Ok(Errors { errors }) => {
            let one = |e: OneError| if e.message.is_empty() { e.code } else { format!("{} ({})", e.message, e.code) };
            errors.into_iter().map(one).collect::<Vec<_>>().join("; ")
        }
        Err(_) => text.lines().next().unwrap_or_default().chars().take(200).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_said_in_the_registry_s_words() {
        let text =
            r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied","detail":null}]}"#;
        assert_eq!(words(text), "requested access to the resource is denied (DENIED)");
        assert_eq!(words("<html>\nx"), "<html>");
        assert_eq!(words(""), "");
    }
}
