//! Doubles, makers of input and lists of cases, for tests and fuzzing; never part of a release.

pub mod conformance;
pub mod mem;
pub mod tar;
pub mod transport;
