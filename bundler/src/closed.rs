//! Whether the packages are closed: for every platform, whether each package that its hosts are offered finds what it requires
//! among those packages, or on the system that is there.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use payload::yum::{self, Assumed, RpmFile, Unmet};
use payload::{BundleError, Platform};

use crate::build::read_text;
use crate::cli::AssumeArg;

/// Packages that are not closed.
#[derive(Debug)]
pub(crate) struct NotClosed {
    /// Whose hosts are offered them; none when the bundle has packages for all hosts only.
    pub(crate) platform: Option<Platform>,
    pub(crate) unmet: Vec<Unmet>,
}

/// What target systems have.
pub(crate) struct Systems(Vec<(Option<Platform>, String)>);

impl Systems {
    pub(crate) fn read(arguments: &[AssumeArg]) -> Result<Self, BundleError> {
        let read = |AssumeArg { platform, path }: &AssumeArg| Ok((platform.clone(), read_text(path)?));
        Ok(Self(arguments.iter().map(read).collect::<Result<_, BundleError>>()?))
    }

    /// What is said of all systems, and of this platform's.
    fn of(&self, platform: Option<&Platform>) -> Assumed {
        let said = self.0.iter().filter(|(of, _)| of.is_none() || of.as_ref() == platform);
        Assumed::parse(&said.map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n"))
    }
}

/// The platforms whose packages are not closed. A bundle for platforms is not meant for hosts of others, which are offered only
/// what is for all hosts: whether that is closed by itself is not asked then.
pub(crate) fn not_closed(rpms: &BTreeMap<Option<Platform>, Vec<RpmFile>>, systems: &Systems) -> Vec<NotClosed> {
    let mut platforms: Vec<Option<&Platform>> = rpms.keys().map(Option::as_ref).collect();
    if platforms.iter().any(Option::is_some) {
        platforms.retain(Option::is_some);
    }
    let unmet = |platform: Option<&Platform>| {
        let offered = rpms.iter().filter(|(of, _)| of.is_none() || of.as_ref() == platform);
        let offered: Vec<&RpmFile> = offered.flat_map(|(_, rpms)| rpms).collect();
        let unmet = yum::unmet(&offered, &systems.of(platform));
        NotClosed { platform: platform.cloned(), unmet }
    };
    platforms.into_iter().map(unmet).filter(|found| !found.unmet.is_empty()).collect()
}

/// `[PLATFORM=]FILE`. A path may have an equals sign too.
pub(crate) fn assume(text: &str) -> Result<AssumeArg, String> {
    let whole = AssumeArg { platform: None, path: Utf8PathBuf::from(text) };
    match text.split_once('=') {
        Some((platform, path)) if !whole.path.exists() && !path.is_empty() => {
            let platform = platform.parse().map_err(|e: payload::NotAPlatform| e.to_string())?;
            Ok(AssumeArg { platform: Some(platform), path: path.into() })
        }
        _ => Ok(whole),
    }
}
