//! The REST listener, asked for what needs no host.

mod callers;
mod hostile;
mod logins;
mod old_state;
mod openapi;
mod tls;
