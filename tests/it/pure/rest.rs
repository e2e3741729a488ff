//! The REST listener, asked for what needs no host.

mod hostile;
mod openapi;
mod tls;
