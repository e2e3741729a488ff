//! What a random test does by chance, it does again with the same seed: `SUNSHINE_SEED`, printed by every such test. The
//! logins of a lab's hosts are such a thing.

#![allow(clippy::panic, reason = "a helper of tests: a panic is how a test fails")]
#![allow(clippy::print_stderr, reason = "the seed of a failed run is wanted")]

use std::sync::OnceLock;

use rand::SeedableRng;
use rand::rngs::StdRng;

/// How often a test that injects faults does so: `some`, or with `make killed` (`SUNSHINE_FAULTS=all`) `all`.
pub(crate) fn faults(all: usize, some: usize) -> usize {
    if std::env::var("SUNSHINE_FAULTS").is_ok_and(|which| which == "all") { all } else { some }
}

/// A source of chance with the seed of the environment, else with a new one.
pub(crate) fn seeded() -> StdRng {
    StdRng::seed_from_u64(seed())
}

/// Another one, for what has no say in the first: the same for the same number.
pub(crate) fn seeded_apart(number: u32) -> StdRng {
    StdRng::seed_from_u64(seed().wrapping_add(u64::from(number) + 1))
}

/// One for the whole test, said once.
fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| {
        let seed = match std::env::var("SUNSHINE_SEED") {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("SUNSHINE_SEED={text} is no number")),
            Err(_) => rand::random::<u64>(),
        };
        eprintln!("SUNSHINE_SEED={seed}");
        seed
    })
}
