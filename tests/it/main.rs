//! Integration tests, by feature, in one binary.
