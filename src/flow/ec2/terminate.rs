//! Terminates the environment's instances: those tagged with it and with the control host's number, no others.

use std::sync::{Arc, Mutex, PoisonError};

use crate::flow::error::FlowError;
use crate::flow::problem::Problem;
use crate::flow::scene::{Asked, Flow, Scene, Seen};
use crate::flow::state::Environment;
use crate::host::Target;
use crate::plan::{Check, Cx, Plan, RunReport, Step, StepError, Work};

use super::cloud::{Cloud, Mark};
use super::instance::Instance;
use super::known::Known;
use super::request::Ec2Terminate;
use super::status::{access, none_here};
use super::wait::{Patience, until};

/// The flow.
#[derive(Debug)]
pub(in crate::flow) struct Terminate {
    request: Ec2Terminate,
    work: Option<Gone>,
}

impl Terminate {
    pub(in crate::flow) fn new(request: Ec2Terminate) -> Self {
        Self { request, work: None }
    }
}

impl Flow for Terminate {
    fn title(&self) -> String {
        "terminate the environment's EC2 instances".to_owned()
    }

    fn check_request(&mut self, asked: &Asked<'_>) -> Result<Vec<Problem>, FlowError> {
        self.request.access.check().map_err(|(name, why)| FlowError::request(format!("{name}: {why}")))?;
        Known::load(asked.environment)?.ok_or_else(|| none_here(asked.environment)).map(|_| Vec::new())
    }

    fn targets(&self) -> Vec<Target> {
        Vec::new()
    }

    fn observe(&mut self, scene: &Scene<'_>, _: &mut Seen<'_>) -> Result<(), FlowError> {
        let known = Known::load(scene.environment)?.ok_or_else(|| none_here(scene.environment))?;
        let cloud = Cloud::connect(&access(&known, &self.request.access))?;
        self.work =
            Some(Gone { environment: scene.environment.clone(), cloud: Mutex::new(cloud), known: Arc::new(known) });
        Ok(())
    }

    fn plan(&mut self, _: &mut Seen<'_>) -> Result<Plan, FlowError> {
        let mut plan = Plan::default();
        if let Some(gone) = self.work.take() {
            plan.push(Step::control("ec2.terminate", self.title(), gone).weight(10));
        }
        Ok(plan)
    }

    fn finish(&mut self, scene: &Scene<'_>, report: &RunReport) -> Result<Vec<String>, FlowError> {
        if !report.ok {
            return Ok(Vec::new());
        }
        // The owner and the generations stay: a token that EC2 has seen must not be used for new instances.
        if let Some(mut known) = Known::load(scene.environment)? {
            for launch in known.requests.values_mut() {
                launch.instances.clear();
                launch.generation += u32::from(launch.made.take().is_some());
            }
            known.save(scene.environment)?;
        }
        Ok(vec![format!("environment {} has no EC2 instances any more", scene.environment.name)])
    }
}

#[derive(Debug)]
struct Gone {
    environment: Environment,
    cloud: Mutex<Cloud>,
    known: Arc<Known>,
}

impl Gone {
    fn left(&self) -> Result<Vec<Instance>, StepError> {
        let mark = Mark { environment: &self.environment.name, owner: &self.known.owner };
        let mut found = self.cloud.lock().unwrap_or_else(PoisonError::into_inner).instances(mark)?;
        found.retain(|instance| instance.state != "terminated");
        Ok(found)
    }
}

impl Work for Gone {
    fn check(&self, _: &Cx<'_>) -> Result<Check, StepError> {
        let left = self.left()?;
        Ok(Check::from_changes(left.iter().map(|i| format!("terminate {} ({})", i.id, i.address())).collect()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let ids: Vec<String> = self.left()?.into_iter().filter(Instance::is_alive).map(|i| i.id).collect();
        if !ids.is_empty() {
            self.cloud.lock().unwrap_or_else(PoisonError::into_inner).terminate(&ids)?;
        }
        until(cx, Patience::minutes(10), || {
            let left = self.left()?;
            let words: Vec<String> = left.iter().map(|i| format!("{} is {}", i.id, i.state)).collect();
            Ok((!words.is_empty()).then(|| words.join(", ")))
        })
    }
}
