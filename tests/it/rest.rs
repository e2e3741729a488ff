//! The REST listener, as its users meet it: the real program, asked by curl.

mod browser;
mod contract;
mod hostile;
mod kill;
mod openapi;
mod page;
mod service;
pub(crate) mod setup;
mod shared;
