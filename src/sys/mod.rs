//! The kernel: safe wrappers over system calls, by family.
//!
//! The only room with `unsafe`, each block with the reason why it is sound. Errors name the call
//! and what it was called with. Nothing here knows of images, layers or FUSE.
#![allow(unsafe_code)]

pub mod at;
pub mod caps;
pub mod daemon;
pub mod data;
pub mod dirent;
mod error;
pub mod flock;
pub mod in_root;
pub mod limits;
pub mod mmap;
pub mod mount;
pub mod mount_ns;
pub mod mount_table;
pub mod namespace;
pub mod process;
pub mod pty;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod xattr;
pub mod zlib;

pub use error::{Error, Result};
