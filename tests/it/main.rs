//! The one integration test binary: every module here is named after what it proves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail as the tests themselves may"
)]

mod cli;
mod image;
mod layer;
mod model;
mod oci;
mod registry;
mod run;
mod store;
mod support;
mod tidy;
mod union;
mod upper;
