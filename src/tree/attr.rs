//! What is known of a file besides its name and its bytes.

/// The seven kinds of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// The two numbers of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Device {
    /// The driver.
    pub major: u32,
    /// The unit.
    pub minor: u32,
}

/// A moment: seconds since 1970-01-01T00:00:00Z, negative before it, and the nanoseconds
/// (0 to 999,999,999) that follow that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub secs: i64,
    /// Nanoseconds after `secs`.
    pub nanos: u32,
}

/// The attributes of a file, as stat(2) gives them, without the inode number: that is a matter
/// of the merged view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// What kind of file it is.
    pub kind: Kind,
    /// Permission bits with set-user-id, set-group-id and sticky: `0..=0o7777`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes; of a symbolic link, the length of its target.
    pub size: u64,
    /// Space taken, in units of 512 bytes.
    pub blocks: u64,
    /// Number of names; 1 for a directory, which tells programs not to infer from it.
    pub nlink: u32,
    /// The device, for [`Kind::CharDevice`] and [`Kind::BlockDevice`].
    pub device: Device,
    /// Last read.
    pub atime: Time,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of content or attributes.
    pub ctime: Time,
}

/// A new value for a time of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeChange {
    /// The moment the change is carried out.
    Now,
    /// This moment.
    To(Time),
}

/// Which attributes to change, and to what; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetAttr {
    /// New permission bits, `0..=0o7777`.
    pub mode: Option<u16>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New length in bytes; what is added reads as zeros.
    pub size: Option<u64>,
    /// New time of last read.
    pub atime: Option<TimeChange>,
    /// New time of last change of content.
    pub mtime: Option<TimeChange>,
}
