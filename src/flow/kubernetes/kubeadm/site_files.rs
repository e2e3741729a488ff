//! Files of the site on hosts: patches, which kubeadm reads; the audit policy and the key of secrets, which API servers read.

use crate::flow::pki::KeyUse;
use crate::host::{FileMeta, HostId};
use crate::plan::{Step, StepId};
use crate::resource::{Entries, FileSpec, Files, OnlyFiles};

use super::super::component::{Component, On};
use super::settings::{self, FileForReading};
use super::site::{AUDIT_LOGS, AUDIT_POLICY, ENCRYPTION, PATCHES};

const STEP: &str = "kubeadm.site";

/// The step after which a host has the files.
pub(in crate::flow::kubernetes) fn written(host: &HostId) -> StepId {
    StepId::on(host, STEP)
}

/// The API servers' file with the key of secrets.
pub(super) fn encryption(on: &On<'_>, key_use: KeyUse) -> FileSpec {
    FileSpec::secret(ENCRYPTION, on.keys.pki().encryption(on.facts.fips, key_use), "root")
}

/// The component: what the site set, before kubeadm runs. A host that joins later gets the same. Where settings are applied to a
/// cluster that stands, the audit policy is one of them: see [`super::settings`].
pub(in crate::flow::kubernetes) struct SiteFiles;

impl Component for SiteFiles {
    fn is_on(&self, on: &On<'_>) -> bool {
        let set = &on.cluster.settings.components;
        let of_control_plane = set.audit_policy.is_some() || set.encrypt_secrets;
        let had_patches = on.supply.former.is_some_and(|former| !former.ever.patches.is_empty());
        had_patches || !set.patches.is_empty() || of_control_plane && on.control_plane().is_some()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let set = &on.cluster.settings.components;
        let private = |path: String, text: &str| FileSpec { meta: FileMeta::mode(0o600), ..FileSpec::text(path, text) };
        let patches = set.patches.iter().map(|file| private(format!("{PATCHES}/{}", file.name()), &file.text));
        let mut files: Vec<FileSpec> = patches.collect();
        let mut steps = Vec::new();
        if on.control_plane().is_some() {
            if let Some(policy) = &set.audit_policy {
                if on.supply.former.is_none() {
                    files.push(private(AUDIT_POLICY.to_owned(), &policy.text));
                }
                let logs = Entries(&[AUDIT_LOGS]);
                steps.push(on.step("kubeadm.audit", "record what is in the folder of audit logs", logs));
            }
            if settings::in_two_passes(on) {
                let file = FileForReading::new(encryption(on, KeyUse::Read));
                steps.push(on.step(
                    "kubeadm.encryption",
                    "write the key that API servers are to read secrets with",
                    file,
                ));
            } else if set.encrypt_secrets {
                files.push(encryption(on, KeyUse::ReadAndWrite));
            }
        }
        // A patch that an earlier try had, and that is wanted no more, would be read.
        let files = OnlyFiles { files: Files(files), within: &[PATCHES], without: Vec::new() };
        steps.push(on.step(STEP, "write the site's own settings", files));
        steps
    }
}
