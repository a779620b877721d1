//! Mounting and unmounting.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags};

use super::{Error, Result};

/// What a mount allows, beyond what the filesystem itself does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allow {
    /// Changes.
    pub write: bool,
    /// Set-user-id and set-group-id programs, and file capabilities.
    pub suid: bool,
    /// Device files.
    pub dev: bool,
    /// Running programs.
    pub exec: bool,
}

/// What to do when files of a mount are still in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy {
    /// Leave it mounted: `EBUSY`.
    Refuse,
    /// Take it out of the tree at once; it ends with its last user.
    Detach,
}

/// Mounts a filesystem of type `fstype` on `target`; `source` is what mount tables show, `data`
/// the filesystem's own options.
///
/// # Errors
/// Those of mount(2); `EINVAL` for `data` with a NUL byte.
pub fn mount(source: &OsStr, target: &Path, fstype: &str, allow: Allow, data: &str) -> Result<()> {
    let args = || format!("{source:?}, {target:?}, {fstype:?}, {allow:?}, {data:?}");
    let c_data = CString::new(data).map_err(|_| Error::new("mount", args(), libc::EINVAL))?;
    let mut flags = MountFlags::empty();
    flags.set(MountFlags::RDONLY, !allow.write);
    flags.set(MountFlags::NOSUID, !allow.suid);
    flags.set(MountFlags::NODEV, !allow.dev);
    flags.set(MountFlags::NOEXEC, !allow.exec);
    rustix::mount::mount(source.as_bytes(), target, fstype, flags, c_data.as_c_str())
        .map_err(|errno| Error::new("mount", args(), errno.raw_os_error()))
}

/// Takes away the uppermost mount at `target`, which is not followed if it is a symbolic link.
///
/// # Errors
/// Those of umount2(2).
pub fn unmount(target: &Path, busy: Busy) -> Result<()> {
    let flags = match busy {
        Busy::Refuse => UnmountFlags::NOFOLLOW,
        Busy::Detach => UnmountFlags::NOFOLLOW | UnmountFlags::DETACH,
    };
    rustix::mount::unmount(target, flags)
        .map_err(|errno| Error::new("umount2", format!("{target:?}"), errno.raw_os_error()))
}
