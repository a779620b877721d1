//! What needs root: mount(8) and its helper.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests may fail as the tests themselves may, and say why one is skipped"
)]

mod mount_command;
