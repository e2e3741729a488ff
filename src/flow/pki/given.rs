//! Keys, certificates and passwords that the site gives: kept beside those that are made, for hosts that join later.

use camino::Utf8PathBuf;

use crate::flow::files::write_private;
use crate::host::Secret;
use crate::plan::{Made, StepError};

/// A file of the environment's `pki` folder whose content the site gives.
#[derive(Debug)]
pub(super) struct Given {
    /// `PURPOSE/FILE`
    pub name: String,
    pub path: Utf8PathBuf,
    /// What is given in this run, if anything: else what an earlier one was given.
    pub now: Option<Secret>,
}

impl Given {
    fn kept(&self) -> Result<Option<Secret>, StepError> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(Secret::new(text))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StepError::failed(format!("{}: {e}", self.path))),
        }
    }
}

impl Made for Given {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn content(&self) -> Result<Option<Secret>, StepError> {
        self.now.clone().map_or_else(|| self.kept(), |now| Ok(Some(now)))
    }

    fn missing(&self) -> Result<Vec<String>, StepError> {
        let kept = self.kept()?;
        let is_kept = kept.is_some() && (self.now.is_none() || self.now == kept);
        Ok(if is_kept { Vec::new() } else { vec![format!("keep the site's {}", self.name)] })
    }

    fn make(&self) -> Result<(), StepError> {
        match &self.now {
            Some(_) if self.missing()?.is_empty() => Ok(()),
            Some(now) => write_private(&self.path, now.expose().as_bytes())
                .map_err(|e| StepError::failed(format!("{}: {e}", self.path))),
            None if self.missing()?.is_empty() => Ok(()),
            None => Err(StepError::with_help(
                format!("{}, which the site gave, is gone", self.path),
                "give it again: `cluster apply` with the file that names it",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    #[test]
    fn what_is_given_once_is_there_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("registry-site/tls.key");
        let given = |now: Option<&str>| Given { name: "x".into(), path: path.clone(), now: now.map(Secret::new) };
        assert!(given(None).content().unwrap().is_none() && given(None).make().is_err());
        let first = given(Some("geheim"));
        assert_eq!(first.missing().unwrap(), ["keep the site's x"]);
        first.make().unwrap();
        assert!(first.missing().unwrap().is_empty() && given(None).missing().unwrap().is_empty());
        assert_eq!(given(None).content().unwrap().unwrap().expose(), "geheim");
        assert!(!given(Some("anders")).missing().unwrap().is_empty());
        assert!(!format!("{first:?}").contains("geheim"));
    }
}
