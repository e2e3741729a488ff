//! What the targets of `fuzz/` call: each function takes any bytes for the input of one parser, and asserts what must hold of
//! whatever comes out. Compiled with the feature `fuzz`, and for the test below, which gives them the seeds.

use std::borrow::Cow;

pub use crate::deliver::fuzz::image_archive;
pub use crate::flow::fuzz::{etcd_output, kubernetes_output, kubernetes_yaml};
pub use crate::host::fuzz::{facts, host_string, remote_text};
pub use crate::interface::fuzz::{command_line, ini, rest_body};
pub use crate::packages::fuzz::package_manager;
pub use crate::registry::fuzz::registry_answer;
pub use crate::resource::fuzz::change_record;
pub use crate::spec::fuzz::cluster_file;

/// Stands for a password in the seeds: whatever is shown must not hold it. It looks like no name, so that nothing is
/// shown of it by mistake for one.
pub(crate) const SECRET: &str = "S3cr%t!";

/// A path, and a `Range` header on the second line, to a run's repository; the path to the REST listener too.
pub fn http_request(bytes: &[u8]) {
    let text = lossy(bytes);
    let (path, range) = text.split_once('\n').unwrap_or((&text, ""));
    crate::deliver::fuzz::request(path, range);
    crate::interface::fuzz::path(path);
}

/// As the output of hosts and bodies are read.
pub(crate) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    type Target = (&'static str, fn(&[u8]));

    #[test]
    fn the_seeds_pass() {
        // Tests run in their package's folder, wherever they were compiled.
        let seeds = Utf8Path::new("fuzz/corpus");
        let targets: [Target; 14] = [
            ("change_record", change_record),
            ("cluster_file", cluster_file),
            ("command_line", command_line),
            ("etcd_output", etcd_output),
            ("facts", facts),
            ("host_string", host_string),
            ("http_request", http_request),
            ("ini", ini),
            ("kubernetes_output", kubernetes_output),
            ("kubernetes_yaml", kubernetes_yaml),
            ("package_manager", package_manager),
            ("registry_answer", registry_answer),
            ("remote_text", remote_text),
            ("rest_body", rest_body),
        ];
        for (name, target) in targets {
            let all: Vec<_> = seeds.join(name).read_dir_utf8().unwrap().map(|entry| entry.unwrap()).collect();
            assert!(!all.is_empty(), "{name}");
            all.iter().for_each(|seed| target(&std::fs::read(seed.path()).unwrap()));
        }
    }
}
