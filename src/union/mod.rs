//! The merged view and all overlay semantics, pure: no disk, no clock, no environment, no threads
//! of its own, no FUSE.
//!
//! The one statement of the semantics is `merge::merge_slots`.

use std::sync::Arc;

use crate::tree::{
    Attr, Errno, FsStats, Ino, Kind, Lower, Name, NewNode, Result, Seek, SetAttr, SyncMode, Upper,
    Xattr, XattrMode,
};

/// The layers of a view.
#[derive(Debug, Clone)]
pub struct Stack {
    /// The layers that are only read, bottom first. At least one, or an upper layer.
    pub lowers: Vec<Arc<dyn Lower>>,
    /// The layer that is written to; without one the view is read-only (`EROFS`).
    pub upper: Option<Arc<dyn Upper>>,
}

/// Who owns files in the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Owners {
    /// Whoever the layers say.
    #[default]
    Exact,
    /// All files belong to this user and group; a change of owner succeeds and changes nothing.
    /// For one who may use a single id only.
    Squashed {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
}

/// How a view behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Who owns files.
    pub owners: Owners,
}

/// A file of the view as it is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its inode number.
    pub ino: Ino,
    /// Its attributes.
    pub attr: Attr,
}

/// Who asks, as far as it matters for a file that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// File mode creation mask, applied unless the directory has a default ACL.
    pub umask: u16,
}

/// One name of a directory of the view.
#[derive(Debug, Clone, Copy)]
pub struct Dirent<'a> {
    /// The name; `.` and `..` too, hence bytes.
    pub name: &'a [u8],
    /// Its inode number.
    pub ino: Ino,
    /// What kind of file it is.
    pub kind: Kind,
    /// Where to go on after it: greater than 0, strictly ascending within a listing.
    pub next: u64,
}

/// How [`Union::rename`] treats what stands at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameMode {
    /// It is replaced.
    Replace,
    /// `EEXIST`.
    NoReplace,
    /// It goes to the source.
    Exchange,
}

/// A view of a stack of layers.
///
/// All methods may be called from many threads at once. Inode numbers passed in are those that
/// lookups gave out and that are not forgotten since; others give `ESTALE`.
#[derive(Debug)]
pub struct Union {
    _private: (),
}

impl Union {
    /// The view of `stack`.
    ///
    /// # Errors
    /// `EINVAL` for a stack of no layers; `EIO` when the root of a layer cannot be read.
    pub fn new(stack: Stack, options: Options) -> Result<Self> {
        let (_stack, _options) = (stack, options);
        Err(Errno::ENOSYS.into())
    }

    /// The file `name` in `parent`; counts one lookup on it. `ENOENT` when there is none.
    pub fn lookup(&self, parent: Ino, name: &Name) -> Result<Entry> {
        let (_parent, _name) = (parent, name);
        Err(Errno::ENOSYS.into())
    }

    /// Takes back `count` lookups.
    pub fn forget(&self, ino: Ino, count: u64) {
        let (_ino, _count) = (ino, count);
    }

    /// The attributes of a file.
    pub fn attr(&self, ino: Ino) -> Result<Attr> {
        let _ino = ino;
        Err(Errno::ENOSYS.into())
    }

    /// Changes attributes, copying the file up first.
    pub fn set_attr(&self, ino: Ino, change: &SetAttr) -> Result<Attr> {
        let (_ino, _change) = (ino, change);
        Err(Errno::ENOSYS.into())
    }

    /// The target of a symbolic link.
    pub fn readlink(&self, ino: Ino) -> Result<Box<[u8]>> {
        let _ino = ino;
        Err(Errno::ENOSYS.into())
    }

