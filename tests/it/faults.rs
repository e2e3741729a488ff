//! Scenarios: a flow of the product on real hosts, with one thing that goes wrong at one moment. Random ones with
//! `make faults SEED=… N=…`, a fixed dozen with every `make test`. docs/lab.md, "Faults", says what is chosen and what must hold.

mod fault;
mod fixed;
mod held;
mod random;
mod run;
mod scenario;
mod world;
mod writer;
