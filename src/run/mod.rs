//! Launches a process over a root filesystem that somebody else mounts, in namespaces of its own.
//!
//! Three processes stand between a person and the command, each forked from the one before while
//! it has a single thread, each killed by the kernel when that one ends:
//!
//! 1. [`launch`] itself stays in front: it hands signals on, relays the terminal, and waits.
//! 2. The supervisor, in a new user namespace (unless the caller is root) and a new mount
//!    namespace. There it mounts the root filesystem and serves it, and unmounts it in the end.
//! 3. Process 1 of the new pid, mount, network, UTS and IPC namespaces. It builds `/proc`, `/dev`
//!    and `/sys`, starts the command with fewer privileges, and reaps orphans.
//!
//! Nothing of the root filesystem is executed before the command, and every path within it is
//! walked by the kernel with the root filesystem as the boundary. All mounts but those of single
//! devices refuse device files, so no control group is needed to keep devices away.

mod command;
mod error;
mod files;
pub mod idmap;
mod init;
mod launch;
mod relay;
mod report;
mod rootfs;
pub mod spec;
pub mod state;
mod supervisor;
mod tmpfs;
mod user;

pub use error::{Error, Result};
pub use idmap::IdMaps;
pub use launch::{Exit, MountRootfs, Rootfs, launch};
pub use spec::{Capabilities, Mount, Network, Overrides, Seccomp, Spec, from_config};
pub use tmpfs::Tmpfs;
pub use user::User;

pub use crate::sys::caps::{Capability, by_name as capability};
