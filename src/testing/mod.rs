//! Doubles and makers of input, for tests and fuzzing; never part of a release.

pub mod tar;
pub mod transport;
