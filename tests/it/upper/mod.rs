//! Layers that are directories on disk.

mod conformance;
mod fixture;
