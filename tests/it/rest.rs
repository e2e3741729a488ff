//! The REST listener, as its users meet it: the real program, asked by curl.

mod contract;
mod hostile;
mod setup;
