//! What a random test does by chance, it does again with the same seed: `SUNSHINE_SEED`, printed by every such test.

#![allow(clippy::panic, reason = "a helper of tests: a panic is how a test fails")]
#![allow(clippy::print_stderr, reason = "the seed of a failed run is wanted")]

use rand::SeedableRng;
use rand::rngs::StdRng;

/// A source of chance with the seed of the environment, else with a new one.
pub(crate) fn seeded() -> StdRng {
    let seed = match std::env::var("SUNSHINE_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("SUNSHINE_SEED={text} is no number")),
        Err(_) => rand::random::<u64>(),
    };
    eprintln!("SUNSHINE_SEED={seed}");
    StdRng::seed_from_u64(seed)
}
