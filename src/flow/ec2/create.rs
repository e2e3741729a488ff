//! Makes instances and waits until EC2's checks pass.
//!
//! The same request in the same environment stands for the same instances: those that are there are counted, and only
//! when all of them were terminated are others made.

use std::sync::Arc;

use jiff::Timestamp;

use crate::flow::error::FlowError;
use crate::flow::problem::Problem;
use crate::flow::scene::{Asked, Flow, Scene, Seen};
use crate::host::Target;
use crate::plan::{Check, Cx, Event, Level, Plan, RunReport, Step, StepError, StepId, Work};

use super::instance::{Instance, contract_object};
use super::known::{Known, Launch};
use super::making::{Making, is_settled};
use super::request::Ec2Create;
use super::wait::{Patience, until};

/// The flow.
#[derive(Debug)]
pub(in crate::flow) struct Create {
    request: Ec2Create,
    work: Option<Arc<Making>>,
}

impl Create {
    pub(in crate::flow) fn new(request: Ec2Create) -> Self {
        Self { request, work: None }
    }
}

impl Flow for Create {
    fn title(&self) -> String {
        format!("make {}", self.request.count())
    }

    fn check_request(&mut self, asked: &Asked<'_>) -> Result<Vec<Problem>, FlowError> {
        self.request.check().map_err(|(name, why)| FlowError::request(format!("{name}: {why}")))?;
        Known::load(asked.environment).map(|_| Vec::new())
    }

    fn targets(&self) -> Vec<Target> {
        Vec::new()
    }

    /// Has EC2 look at the request, which makes nothing.
    fn observe(&mut self, scene: &Scene<'_>, _: &mut Seen<'_>) -> Result<(), FlowError> {
        self.work = Some(Arc::new(Making::begin(&self.request, scene)?));
        Ok(())
    }

    fn plan(&mut self, _: &mut Seen<'_>) -> Result<Plan, FlowError> {
        let Some(making) = &self.work else { return Ok(Plan::default()) };
        let steps = [
            Step::control("ec2.launch", format!("make {}", self.request.count()), Launched(Arc::clone(making)))
                .weight(5),
            Step::control("ec2.running", "wait until they run", Running(Arc::clone(making))).weight(20),
            Step::control("ec2.checks", "wait for EC2's status checks", Checked(Arc::clone(making))).weight(75),
        ];
        let mut plan = Plan::default();
        let mut before: Option<StepId> = None;
        for step in steps {
            let step = step.after(before.take());
            before = Some(step.id.clone());
            plan.push(step);
        }
        Ok(plan)
    }

    fn finish(&mut self, scene: &Scene<'_>, report: &RunReport) -> Result<Vec<String>, FlowError> {
        let Some(making) = &self.work else { return Ok(Vec::new()) };
        let instances: Vec<Instance> = making.launch().instances.into_iter().filter(Instance::is_alive).collect();
        let list = instances.iter().map(|i| {
            let names = [&i.public_ip, &i.public_dns, &i.private_dns].into_iter().flatten();
            format!(
                "  {}  {}",
                i.id,
                std::iter::once(i.address()).chain(names.map(String::as_str)).collect::<Vec<_>>().join("  ")
            )
        });
        let environment = &scene.environment.name;
        let mut advice: Vec<String> = Vec::new();
        if report.ok {
            scene.events.send(&Event::Made { made: contract_object(&instances) });
            let count = match (instances.len(), usize::from(self.request.max)) {
                (1, 1) => "1 EC2 instance runs and passes its".to_owned(),
                (n, most) if n == most => format!("{n} EC2 instances run and pass their"),
                (n, most) => format!("{n} of at most {most} EC2 instances run and pass their"),
            };
            advice.push(format!("{count} checks:"));
            advice.extend(list);
            advice.push(format!("`ec2 terminate {environment}` gives them back"));
        } else if !instances.is_empty() {
            advice.push("these EC2 instances were made and stay; the same command continues with them:".to_owned());
            advice.extend(list);
            advice.push(format!("`ec2 terminate {environment}` gives them back"));
        }
        Ok(advice)
    }
}

#[derive(Debug)]
struct Launched(Arc<Making>);

