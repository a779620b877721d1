//! How a view is mounted.

use std::ffi::OsString;
use std::num::NonZeroUsize;

use crate::sys::mount::Allow;

/// Who carries out the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Means {
    /// This process where it may, else the helper.
    #[default]
    Auto,
    /// This process: for root, and for root of a user namespace.
    Direct,
    /// The set-user-id program `fusermount3`: for a mount that an unprivileged user makes in the
    /// namespace of the host.
    Helper,
}

/// How a view is mounted.
///
/// Permissions are always checked by the kernel, from the modes, owners and ACLs that the view
/// shows (`default_permissions`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// What mount tables show as the source: the image.
    pub source: OsString,
    /// The filesystem type is shown as `fuse.` with this behind it.
    pub subtype: String,
    /// Refuse changes (`EROFS`) before they get here.
    pub read_only: bool,
    /// Let other users in, not only the one who mounts. Through the helper, this needs
    /// `user_allow_other` in /etc/fuse.conf.
    pub allow_other: bool,
    /// Honour set-user-id and set-group-id bits and file capabilities.
    pub suid: bool,
    /// Honour device files.
    pub dev: bool,
    /// Allow programs to be run.
    pub exec: bool,
    /// How many threads serve requests, at most 64; each holds a buffer of about 1 MiB.
    pub threads: NonZeroUsize,
    /// Who carries out the mount.
    pub means: Means,
}

impl MountOptions {
    /// The threads for a machine of this many processors: two at least, so that a request that
    /// waits for the network delays no other; four at most, as more gained nothing.
    fn threads_for(processors: usize) -> NonZeroUsize {
        NonZeroUsize::new(processors.clamp(2, 4)).unwrap_or(NonZeroUsize::MIN)
    }

    pub(super) fn allow(&self) -> Allow {
        Allow { write: !self.read_only, suid: self.suid, dev: self.dev, exec: self.exec }
    }
}

impl Default for MountOptions {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            source: "mica".into(),
            subtype: "mica".to_owned(),
            read_only: false,
            allow_other: false,
            suid: false,
            dev: false,
            exec: true,
            threads: Self::threads_for(processors),
            means: Means::Auto,
        }
    }
}
