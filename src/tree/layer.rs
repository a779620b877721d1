//! The seams: what the union asks of a layer.

use std::fmt;

use super::{Attr, LayerId, Listed, Name, NewNode, Node, NodeId, Origin, Result, SetAttr, Slot};

/// An extended attribute: its full name (`user.mime_type`) and its value.
pub type Xattr = (Box<[u8]>, Box<[u8]>);

/// What [`Lower::seek`] looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// The next byte that is stored.
    Data,
    /// The next byte that is not stored; the end of the file is one.
    Hole,
}

/// Sizes of a filesystem, in the terms of statvfs(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FsStats {
    /// Bytes to a block, the unit of the three numbers that follow.
    pub block_size: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks that are free.
    pub free: u64,
    /// Blocks that are free for anyone but root.
    pub available: u64,
    /// Files in all.
    pub files: u64,
    /// Files that can still be made.
    pub files_free: u64,
}

/// A layer, seen alone and only read.
///
/// Calls may come from many threads at once. `dir` and `node` are ids that this layer gave
/// out; others lead to `ESTALE` or `EIO`, never to a panic. No call follows a symbolic link.
pub trait Lower: fmt::Debug + Send + Sync {
    /// Which layer this is.
    fn id(&self) -> LayerId;

    /// The root of the layer, a directory. It is held from the start.
    ///
    /// # Errors
    /// `EIO` when the layer cannot be read.
    fn root(&self) -> Result<Node>;

    /// What the layer says of `name` in `dir`.
    ///
    /// # Errors
    /// `EIO` when the layer cannot be read or does not pass verification.
    fn slot(&self, dir: NodeId, name: &Name) -> Result<Slot>;

    /// Every name that the layer has something to say of in `dir`, whiteouts too, in ascending
    /// order of [`Listed::position`].
    ///
    /// # Errors
    /// As [`Lower::slot`].
    fn list(&self, dir: NodeId) -> Result<Vec<Listed>>;

    /// The attributes of `node`.
    ///
    /// # Errors
    /// As [`Lower::slot`].
    fn attr(&self, node: NodeId) -> Result<Attr>;

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// `EINVAL` when `node` is none.
    fn readlink(&self, node: NodeId) -> Result<Box<[u8]>>;

    /// The value of an extended attribute.
    ///
    /// # Errors
    /// `ENODATA` when there is none of this name; `ENOTSUP` when the layer has none at all.
    fn xattr(&self, node: NodeId, name: &[u8]) -> Result<Box<[u8]>>;

    /// All extended attributes. Marks that the layer itself uses to say something of a slot
    /// (opaque, origin) are not among them.
    ///
    /// # Errors
    /// As [`Lower::slot`].
    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>>;

    /// Reads into `buf` from byte `offset` of a regular file. Returns how many bytes were read:
    /// fewer than asked for at the end of the file only, and 0 from there on.
    ///
    /// # Errors
    /// `EIO` when the bytes cannot be had or do not pass verification.
    fn read_at(&self, node: NodeId, offset: u64, buf: &mut [u8]) -> Result<usize>;

    /// The first byte at or after `offset` that is what `seek` looks for.
    ///
    /// # Errors
    /// `ENXIO` when `offset` is at or past the end, or when there is no more data.
    fn seek(&self, node: NodeId, offset: u64, seek: Seek) -> Result<u64>;

    /// From now on the caller uses `node`, which it found as `name` in `dir`. Each call is given
    /// back by one [`Lower::forget`]. In between the id stays valid, also when every name of it
    /// is removed. A layer whose ids are always valid has nothing to do.
    /// Names that [`Upper::rename`] changes are not told again.
    fn hold(&self, node: NodeId, dir: NodeId, name: &Name) {
        let (_node, _dir, _name) = (node, dir, name);
    }

    /// Takes back `count` calls of [`Lower::hold`].
    fn forget(&self, node: NodeId, count: u64) {
        let (_node, _count) = (node, count);
    }

    /// Sizes of the filesystem that holds the layer.
    ///
    /// # Errors
    /// `EIO` when they cannot be had.
    fn stats(&self) -> Result<FsStats>;
}

/// Where a copied-up file goes.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// Under this name in this directory of the upper layer. What stands there, if anything, is
    /// a whiteout, and is replaced.
    Entry {
        /// The directory.
        dir: NodeId,
        /// The name.
        name: &'a Name,
    },
    /// Nowhere: every name of the file is removed already, but it is still in use.
    Orphan,
}

/// The bytes of a file that is copied up.
///
/// Read by the upper layer, which decides how to write them.
pub trait Data {
    /// As [`Lower::read_at`].
    ///
    /// # Errors
    /// As [`Lower::read_at`].
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize>;

    /// As [`Lower::seek`].
    ///
    /// # Errors
    /// As [`Lower::seek`].
    fn seek(&self, offset: u64, seek: Seek) -> Result<u64>;
}

/// A lower file to copy up.
#[derive(Clone, Copy)]
pub struct CopyUp<'a> {
    /// Kind, mode, owner, times, size and device, all kept.
    pub attr: &'a Attr,
    /// Extended attributes, all kept.
    pub xattrs: &'a [Xattr],
    /// The target, of a symbolic link; else empty.
    pub target: &'a [u8],
    /// The bytes, of a regular file; else `None`.
    pub data: Option<&'a dyn Data>,
    /// How many of the bytes to copy: a file that is about to be cut needs no more.
    pub keep: u64,
    /// What to record as the origin.
    pub origin: Origin,
    /// Record the new file in the index of hard links too, so that the other names of the lower
    /// file find it: for a lower file with more than one name.
    pub index: bool,
}