impl Work for Launched {
    fn check(&self, _: &Cx<'_>) -> Result<Check, StepError> {
        let making = &self.0;
        let found = making.look()?;
        let alive = found.iter().filter(|i| i.is_alive()).count();
        // Too few because some died is an error; because EC2 does not list all of them yet, a reason to ask it once more with
        // the same token, which it answers with all.
        if alive >= usize::from(making.request.min) || alive > 0 && alive < found.len() {
            return making.enough(&found).map(|_| Check::Satisfied);
        }
        Ok(Check::Needed(vec![format!(
            "make {} of {} from {} in {}",
            making.request.count(),
            making.request.instance_type,
            making.request.image,
            making.cloud().region
        )]))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        let making = &self.0;
        let before = making.launch();
        let gone = before.instances.iter().any(|i| !i.is_alive()) || before.made.is_some_and(is_settled);
        making.tell_others(cx);
        making.keep(|launch| {
            if gone {
                *launch = Launch { generation: launch.generation + 1, ..Launch::default() };
            }
        })?;
        let made = making.with_mark(|cloud, mark, token| {
            cloud.launch(&making.request, making.root.as_deref(), mark, token, false)
        })?;
        cx.note(format!("made {}", made.iter().map(|i| i.id.as_str()).collect::<Vec<_>>().join(", ")));
        if made.len() < usize::from(making.request.max) {
            cx.events.note(
                None,
                Level::Warning,
                format!(
                    "EC2 made {} of {} instances, at least {} were wanted: going on with these",
                    made.len(),
                    making.request.max,
                    making.request.min
                ),
                None,
            );
        }
        making.keep(|launch| {
            launch.made = Some(Timestamp::now().as_second());
            launch.instances = made;
        })
    }

    /// What was made may take EC2 a while to list: the next step waits for that.
    fn verify(&self, _: &Cx<'_>) -> Result<(), StepError> {
        Ok(())
    }
}

#[derive(Debug)]
struct Running(Arc<Making>);

impl Work for Running {
    fn check(&self, _: &Cx<'_>) -> Result<Check, StepError> {
        let found = self.0.look()?;
        if found.iter().any(Instance::is_alive) && waiting(&found).is_empty() {
            return self.0.enough(&found).map(|_| Check::Satisfied);
        }
        Ok(Check::Needed(Vec::new()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        until(cx, Patience::minutes(10), || {
            let alive = self.0.enough(&self.0.look()?)?;
            if let Some(stopped) = alive.iter().find(|i| i.state.starts_with("stop")) {
                return Err(StepError::with_help(
                    format!(
                        "{} is {}: {}",
                        stopped.id,
                        stopped.state,
                        stopped.reason.as_deref().unwrap_or("no reason given")
                    ),
                    "start it (`aws ec2 start-instances`) and run the same command again",
                ));
            }
            let waiting = waiting(&alive);
            let run = alive.len() - waiting.len();
            Ok((!waiting.is_empty()).then(|| format!("{run} of {} run; {}", alive.len(), waiting.join(", "))))
        })
    }
}

/// What keeps instances from being called running.
fn waiting(instances: &[Instance]) -> Vec<String> {
    let waiting = instances.iter().filter(|i| i.is_alive() && i.state != "running");
    waiting.map(|i| format!("{} is {}", i.id, i.state)).collect()
}

#[derive(Debug)]
struct Checked(Arc<Making>);

impl Checked {
    /// Instances whose checks have not passed.
    fn waiting(&self) -> Result<Vec<String>, StepError> {
        let launch = self.0.launch();
        let mut ids: Vec<String> = launch.instances.into_iter().filter(Instance::is_alive).map(|i| i.id).collect();
        if !ids.is_empty() {
            let passed = self.0.cloud().checked(&ids)?;
            ids.retain(|id| !passed.contains(id));
        }
        Ok(ids)
    }
}

impl Work for Checked {
    fn check(&self, _: &Cx<'_>) -> Result<Check, StepError> {
        if !self.0.launch().instances.is_empty() && self.waiting()?.is_empty() {
            return Ok(Check::Satisfied);
        }
        Ok(Check::Needed(Vec::new()))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        until(cx, Patience::minutes(15), || {
            // One that dies meanwhile, or is stopped, is told at once.
            self.0.enough(&self.0.look()?)?;
            let waiting = self.waiting()?;
            Ok((!waiting.is_empty()).then(|| format!("the checks of {} have not passed yet", waiting.join(", "))))
        })
    }
}
