//! Layers that are directories on disk.

mod as_root;
mod conformance;
mod fixture;
mod forms;
mod opening;
