//! Hosts on EC2 as moto gives them, with real hosts of the lab.

mod join;
mod page;
