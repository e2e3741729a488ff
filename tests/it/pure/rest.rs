//! The REST listener, asked for what needs no host.

mod hostile;
mod logins;
mod openapi;
mod tls;
