//! A file that does not exist yet.

use super::Device;

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewKind<'a> {
    /// An empty regular file.
    File,
    /// An empty directory. `opaque` hides what lower layers have at its path.
    Directory {
        /// Whether lower layers have something at its path that must stay hidden.
        opaque: bool,
    },
    /// A symbolic link with this target: 1 to 4,095 bytes, no NUL.
    Symlink(&'a [u8]),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
}

/// A file to make, with everything it has from its first moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewNode<'a> {
    /// What to make.
    pub kind: NewKind<'a>,
    /// Permission bits, exactly: no umask is applied below this point.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes, by full name: an inherited ACL, for one.
    pub xattrs: &'a [super::Xattr],
}
