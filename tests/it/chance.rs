//! What a random test does by chance, it does again with the same seed: `SUNSHINE_SEED`, printed by every such test.

#![allow(clippy::panic, reason = "a helper of tests: a panic is how a test fails")]
#![allow(clippy::print_stderr, reason = "the seed of a failed run is wanted")]

use rand::SeedableRng;
use rand::rngs::StdRng;

/// How often a test that injects faults does so: `some`, or with `make killed` (`SUNSHINE_FAULTS=all`) `all`.
pub(crate) fn faults(all: usize, some: usize) -> usize {
    if std::env::var("SUNSHINE_FAULTS").is_ok_and(|which| which == "all") { all } else { some }
}

/// A source of chance with the seed of the environment, else with a new one.
pub(crate) fn seeded() -> StdRng {
    let seed = match std::env::var("SUNSHINE_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("SUNSHINE_SEED={text} is no number")),
        Err(_) => rand::random::<u64>(),
    };
    eprintln!("SUNSHINE_SEED={seed}");
    StdRng::seed_from_u64(seed)
}
