//! `sunshine-bundler collect`, from a yum repository and a registry on this machine: the lab's packages and images.

mod continued;
mod locked;
mod refused;
pub(crate) mod site;
mod web;
