//! The verbs, a file each: the only place that wires registry, store, layers and mounts together.
//!
//! Nothing here prints, exits or reads the environment: verbs return what happened, and tell a
//! [`Progress`] what is happening.

mod error;
mod history;
mod inspect;
mod list;
mod local;
mod progress;
mod pull;
mod remove;
mod resolve;
mod tag;
mod tee;

pub use error::{Error, Result, Trouble};
pub use history::{Entry, history};
pub use inspect::inspect;
pub use list::{Listed, list};
pub use local::{By, Found, Image, find, parse};
pub use progress::{Progress, Quiet, Step};
pub use pull::{Remote, pull};
pub use remove::{Removed, prune, remove};
pub use resolve::{PullPolicy, resolve};
pub use tag::tag;

pub use crate::store::{Session, Store};

use std::time::{SystemTime, UNIX_EPOCH};

/// Whether this process may do everything on this machine, or in its user namespace.
#[must_use]
pub fn is_root() -> bool {
    crate::sys::user::effective_uid() == 0
}

/// The time in seconds since 1970; 0 before that.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
