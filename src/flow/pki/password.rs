//! Passwords that the control host makes for itself.

use camino::Utf8PathBuf;

use crate::flow::files::write_private;
use crate::host::Secret;
use crate::plan::{Made, StepError};

/// In bytes, before they are written as hexadecimal digits.
const LENGTH: usize = 32;

/// A password of the control host to some server, made once: in the environment's `pki` folder, where `cluster certs renew` leaves
/// it alone.
#[derive(Debug)]
pub(super) struct Password {
    /// Whose it is, as an operator reads it.
    pub whose: &'static str,
    pub path: Utf8PathBuf,
    pub look_only: bool,
}

impl Password {
    fn failed(&self, why: impl std::fmt::Display) -> StepError {
        StepError::failed(format!("{}: {why}", self.path))
    }
}

impl Made for Password {
    fn name(&self) -> String {
        format!("the password of {}", self.whose)
    }

    fn content(&self) -> Result<Option<Secret>, StepError> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(Secret::new(text.trim()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.failed(e)),
        }
    }

    fn missing(&self) -> Result<Vec<String>, StepError> {
        Ok(if self.content()?.is_some() { Vec::new() } else { vec![format!("create {}", self.name())] })
    }

    fn make(&self) -> Result<(), StepError> {
        if self.look_only || self.content()?.is_some() {
            return Ok(());
        }
        let text = Secret::new(format!("{}\n", hex::encode(rand::random::<[u8; LENGTH]>())));
        write_private(&self.path, text.expose().as_bytes()).map_err(|e| self.failed(e))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use camino::Utf8Path;

    use super::*;

    #[test]
    fn a_password_is_made_once_and_a_look_makes_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("secrets/x.password");
        let password = |look_only| Password { whose: "x", path: path.clone(), look_only };
        assert_eq!(password(false).missing().unwrap(), ["create the password of x"]);
        password(true).make().unwrap();
        assert!(password(true).content().unwrap().is_none() && !path.exists());
        password(false).make().unwrap();
        let first = password(true).content().unwrap().unwrap();
        password(false).make().unwrap();
        assert!(password(false).content().unwrap().unwrap() == first && first.expose().len() == 2 * LENGTH);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
