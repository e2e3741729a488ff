//! The lab itself: a cluster of current Kubernetes by the bare commands, without anything of this product.

use std::path::Path;
use std::process::Command;

use crate::lab::{Lab, Output};

#[test]
fn a_pod_reaches_a_service_by_name_on_a_cluster_made_by_bare_commands() {
    if !Lab::here() {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/kubeadm-bare.sh");
    let said = Output::of(&mut Command::new(script)).expect_ok().stdout;
    assert!(said.contains("answered by pod server on host1"), "{said}");
}
