//! Journeys: what a person does with mica from the first word to the last, through the program as
//! it is built, with Debian's registry and a real Debian image, as root and as others.
//!
//! All of it needs root, which becomes the other users itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests may fail as the tests themselves may"
)]

mod container;
mod damage;
mod faults;
mod killed;
mod mounts;
mod options;
#[path = "../run/person.rs"]
mod person;
mod pull;
#[path = "../it/support/registry.rs"]
mod registry;
mod removal;
#[path = "../run/support.rs"]
#[expect(dead_code, reason = "containers without an image are not for here")]
mod support;
mod terminal;
mod world;
