//! The REST listener, as its users meet it: the real program, asked by curl.

pub(crate) mod browser;
mod contract;
mod kill;
pub(crate) mod page;
mod service;
pub(crate) mod setup;
mod shared;
