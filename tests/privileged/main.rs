//! What needs root: mount(8) and its helper.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail as the tests themselves may"
)]

mod mount_command;
