//! What kubeadm and the scripts around it print, and its configuration in a cluster. See [`crate::fuzz`].

use super::certificates;
use super::etcd_list::with_endpoints;
use super::findings::Findings;
use crate::host::{Facts, HostId};

pub(in crate::flow::kubernetes) fn output(text: &str) {
    let begun = format!("[preflight] Running pre-flight checks\n{text}");
    for text in [text, &begun] {
        let findings = Findings::read(text).map(|found| found.problems(&HostId::from("10.0.0.1"), &Facts::default()));
        assert!(findings.is_ok_and(|problems| problems.len() <= text.lines().count()) || text != begun);
    }
    let _ = certificates::found(text, 0);
}

pub(in crate::flow::kubernetes) fn yaml(text: &str) {
    let endpoints = ["https://10.0.0.1:2379".to_owned(), "https://[fd00::2]:2379".to_owned()];
    if let Some(Some(written)) = with_endpoints(text, &endpoints) {
        assert_eq!(with_endpoints(&written, &endpoints), Some(None), "{written}");
    }
}
