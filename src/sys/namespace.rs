//! Namespaces (namespaces(7)).

use std::os::fd::BorrowedFd;

use super::process::{self, Fork};
use super::{Error, Result};

/// The network of a new process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Net {
    /// One of its own, with nothing in it but a loopback interface that is off.
    Own,
    /// The one of its parent.
    Shared,
}

/// Makes a copy of this process as process 1 of a new pid namespace, in new UTS and IPC
/// namespaces. It shares this process' mounts until it leaves them.
pub fn fork_init(net: Net) -> Result<Fork> {
    let own_net = match net {
        Net::Own => libc::CLONE_NEWNET,
        Net::Shared => 0,
    };
    process::clone(libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | own_net)
}

/// Moves this process, which must have one thread, into a new user namespace without ids. It has
/// every capability there.
pub fn leave_user() -> Result<()> {
    leave(libc::CLONE_NEWUSER, "CLONE_NEWUSER")
}

/// Moves this process into a mount namespace that is a copy of the one it is in.
pub fn leave_mounts() -> Result<()> {
    leave(libc::CLONE_NEWNS, "CLONE_NEWNS")
}

fn leave(flag: libc::c_int, name: &str) -> Result<()> {
    // SAFETY: neither flag changes memory or descriptors that other threads see.
    match unsafe { libc::unshare(flag) } {
        0 => Ok(()),
        _ => Err(Error::from_io("unshare", name, &std::io::Error::last_os_error())),
    }
}

/// Names this host.
pub fn set_hostname(name: &str) -> Result<()> {
    rustix::system::sethostname(name.as_bytes())
        .map_err(|e| Error::new("sethostname", name, e.raw_os_error()))
}

/// Makes the mount at `root` the root of this mount namespace and of this process, and takes
/// everything else out of it.
pub fn pivot_root(root: BorrowedFd<'_>) -> Result<()> {
    process::enter_dir(root)?;
    // With both arguments the same, the old root lies on top of the new one (pivot_root(2)).
    rustix::process::pivot_root(".", ".")
        .map_err(|e| Error::new("pivot_root", "\".\", \".\"", e.raw_os_error()))?;
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)
        .map_err(|e| Error::new("umount2", "the old root", e.raw_os_error()))?;
    rustix::process::chdir("/").map_err(|e| Error::new("chdir", "/", e.raw_os_error()))
}
