//! Packs a bundle.
fn main() {}
