//! What package managers print. See [`crate::fuzz`].

use payload::RpmId;

use super::problem::{Verdict, damaged_package, verdict, way_out};
use super::transaction::{from_lines, from_table};
use super::{evr, installed, rpmonly};
use crate::deliver::catalogue::Capability;
use crate::fuzz::lossy;

/// The output of dnf, yum or rpm: packages are whole, and written and read again as the same.
pub fn package_manager(bytes: &[u8]) {
    let text = lossy(bytes);
    for transaction in [from_lines(&text), from_table(&text)] {
        transaction.changed().for_each(is_whole);
        let _ = transaction.to_string();
    }
    installed::read(&text).iter().flatten().for_each(is_whole);
    match verdict(1, &text) {
        Verdict::Unsolvable(problems) => drop(way_out(&problems)),
        Verdict::Damaged(line) => drop(damaged_package(&line).map(str::to_owned)),
        Verdict::Locked | Verdict::Download(_) | Verdict::Other => {}
    }
    let wanted = ["libc.so.6", "/bin/sh"].map(|name| Capability { name: name.to_owned(), version: None });
    let provided = rpmonly::read_provided(&wanted, &text);
    assert!(provided.len() <= wanted.len());
    let _ = (rpmonly::rpm_problems(&text), installed::lock_holder(75, &text));
}

fn is_whole(id: &RpmId) {
    let written = evr::text(id);
    assert_eq!(evr::parse(&id.name, &written, &id.arch).as_ref(), Some(id), "{written}");
    assert!(evr::compare(id, id).is_eq());
}
