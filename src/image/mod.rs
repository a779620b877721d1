//! The verbs, a file each: the only place that wires registry, store, layers and mounts together.
//!
//! Nothing here prints, exits or reads the environment: verbs return what happened, and tell a
//! [`Progress`] what is happening.

mod check;
mod error;
mod history;
mod inspect;
mod list;
mod local;
mod mount;
mod progress;
mod pull;
mod remove;
mod resolve;
mod run;
mod tag;
mod tee;
mod view;

pub use check::check;
pub use error::{Error, Result, Trouble};
pub use history::{Entry, history};
pub use inspect::inspect;
pub use list::{Listed, list};
pub use local::{By, Found, Image, find, parse};
pub use mount::{MountRequest, Mounted, mount, unmount};
pub use progress::{Progress, Quiet, Step};
pub use pull::{Remote, Tls, pull};
pub use remove::{Removed, prune, remove};
pub use resolve::{PullPolicy, resolve};
pub use run::{RunRequest, list_containers, remove_container, run};
pub use tag::tag;
pub use view::Writable;

pub use crate::fuse::MountOptions;
pub use crate::store::{Session, Store};
pub use crate::sys::mount::Busy;
pub use crate::union::Owners;

use std::time::{SystemTime, UNIX_EPOCH};

/// Whether this process may do everything on this machine, or in its user namespace.
#[must_use]
pub fn is_root() -> bool {
    ids().0 == 0
}

/// The user and the group of this process.
#[must_use]
pub fn ids() -> (u32, u32) {
    crate::sys::process::effective_ids()
}

/// The time in seconds since 1970; 0 before that.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
