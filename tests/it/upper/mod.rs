//! Layers that are directories on disk.

mod as_root;
mod conformance;
mod crash;
mod fixture;
mod forms;
mod model;
mod opening;
