//! The environment's instances as EC2 sees them now.

use crate::flow::error::FlowError;
use crate::flow::state::Environment;

use super::cloud::{Cloud, Mark};
use super::instance::Instance;
use super::known::Known;
use super::request::Access;

/// What is to be asked where: what this line says comes before what is kept.
pub(super) fn access(known: &Known, given: &Access) -> Access {
    Access {
        region: given.region.clone().or_else(|| known.access.region.clone()),
        profile: given.profile.clone().or_else(|| known.access.profile.clone()),
        endpoint: given.endpoint.clone().or_else(|| known.access.endpoint.clone()),
    }
}

pub(super) fn none_here(environment: &Environment) -> FlowError {
    FlowError::request_with_help(
        format!("environment {} made no EC2 instances on the control host", environment.name),
        "`ec2 create` makes some; --environment names another environment",
    )
}

/// Asks EC2.
///
/// # Errors
/// When this environment never made any, or EC2 does not answer.
pub fn status(environment: &Environment, given: &Access) -> Result<Vec<Instance>, FlowError> {
    given.check().map_err(|(name, why)| FlowError::request(format!("{name}: {why}")))?;
    let known = Known::load(environment)?.ok_or_else(|| none_here(environment))?;
    let cloud = Cloud::connect(&access(&known, given))?;
    let mark = Mark { environment: &environment.name, owner: &known.owner };
    let mut found = cloud.instances(mark)?;
    let running: Vec<String> = found.iter().filter(|i| i.state == "running").map(|i| i.id.clone()).collect();
    let passed = if running.is_empty() { Vec::new() } else { cloud.checked(&running)? };
    for instance in &mut found {
        instance.checks_passed = passed.contains(&instance.id);
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(found)
}

/// The instances that `ec2 create` made here, as they were when last looked at; those that are gone left out.
///
/// # Errors
/// When what is kept cannot be read.
pub fn made(environment: &Environment) -> Result<Vec<Instance>, FlowError> {
    let known = Known::load(environment)?;
    Ok(known.map(|k| k.instances()).unwrap_or_default().into_iter().filter(Instance::is_alive).collect())
}