/// What stays in the upper layer where a name was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Nothing: no lower layer has the name.
    Nothing,
    /// A whiteout: a lower layer has the name.
    Whiteout,
}

/// Whether a rename moves one file or swaps two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// The target, if there is one, is replaced; this stays at the source.
    No(Leave),
    /// Source and target change places.
    Yes,
}

/// A rename within the upper layer. Both ends are directories of the upper layer.
#[derive(Debug, Clone, Copy)]
pub struct Renamed<'a> {
    /// The directory it is in.
    pub from_dir: NodeId,
    /// Its name.
    pub from: &'a Name,
    /// The directory it goes to.
    pub to_dir: NodeId,
    /// Its name there.
    pub to: &'a Name,
    /// Move or swap.
    pub exchange: Exchange,
    /// Mark the directory that is moved as opaque first: a lower layer has something at its new
    /// path that must not show through. For a swap this goes for both.
    pub opaque: bool,
}

/// What an extended attribute may find in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XattrMode {
    /// Anything.
    Any,
    /// Nothing, else `EEXIST`.
    Create,
    /// A value, else `ENODATA`.
    Replace,
}

/// What must be on the disk when [`Upper::sync`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// The bytes and what is needed to read them.
    Data,
    /// Bytes and attributes.
    All,
}

/// The layer that is written to.
///
/// Every call that changes names is atomic: after a crash the layer holds the state before it or
/// after it. Whether a change is allowed, and what marks it leaves, is decided by the union; the
/// upper layer carries it out, and so needs to know no other layer. A name that holds a whiteout
/// is free for [`Upper::make`], [`Upper::link`] and as a target of [`Upper::rename`].
///
/// Error numbers are those of the system call of the same name.
pub trait Upper: Lower {
    /// Makes a file; what stands at `name`, if anything, is a whiteout, and is replaced.
    ///
    /// # Errors
    /// `EEXIST` when the name is taken, `ENOSPC`, `EPERM` for a device without privilege.
    fn make(&self, dir: NodeId, name: &Name, new: &NewNode<'_>) -> Result<Node>;

    /// Copies a lower file up. Nobody sees it before it is complete. The times of the directory
    /// stay as they are: for those who see the merged view nothing happened to it.
    ///
    /// # Errors
    /// Those of reading the lower file and of writing the new one.
    fn copy_up(&self, place: Place<'_>, from: &CopyUp<'_>) -> Result<Node>;

    /// The upper file that was copied up from `origin` with [`CopyUp::index`], under whatever
    /// name, now or in an earlier mount.
    ///
    /// # Errors
    /// `EIO` when the index cannot be read.
    fn indexed(&self, origin: Origin) -> Result<Option<Node>>;

    /// As [`Lower::hold`], of a node that came from [`Upper::indexed`] or [`Place::Orphan`]: in
    /// this layer it has no name, or none that the caller knows.
    fn hold_nameless(&self, node: NodeId);

    /// Gives `node` another name. Returns its attributes.
    ///
    /// # Errors
    /// `EEXIST`, `EMLINK`, `EPERM`.
    fn link(&self, node: NodeId, dir: NodeId, name: &Name) -> Result<Attr>;

    /// Removes a name, of a file or of a directory that the union found empty in the merged view:
    /// whiteouts in it go with it. When the layer does not have the name, this only leaves the
    /// whiteout.
    ///
    /// # Errors
    /// `ENOTEMPTY` when the directory holds more than whiteouts.
    fn remove(&self, dir: NodeId, name: &Name, leave: Leave) -> Result<()>;

    /// Moves or swaps files. A directory that is replaced was found empty in the merged view.
    ///
    /// # Errors
    /// Those of renameat2(2).
    fn rename(&self, renamed: &Renamed<'_>) -> Result<()>;

    /// Changes attributes and returns all of them as they are then.
    ///
    /// # Errors
    /// Those of chmod(2), chown(2), truncate(2), utimensat(2).
    fn set_attr(&self, node: NodeId, change: &SetAttr) -> Result<Attr>;

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// Those of setxattr(2).
    fn set_xattr(&self, node: NodeId, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()>;

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// `ENODATA` when there is none of this name.
    fn remove_xattr(&self, node: NodeId, name: &[u8]) -> Result<()>;

    /// Writes all of `data` at byte `offset` of a regular file.
    ///
    /// # Errors
    /// `ENOSPC`, `EFBIG`, `EDQUOT`, `EIO`.
    fn write_at(&self, node: NodeId, offset: u64, data: &[u8]) -> Result<()>;

    /// fallocate(2) with `mode` as the kernel defines it.
    ///
    /// # Errors
    /// Those of fallocate(2).
    fn allocate(&self, node: NodeId, offset: u64, len: u64, mode: i32) -> Result<()>;

    /// Copies up to `len` bytes between two files of this layer, sharing storage where the
    /// filesystem can. Returns how many were copied.
    ///
    /// # Errors
    /// Those of copy_file_range(2).
    fn copy_range(&self, from: (NodeId, u64), to: (NodeId, u64), len: u64) -> Result<u64>;

    /// Makes a file or directory durable.
    ///
    /// # Errors
    /// `EIO`, `ENOSPC`.
    fn sync(&self, node: NodeId, mode: SyncMode) -> Result<()>;
}

impl fmt::Debug for CopyUp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyUp")
            .field("attr", self.attr)
            .field("keep", &self.keep)
            .field("origin", &self.origin)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}
