//! What needs root: mount(8) and its helper, and the kernel's overlayfs as a peer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests may fail as the tests themselves may, and say why one is skipped"
)]

mod background;
#[path = "../fuse/model/mod.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod model;
mod mount_command;
mod overlay;
mod signals;
