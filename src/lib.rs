//! mica shows a container image as a directory, without unpacking it.
//!
//! The rooms stand in level order; each may import only rooms of a lower level that
//! `docs/ARCHITECTURE.md` names for it. `tests/it/tidy.rs` proves that.

// Level 0: words.
pub mod oci;
pub mod sys;
pub mod tree;
// Level 1: bytes.
pub mod blob;
// Level 2: one thing each.
pub mod layer;
pub mod registry;
pub mod store;
pub mod union;
pub mod upper;
// Level 3: doors.
pub mod fuse;
pub mod run;
// Level 4: verbs.
pub mod image;
// Level 5: the person.
pub mod cli;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
