//! Hosts on EC2: the real program against moto, which answers as EC2 does, and in front of it a server that answers as AWS
//! documents where moto has no such answer.

mod create;
mod errors;
mod front;
pub(crate) mod moto;
mod rest;
