//! Mounts by descriptor: made detached, set up, and attached to a place that is already open, so
//! that no path is walked twice (open_tree(2), fsmount(2), move_mount(2), mount_setattr(2)).

use std::ffi::CStr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
};

use super::{Error, Result};

/// Restrictions of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Nothing can be changed.
    pub read_only: bool,
    /// Device files cannot be opened.
    pub no_devices: bool,
    /// Set-user-id and set-group-id bits and file capabilities have no effect.
    pub no_setuid: bool,
    /// Nothing can be executed.
    pub no_exec: bool,
}

impl Limits {
    /// No device files: what everything in a container has but its devices.
    pub const NO_DEVICES: Self =
        Self { read_only: false, no_devices: true, no_setuid: false, no_exec: false };
    /// No devices, no set-user-id, no executing.
    pub const DATA: Self =
        Self { read_only: false, no_devices: true, no_setuid: true, no_exec: true };

    /// The same, and read-only.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }

    fn flags(self) -> MountAttrFlags {
        let mut flags = MountAttrFlags::empty();
        flags.set(MountAttrFlags::MOUNT_ATTR_RDONLY, self.read_only);
        flags.set(MountAttrFlags::MOUNT_ATTR_NODEV, self.no_devices);
        flags.set(MountAttrFlags::MOUNT_ATTR_NOSUID, self.no_setuid);
        flags.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, self.no_exec);
        flags
    }
}

/// Where mounts made in one namespace appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// What is done where these mounts were copied from is done here, and not the reverse.
    Receive,
    /// Nothing is passed on.
    Private,
}

/// Sets how all mounts of this namespace pass changes on.
pub fn set_propagation(propagation: Propagation) -> Result<()> {
    let (flags, name) = match propagation {
        Propagation::Receive => (MountPropagationFlags::DOWNSTREAM, "MS_SLAVE"),
        Propagation::Private => (MountPropagationFlags::PRIVATE, "MS_PRIVATE"),
    };
    rustix::mount::mount_change("/", flags | MountPropagationFlags::REC)
        .map_err(|e| Error::new("mount", format!("/, MS_REC | {name}"), e.raw_os_error()))
}

/// A detached mount of the file or tree at a path, with the mounts within it if `whole`.
pub fn copy_path(path: &Path, whole: bool) -> Result<OwnedFd> {
    rustix::mount::open_tree(rustix::fs::CWD, path, copy_flags(whole))
        .map_err(|e| Error::new("open_tree", path.display().to_string(), e.raw_os_error()))
}

/// A detached mount of an open file or tree, with the mounts within it if `whole`.
pub fn copy(file: BorrowedFd<'_>, whole: bool) -> Result<OwnedFd> {
    rustix::mount::open_tree(file, c"", copy_flags(whole) | OpenTreeFlags::AT_EMPTY_PATH)
        .map_err(|e| Error::new("open_tree", "an open file", e.raw_os_error()))
}

fn copy_flags(whole: bool) -> OpenTreeFlags {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, whole);
    flags
}

/// A detached mount of a new filesystem of the kernel's.
pub fn create(kind: &CStr, options: &[(&str, &str)], limits: Limits) -> Result<OwnedFd> {
    let named = |call: &'static str| {
        let args = format!("{} {options:?}", kind.to_string_lossy());
        move |e: Errno| Error::new(call, args, e.raw_os_error())
    };
    let context =
        rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(named("fsopen"))?;
    for (key, value) in options {
        let set = if value.is_empty() {
            rustix::mount::fsconfig_set_flag(context.as_fd(), *key)
        } else {
            rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)
        };
        set.map_err(named("fsconfig"))?;
    }
    rustix::mount::fsconfig_create(context.as_fd()).map_err(named("fsconfig"))?;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, limits.flags())
        .map_err(named("fsmount"))
}

/// Attaches a detached mount at an open file or directory.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", target, c"", flags)
        .map_err(|e| Error::new("move_mount", "", e.raw_os_error()))
}

/// Adds restrictions to a mount, and to those within it if `whole`.
pub fn limit(mount: BorrowedFd<'_>, limits: Limits, whole: bool) -> Result<()> {
    let attributes = libc::mount_attr {
        attr_set: u64::from(limits.flags().bits()),
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if whole { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is empty and NUL-terminated, the attributes are a whole structure of the
    // size given, and both are only read.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    match done {
        0 => Ok(()),
        _ => {
            let args = format!("{limits:?}");
            Err(Error::from_io("mount_setattr", args, &std::io::Error::last_os_error()))
        }
    }
}

/// Takes the mount at a path out of the namespace; it ends when nobody uses it any more.
pub fn detach(path: &Path) -> Result<()> {
    use rustix::mount::UnmountFlags;
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .map_err(|e| Error::new("umount2", path.display().to_string(), e.raw_os_error()))
}
