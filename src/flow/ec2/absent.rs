//! In a build without the feature `ec2`: nothing can be asked of EC2, and that is said.

use super::error::Ec2Error;
use super::instance::Instance;
use super::request::{Access, Ec2Create};

#[derive(Debug, Clone, Copy)]
pub(super) struct Mark<'a> {
    pub(super) environment: &'a str,
    pub(super) owner: &'a str,
}

/// There is none.
#[derive(Debug)]
pub(super) struct Cloud {
    never: std::convert::Infallible,
    pub(super) region: String,
}

impl Cloud {
    pub(super) fn connect(_: &Access) -> Result<Self, Ec2Error> {
        Err(Ec2Error::wrong("this build knows nothing of EC2", "use a release, or build with the feature `ec2`"))
    }

    pub(super) fn clock_ahead(&self) -> Option<i64> {
        match self.never {}
    }

    pub(super) fn image(&self, _: &str) -> Result<Option<String>, Ec2Error> {
        match self.never {}
    }

    pub(super) fn key_pair(&self, _: &str) -> Result<(), Ec2Error> {
        match self.never {}
    }

    pub(super) fn subnet(&self, _: &str) -> Result<(), Ec2Error> {
        match self.never {}
    }

    pub(super) fn security_groups(&self, _: &[String]) -> Result<(), Ec2Error> {
        match self.never {}
    }

    pub(super) fn launch(
        &self,
        _: &Ec2Create,
        _: Option<&str>,
        _: Mark<'_>,
        _: &str,
        _: bool,
    ) -> Result<Vec<Instance>, Ec2Error> {
        match self.never {}
    }

    pub(super) fn instances(&self, _: Mark<'_>) -> Result<Vec<Instance>, Ec2Error> {
        match self.never {}
    }

    pub(super) fn checked(&self, _: &[String]) -> Result<Vec<String>, Ec2Error> {
        match self.never {}
    }

    pub(super) fn terminate(&self, _: &[String]) -> Result<(), Ec2Error> {
        match self.never {}
    }
}
