//! kubeadm's ConfigMaps, by which hosts join: they have the settings once the control plane nodes work with them.

use std::sync::Arc;

use crate::host::HostId;
use crate::plan::{Check, Cx, Step, StepError, StepId, Work};

use super::super::super::component::{Component, On};
use super::super::super::drain::Access;
use super::changes::{self, Setting};
use super::{Document, access, of_control_plane, of_kubelets, or_absent};

const STEP: &str = "kubeadm.settings";

/// The step after which hosts join with the settings, on the host that has it.
pub(in crate::flow::kubernetes) fn published(host: &HostId) -> StepId {
    StepId::on(host, STEP)
}

/// The component of the host that publishes.
pub(in crate::flow::kubernetes) struct PublishedSettings;

impl Component for PublishedSettings {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.publishes && on.control_plane().is_some() && on.supply.former.is_some()
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        let documents =
            vec![(Document::of_cluster(), of_control_plane(on)), (Document::of_kubelets(on.cluster), of_kubelets(on))];
        let work = Published { access: access(on), begins: on.begins(), documents };
        let step = on.step(STEP, "write the settings into kubeadm's configuration in the cluster", work);
        vec![step.after(on.waits.all_settled.clone())]
    }
}

#[derive(Debug)]
struct Published {
    access: Arc<Access>,
    begins: bool,
    documents: Vec<(Document, Vec<Setting>)>,
}

impl Published {
    /// Those of which the site says something.
    fn set(&self) -> impl Iterator<Item = &(Document, Vec<Setting>)> {
        self.documents.iter().filter(|(_, settings)| !settings.is_empty())
    }
}

impl Work for Published {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let api = self.access.api(cx)?;
        let mut needed = Vec::new();
        for (document, settings) in self.set() {
            let is = or_absent(document.read(&api), self.begins && cx.wants_detail())?;
            needed.extend(is.iter().flat_map(|is| changes::changes(is, settings)));
        }
        Ok(Check::from_changes(needed))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let api = self.access.api(cx)?;
        for (document, settings) in self.set() {
            document.bring(&api, settings)?;
        }
        Ok(())
    }
}
