//! What can be wrong with a bundle, in words that name the file, the part and the way out.

use std::fmt;
use std::io;

use camino::Utf8PathBuf;

use crate::member::NameError;

/// The part of a bundle that a finding is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The last bytes of the file: where everything is.
    Footer,
    /// The JSON list of members.
    Manifest,
    /// The executable at the start.
    Deployer,
    /// What lies between the members: tar headers and padding.
    Archive,
    /// One member, by name.
    Member(String),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Footer => f.write_str("footer"),
            Part::Manifest => f.write_str("manifest"),
            Part::Deployer => f.write_str("deployer"),
            Part::Archive => f.write_str("archive (tar headers and padding)"),
            Part::Member(name) => write!(f, "member {name}"),
        }
    }
}

/// Everything that reading, checking or writing a bundle can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The operating system refused a read, a write or a rename.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was being done: a verb such as "read".
        action: &'static str,
        /// The file it was done to.
        path: Utf8PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is full, or will be.
    #[error("cannot write {path}: the disk is full: {needed} bytes are needed there, {available} are free, {} are missing", needed.saturating_sub(*available))]
    DiskFull {
        /// The file that did not fit.
        path: Utf8PathBuf,
        /// Bytes that were still to be written.
        needed: u64,
        /// Bytes that the file system had left for us.
        available: u64,
    },
    /// The bytes are not those that were packed.
    #[error("{path} is damaged: {part}: {what}")]
    Damaged {
        /// The bundle.
        path: Utf8PathBuf,
        /// Where the damage lies.
        part: Part,
        /// What was expected and what was found.
        what: String,
    },
    /// Made by a newer program.
    #[error("{path} has bundle format {found}, this program reads up to {}", crate::FORMAT)]
    NewerFormat {
        /// The bundle.
        path: Utf8PathBuf,
        /// The format that its footer states.
        found: u32,
    },
    /// The signature is missing, was made by another key, or does not hold.
    #[error("the signature of {path} does not hold: {what}")]
    Signature {
        /// The bundle.
        path: Utf8PathBuf,
        /// Which of these it is.
        what: String,
    },
    /// A key or signature file that cannot be used.
    #[error("cannot use the key {path}: {what}")]
    Key {
        /// The key file, or the word that was given for one.
        path: Utf8PathBuf,
        /// Why not.
        what: String,
    },
    /// A member was asked for that the bundle does not have.
    #[error("{path} has no member {name}")]
    NoMember {
        /// The bundle.
        path: Utf8PathBuf,
        /// The name that was asked for.
        name: String,
    },
    /// A name that may not be a member's.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A bundle that cannot be split as asked.
    #[error("cannot split {path}: {what}")]
    Split {
        /// The bundle.
        path: Utf8PathBuf,
        /// Why not.
        what: String,
    },
    /// A file that cannot become part of a bundle.
    #[error("cannot pack {path}: {what}")]
    Unfit {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        what: String,
    },
}

impl BundleError {
    /// True when the bundle itself is at fault (exit code 3), false when the request or the machine is.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::NewerFormat { .. } | Self::Signature { .. })
    }

    /// True when the machine failed us (exit code 1): a disk, a permission. A file that is not there at all was named
    /// wrongly, and that is the request's fault (exit code 2).
    #[must_use]
    pub fn is_io(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() != io::ErrorKind::NotFound,
            Self::DiskFull { .. } => true,
            _ => false,
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Damaged { part: Part::Footer, .. } => {
                "the file was truncated, appended to, or stripped (`strip` removes the payload), or it is no bundle: copy it again".into()
            }
            Self::Damaged { .. } => "copy the bundle again and compare its sha256sum with the original's".into(),
            Self::NewerFormat { .. } => "use the program inside that bundle itself".into(),
            Self::Signature { .. } => "get the bundle from its publisher again, or name the right key with --pubkey".into(),
            Self::DiskFull { .. } => "free some space there, or choose another place".into(),
            Self::NoMember { .. } => "`bundle list` prints the names".into(),
            _ => return None,
        })
    }

    pub(crate) fn io(action: &'static str, path: impl Into<Utf8PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn damaged(path: impl Into<Utf8PathBuf>, part: Part, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.into(), part, what: what.into() }
    }
}
