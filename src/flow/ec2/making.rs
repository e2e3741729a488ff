//! What the steps of `ec2 create` share: the request, the connection, and what is kept of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::flow::error::FlowError;
use crate::flow::scene::Scene;
use crate::flow::state::Environment;
use crate::plan::{Cx, Level, StepError};

use super::cloud::{Cloud, Mark};
use super::error::{Ec2Error, span};
use super::instance::Instance;
use super::known::{Known, Launch};
use super::request::Ec2Create;
use super::wait::of_request;

/// From this many seconds on it is worth a word that the control host's clock is wrong.
const CLOCK_WORTH_A_WORD: i64 = 30;
/// As long as EC2 may take to list what it has just made; seconds.
const SETTLES: i64 = 600;

/// Whether EC2 has had its time to list what it made at this second of the Unix epoch.
pub(super) fn is_settled(made: i64) -> bool {
    Timestamp::now().as_second() - made > SETTLES
}

/// What the steps share.
#[derive(Debug)]
pub(super) struct Making {
    pub(super) request: Ec2Create,
    environment: Environment,
    // The executor runs the control host's steps one after the other.
    cloud: Mutex<Cloud>,
    known: Mutex<Known>,
    fingerprint: String,
    pub(super) root: Option<String>,
}

impl Making {
    /// Connects, and has EC2 look at the request: everything that it finds wrong is told before anything is made.
    pub(super) fn begin(request: &Ec2Create, scene: &Scene<'_>) -> Result<Self, FlowError> {
        let cloud = Cloud::connect(&request.access)?;
        let known = Known::load(scene.environment)?.unwrap_or_else(Known::new);
        let fingerprint = request.fingerprint(&cloud.region);
        let root = look(&cloud, request)?;
        if let Some(ahead) = cloud.clock_ahead().filter(|s| s.abs() >= CLOCK_WORTH_A_WORD) {
            let side = if ahead > 0 { "ahead of" } else { "behind" };
            let text = format!("the control host's clock is {} {side} AWS's", span(ahead.unsigned_abs()));
            let help = Some("set it before a cluster is made: certificates and etcd need right clocks".to_owned());
            scene.events.note(None, Level::Warning, text, help);
        }
        let making = Self {
            request: request.clone(),
            environment: scene.environment.clone(),
            root,
            fingerprint,
            cloud: Mutex::new(cloud),
            known: Mutex::new(known),
        };
        making.rehearse()?;
        Ok(making)
    }

    pub(super) fn cloud(&self) -> MutexGuard<'_, Cloud> {
        self.cloud.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn launch(&self) -> Launch {
        self.known().requests.get(&self.fingerprint).cloned().unwrap_or_default()
    }

    /// With the owner and the token of the request as it stands.
    pub(super) fn with_mark<T>(&self, work: impl FnOnce(&Cloud, Mark<'_>, &str) -> T) -> T {
        let (owner, token) = {
            let known = self.known();
            (known.owner.clone(), known.token(&self.environment.name, &self.fingerprint))
        };
        work(&self.cloud(), Mark { environment: &self.environment.name, owner: &owner }, &token)
    }

    /// EC2 says whether it would make them, before anything is written down.
    fn rehearse(&self) -> Result<(), Ec2Error> {
        self.with_mark(|cloud, mark, token| {
            cloud.launch(&self.request, self.root.as_deref(), mark, token, true).map(drop)
        })
    }

    /// The instances of this request, alive or not, as EC2 lists them; what it made a moment ago and does not list yet, as it
    /// was. Keeps what it learns.
    pub(super) fn look(&self) -> Result<Vec<Instance>, StepError> {
        let mut found = self.with_mark(of_request)?;
        let before = self.launch();
        if before.made.is_some_and(|made| !is_settled(made)) {
            let unlisted = before.instances.iter().filter(|known| found.iter().all(|i| i.id != known.id));
            found.extend(unlisted.cloned().collect::<Vec<_>>());
        }
        if found != before.instances {
            self.keep(|launch| launch.instances.clone_from(&found))?;
        }
        Ok(found)
    }

    pub(super) fn keep(&self, change: impl FnOnce(&mut Launch)) -> Result<(), StepError> {
        let mut known = self.known();
        known.access = self.request.access.clone();
        known.access.region = Some(self.cloud().region.clone());
        change(known.requests.entry(self.fingerprint.clone()).or_default());
        known.save(&self.environment).map_err(|e| StepError::failed(e.to_string()))
    }

    /// Another request's instances in the same environment may be a surprise.
    pub(super) fn tell_others(&self, cx: &Cx<'_>) {
        let known = self.known();
        let others = known.requests.iter().filter(|(request, _)| **request != self.fingerprint);
        let others = others.flat_map(|(_, launch)| &launch.instances).filter(|i| i.is_alive()).count();
        if others > 0 {
            let name = &self.environment.name;
            let text =
                format!("environment {name} has {others} EC2 instance(s) of another request; these come beside them");
            cx.events.note(None, Level::Info, text, None);
        }
    }

    /// Of these, those that are there; an error when they are too few.
    pub(super) fn enough(&self, found: &[Instance]) -> Result<Vec<Instance>, StepError> {
        let alive: Vec<Instance> = found.iter().filter(|i| i.is_alive()).cloned().collect();
        if alive.len() >= usize::from(self.request.min) {
            return Ok(alive);
        }
        let lost = found.iter().filter(|i| !i.is_alive());
        let why: Vec<String> = lost
            .map(|i| format!("{} is {}: {}", i.id, i.state, i.reason.as_deref().unwrap_or("no reason given")))
            .collect();
        Err(StepError::with_help(
            format!("{} of at least {} instances are left; {}", alive.len(), self.request.min, why.join("; ")),
            format!(
                "`ec2 terminate {}` terminates what is left; after that the same command makes new ones",
                self.environment.name
            ),
        ))
    }
}

/// Asks EC2 about everything that the request names; all that it does not know is told at once. Gives the image's root disk.
fn look(cloud: &Cloud, request: &Ec2Create) -> Result<Option<String>, FlowError> {
    let mut wrong: Vec<Ec2Error> = Vec::new();
    let mut root = None;
    match cloud.image(&request.image) {
        Ok(found) => root = found,
        Err(e) if e.is_forbidden() && request.root_disk.is_none() => {}
        Err(e) if e.wrong => wrong.push(e),
        Err(e) => return Err(e.into()),
    }
    if request.root_disk.is_some() && root.is_none() && wrong.is_empty() {
        wrong.push(Ec2Error::wrong(
            format!("{} has no root disk of its own", request.image),
            "leave the root disk's size out",
        ));
    }
    let mut others = vec![cloud.key_pair(&request.key_name)];
    others.extend(request.subnet.as_deref().map(|id| cloud.subnet(id)));
    if !request.security_groups.is_empty() {
        others.push(cloud.security_groups(&request.security_groups));
    }
    for answer in others {
        match answer {
            Err(e) if !e.wrong => return Err(e.into()),
            Err(e) if !e.is_forbidden() => wrong.push(e),
            _ => {}
        }
    }
    let Some(first) = wrong.first().cloned() else { return Ok(root) };
    // Credentials that are refused are refused to every question in the same words.
    let mut texts: Vec<String> = wrong.into_iter().map(|e| e.text).collect();
    texts.dedup();
    Err(Ec2Error { text: texts.join("; "), ..first }.into())
}
