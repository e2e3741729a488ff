//! The clock: chronyd of the bundle on every host, when the bundle has it. etcd, leases and certificates need right clocks.

use crate::flow::rpms;
use crate::packages::Wanted;
use crate::plan::Step;
use crate::resource::Reads;

use super::component::{Component, On, unit};

const PACKAGE: &str = "chrony";

pub(super) struct Clock;

impl Component for Clock {
    fn is_on(&self, on: &On<'_>) -> bool {
        on.supply.has(PACKAGE, on.facts)
    }

    fn packages(&self, _: &On<'_>) -> Vec<Wanted> {
        rpms::by_name([PACKAGE])
    }

    fn steps(&self, on: &On<'_>) -> Vec<Step> {
        vec![on.step("chronyd.start", "keep the clock right", unit("chronyd", Reads::Package))]
    }
}
