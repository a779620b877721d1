//! What the kernel says of this process.

use rustix::process::{Resource, getrlimit};

/// How many files this process may have open (the soft limit); `None` when there is no limit.
#[must_use]
pub fn open_files_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// The user and group that files made by this process belong to.
#[must_use]
pub fn effective_ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}