    /// Gives `sink` the names of `dir` from `offset` (0, or a [`Dirent::next`]) on, until it
    /// returns `false` (the entry was not taken) or the directory ends.
    pub fn list(
        &self,
        dir: Ino,
        offset: u64,
        sink: &mut dyn FnMut(Dirent<'_>) -> bool,
    ) -> Result<()> {
        let (_dir, _offset, _sink) = (dir, offset, sink);
        Err(Errno::ENOSYS.into())
    }

    /// As [`Union::list`], with what a lookup of each name would give. Every entry that `sink`
    /// takes counts one lookup, but for `.` and `..`.
    pub fn list_plus(
        &self,
        dir: Ino,
        offset: u64,
        sink: &mut dyn FnMut(Dirent<'_>, &Entry) -> bool,
    ) -> Result<()> {
        let (_dir, _offset, _sink) = (dir, offset, sink);
        Err(Errno::ENOSYS.into())
    }

    /// Makes a file of any kind. `new.mode` is as the caller asked for it, and its owner and
    /// xattrs are ignored: set-group-id directories, default ACLs and the mask of `caller` are
    /// applied here, and so is the mark of an opaque directory. Counts one lookup.
    pub fn make(
        &self,
        parent: Ino,
        name: &Name,
        new: &NewNode<'_>,
        caller: &Caller,
    ) -> Result<Entry> {
        let (_parent, _name, _new, _caller) = (parent, name, new, caller);
        Err(Errno::ENOSYS.into())
    }

    /// Gives a file another name. Counts one lookup.
    pub fn link(&self, ino: Ino, parent: Ino, name: &Name) -> Result<Entry> {
        let (_ino, _parent, _name) = (ino, parent, name);
        Err(Errno::ENOSYS.into())
    }

    /// Removes a name of a file that is no directory.
    pub fn unlink(&self, parent: Ino, name: &Name) -> Result<()> {
        let (_parent, _name) = (parent, name);
        Err(Errno::ENOSYS.into())
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, parent: Ino, name: &Name) -> Result<()> {
        let (_parent, _name) = (parent, name);
        Err(Errno::ENOSYS.into())
    }

    /// Moves or swaps files. `EXDEV` for a directory that lower layers have a part in.
    pub fn rename(&self, from: (Ino, &Name), to: (Ino, &Name), mode: RenameMode) -> Result<()> {
        let (_from, _to, _mode) = (from, to, mode);
        Err(Errno::ENOSYS.into())
    }

    /// Reads from a regular file. Fewer bytes than asked for at the end only.
    pub fn read(&self, ino: Ino, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let (_ino, _offset, _buf) = (ino, offset, buf);
        Err(Errno::ENOSYS.into())
    }

    /// Writes all of `data` to a regular file, copying it up first.
    pub fn write(&self, ino: Ino, offset: u64, data: &[u8]) -> Result<()> {
        let (_ino, _offset, _data) = (ino, offset, data);
        Err(Errno::ENOSYS.into())
    }

    /// fallocate(2).
    pub fn allocate(&self, ino: Ino, offset: u64, len: u64, mode: i32) -> Result<()> {
        let (_ino, _offset, _len, _mode) = (ino, offset, len, mode);
        Err(Errno::ENOSYS.into())
    }

    /// lseek(2) for data and holes.
    pub fn seek(&self, ino: Ino, offset: u64, seek: Seek) -> Result<u64> {
        let (_ino, _offset, _seek) = (ino, offset, seek);
        Err(Errno::ENOSYS.into())
    }

    /// copy_file_range(2); returns how many bytes were copied.
    pub fn copy_range(&self, from: (Ino, u64), to: (Ino, u64), len: u64) -> Result<u64> {
        let (_from, _to, _len) = (from, to, len);
        Err(Errno::ENOSYS.into())
    }

    /// fsync(2) or fdatasync(2) of a file or directory; what was never written is durable.
    pub fn sync(&self, ino: Ino, mode: SyncMode) -> Result<()> {
        let (_ino, _mode) = (ino, mode);
        Err(Errno::ENOSYS.into())
    }

    /// The value of an extended attribute.
    pub fn xattr(&self, ino: Ino, name: &[u8]) -> Result<Box<[u8]>> {
        let (_ino, _name) = (ino, name);
        Err(Errno::ENOSYS.into())
    }

    /// All extended attributes.
    pub fn xattrs(&self, ino: Ino) -> Result<Vec<Xattr>> {
        let _ino = ino;
        Err(Errno::ENOSYS.into())
    }

    /// Sets an extended attribute, copying the file up first.
    pub fn set_xattr(&self, ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        let (_ino, _name, _value, _mode) = (ino, name, value, mode);
        Err(Errno::ENOSYS.into())
    }

    /// Removes an extended attribute, copying the file up first.
    pub fn remove_xattr(&self, ino: Ino, name: &[u8]) -> Result<()> {
        let (_ino, _name) = (ino, name);
        Err(Errno::ENOSYS.into())
    }

    /// Sizes: the upper layer's, or without one the sum of the layers' and nothing free.
    pub fn stats(&self) -> Result<FsStats> {
        Err(Errno::ENOSYS.into())
    }
}
