//! The one integration test binary: every module here is named after what it proves.
// Clippy allows these in test functions only; what they call is as much a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod oci;
mod store;
mod support;
