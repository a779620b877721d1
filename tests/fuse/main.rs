//! A view through a real mount, by real system calls. Needs /dev/fuse.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests may fail as the tests themselves may"
)]

mod agreement;
mod files;
mod locks;
#[allow(dead_code, reason = "shared with other tests")]
mod model;
mod names;
mod requests;
mod rights;
mod session;
mod space;
mod stack;
mod view;
