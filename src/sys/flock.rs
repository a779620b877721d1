//! Advisory locks on open files (flock(2)): they go when the last descriptor is closed, also when
//! the process is killed.

use std::fs::File;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Error, Result};

/// Who else may hold the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Others who share it.
    Shared,
    /// Nobody.
    Exclusive,
}

/// Locks `file`, waiting until it can be had. `what` names the file in an error.
///
/// # Errors
/// Those of flock(2).
pub fn lock(file: &File, share: Share, what: &str) -> Result<()> {
    let operation = match share {
        Share::Shared => FlockOperation::LockShared,
        Share::Exclusive => FlockOperation::LockExclusive,
    };
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::new("flock", what, errno.raw_os_error())),
        }
    }
}

/// Locks `file` if that can be done at once; says whether it was. `what` names the file in an
/// error.
///
/// # Errors
/// Those of flock(2), but for `EWOULDBLOCK`.
pub fn try_lock(file: &File, share: Share, what: &str) -> Result<bool> {
    let operation = match share {
        Share::Shared => FlockOperation::NonBlockingLockShared,
        Share::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    match flock(file, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(false),
        Err(errno) => Err(Error::new("flock", what, errno.raw_os_error())),
    }
}
