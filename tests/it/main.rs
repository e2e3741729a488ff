//! Integration tests, by feature, in one binary.

mod bundle;
