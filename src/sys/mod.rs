//! The kernel: safe wrappers over system calls, by family.
//!
//! The only room with `unsafe`, each block with the reason why it is sound. Errors name the call
//! and what it was called with. Nothing here knows of images, layers or FUSE.
#![allow(unsafe_code)]

pub mod daemon;
mod error;
pub mod fd_passing;
pub mod flock;
pub mod mmap;
pub mod mount;
pub mod zlib;

pub use error::{Error, Result};
