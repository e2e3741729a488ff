use serde_json::json;

use super::rendered::{cluster, facts, files};

/// All files of a version, one after the other.
fn all_files(minor: u32) -> String {
    let files = files(&cluster(minor, &json!({})), &facts(minor));
    files.iter().map(|(path, text)| format!("=== {path}\n{text}")).collect()
}

macro_rules! rendered {
    ($($name:ident: $minor:expr;)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(stringify!($name), all_files($minor));
        })*
    };
}

rendered! {
    files_of_1_5: 5;
    files_of_1_9: 9;
    files_of_1_13: 13;
    files_of_1_20: 20;
    files_of_1_25: 25;
    files_of_1_29: 29;
}
