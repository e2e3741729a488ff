//! The .repo file: what a host's package manager is told about this repository.
//!
//! Options are those of yum.conf(5), dnf.conf(5) and dnf5.conf(5); one that an older program does not know is skipped
//! by it.

use std::fmt::Write;

use super::server::{LOCAL, Stock};

/// The repository's id; the second one, of rpms given with -f, begins with it too.
pub(crate) const ID: &str = "sunshine-installer";

/// One repository in the file.
#[derive(Debug)]
pub(crate) struct Section {
    id: String,
    base: String,
    keys: Vec<String>,
    gpgcheck: bool,
}

/// The sections for what `stock` has, below `base` (ends in `/`), with `keys` as URLs.
pub(crate) fn sections(stock: &Stock, base: &str, keys: &[String], gpgcheck: bool) -> Vec<Section> {
    let section = |id: String, base: String| Section { id, base, keys: keys.to_vec(), gpgcheck };
    let mut sections = Vec::new();
    if stock.bundle.is_some() {
        sections.push(section(ID.to_owned(), base.to_owned()));
    }
    if !stock.local.is_empty() {
        sections.push(section(format!("{ID}-local"), format!("{base}{LOCAL}")));
    }
    sections
}

/// The ids of those sections.
pub(crate) fn ids(stock: &Stock) -> Vec<String> {
    sections(stock, "", &[], false).into_iter().map(|section| section.id).collect()
}

/// The file's text.
pub(crate) fn text(sections: &[Section]) -> String {
    let mut text = String::new();
    for Section { id, base, keys, gpgcheck } in sections {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "[{id}]\n\
             name=sunshine-installer {version}\n\
             baseurl={base}\n\
             enabled=1\n\
             repo_gpgcheck=1\n\
             gpgcheck={gpgcheck}\n\
             gpgkey={keys}\n\
             module_hotfixes=1\n\
             skip_if_unavailable=0\n\
             proxy=_none_\n\n",
            version = env!("CARGO_PKG_VERSION"),
            gpgcheck = u8::from(*gpgcheck),
            keys = keys.join("\n       "),
        );
    }
    text
}
