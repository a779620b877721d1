//! What the kernel says of this process.

use rustix::process::{Resource, getrlimit};

/// How many files this process may have open (the soft limit); `None` when there is no limit.
#[must_use]
pub fn open_files_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
