//! A cluster file. See [`crate::fuzz`].

use super::check::check;
use super::fields::ROOT;
use super::file::ClusterFile;
use super::write::to_yaml;
use super::{validate, yaml};
use crate::fuzz::lossy;

/// The text of a cluster file, without the files that it refers to: what is read is written and read again as the same.
pub fn cluster_file(bytes: &[u8]) {
    if let Some(file) = read(&lossy(bytes)) {
        let written = to_yaml(&file);
        assert_eq!(read(&written).as_ref(), Some(&file), "{written}");
    }
}

fn read(text: &str) -> Option<ClusterFile> {
    let root = yaml::parse(text).ok()?;
    let checked = check(&root, &ROOT);
    // Problems stand on lines of the file, or behind the last; to YAML, a carriage return ends one too.
    let lines = text.split(['\n', '\r']).count() + 1;
    assert!(checked.problems.iter().all(|problem| (1..=lines).contains(&problem.line)), "{:?}", checked.problems);
    let is_fit = checked.problems.is_empty();
    if checked.json.is_null() {
        assert!(!is_fit);
        return None;
    }
    // What is wrong is left out, so that the rest is always read.
    let file = serde_json::from_value(checked.json);
    assert!(file.is_ok(), "{file:?}");
    let file: ClusterFile = file.ok()?;
    let _ = (validate::roles(&file, &checked.lines), validate::within(&file, &checked.lines));
    is_fit.then_some(file)
}
