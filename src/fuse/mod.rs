//! The door to the kernel: a [`Union`] as a mounted filesystem, through FUSE.
//!
//! This room translates requests and replies and decides nothing; the filesystem is `union`. It is
//! the only one that names `fuser`.
//!
//! What costs time here is the round trip (7 to 50 us each), so the kernel is told to ask as little
//! as it can:
//!
//! - There are no OPEN, RELEASE, FLUSH, OPENDIR and RELEASEDIR requests: the first of each is
//!   answered `ENOSYS`, and [`serve`] provokes it before it returns. The state of a file is keyed
//!   by inode.
//! - Names, absent names, attributes, listings, link targets and pages stay in the kernel's caches
//!   for a day: every change comes through this mount, and the kernel knows what it changed.
//! - READDIRPLUS brings attributes along with names.
//!
//! Not asked for, on purpose: remote locks (the kernel's own are right and free), the writeback
//! cache, atomic `O_TRUNC` (it arrives as a truncation), the clearing of set-user-id bits (the
//! kernel does it), lookups of `.` and `..` by node (they are forgotten with the node).
//!
//! [`Union`]: crate::union::Union

mod convert;
mod driver;
mod error;
mod mount;
mod options;
mod reply;
mod requests;
mod session;

pub use error::{Error, Result};
pub use mount::unmount_any;
pub use options::{Means, MountOptions};
pub use session::{Session, Unmounter, serve};
