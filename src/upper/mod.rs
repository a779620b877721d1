//! Layers that are directories on disk: [`UpperDir`], which is written to, and [`LowerDir`],
//! which is only read.
//!
//! ```text
//! tree    which nodes are in use, and under which names     fds     open files, bounded
//! dir     reading: slot, list, attributes, bytes            mark    whiteouts, opaque, origin
//! work    staging, whiteouts, clearing up                   index   hard links over copy-up
//! open    checks, locks, what the filesystem can do
//! birth   making and copying up                             change  link, remove, rename
//! ```
//!
//! A node is an inode number. The kernel is asked by directory and name; what is opened that way
//! is used only if it has the inode number that was meant. What is on disk is a valid upper
//! directory of the kernel's overlayfs; `docs/FORMATS.md` describes it.
//!
//! Nothing here decides what the merged view shows.

mod birth;
mod change;
mod dir;
mod error;
mod fds;
mod index;
mod lower_dir;
mod mark;
mod open;
mod tree;
mod work;

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use crate::sys::at::{self, Access, FileType, NewTime};
use crate::sys::data;
use crate::sys::xattr::{self, Of, Set};
use crate::tree::{
    self as seam, Attr, CopyUp, Errno, FsStats, LayerId, Leave, Listed, Lower, Name, NewNode, Node,
    NodeId, Origin, Place, Renamed, Seek, SetAttr, Slot, SyncMode, Time, TimeChange, Upper, Xattr,
    XattrMode,
};

pub use error::{Error, Result};
pub use fds::FdCache;
pub use lower_dir::LowerDir;
pub use mark::DotWh;
pub use open::{MarkFamily, UpperOptions, WhiteoutForm};

use dir::{Dir, Manner};
use work::Work;

/// A directory on disk that is written to as the upper layer of a view.
///
/// The two directories stay locked until this is dropped.
#[derive(Debug)]
pub struct UpperDir {
    dir: Dir,
    work: Work,
    /// Open, and so locked.
    _lock: File,
}

impl UpperDir {
    /// Opens the upper directory at `upper` with the work directory at `work`: two directories
    /// of one filesystem, neither within the other. Takes over what an earlier mount left, also
    /// one that died. The caller sets the file mode creation mask of the process to 0 first; it
    /// is slower otherwise.
    ///
    /// # Errors
    /// [`Error::InUse`] when a live mount uses one of the directories; [`Error::Apart`] and
    /// [`Error::Unsuitable`] when they cannot be used; else those of the system calls.
    pub fn open(upper: &Path, work: &Path, options: &UpperOptions) -> Result<Self> {
        let open::Opened { root, work, index, lock } = open::open(upper, work, options)?;
        let manner = Manner {
            fds: options.fds.clone(),
            dot_wh: work.dot_wh,
            access: Access::Write,
            specials: work.family == Some(mark::Family::Trusted),
            index,
        };
        Ok(Self { dir: Dir::new(root, manner)?, work, _lock: lock })
    }

    fn change_attr(&self, node: NodeId, change: &SetAttr) -> Result<Attr> {
        let open = match change.size {
            Some(size) => {
                let file = self.dir.file(node, Access::Write)?;
                data::truncate(file.as_fd(), size)?;
                file
            }
            None => self.dir.open(node)?,
        };
        let fd = open.as_fd();
        if change.uid.is_some() || change.gid.is_some() {
            at::fchown(fd, change.uid, change.gid)?;
        }
        // After the owner: a change of that clears bits.
        if let Some(mode) = change.mode {
            if open.kind == FileType::Symlink {
                return Err(Error::Refused(Errno::ENOTSUP));
            }
            at::fchmod(fd, mode)?;
        }
        if change.atime.is_some() || change.mtime.is_some() {
            at::futimens(fd, new_time(change.atime), new_time(change.mtime))?;
        }
        Ok(self.dir.attr_of(&at::fstat(fd)?))
    }

    fn find_indexed(&self, origin: Origin) -> Result<Option<Node>> {
        let Some(id) = self.dir.index.node(origin) else { return Ok(None) };
        let Some((dir, name)) = self.dir.index.place(id) else { return Ok(None) };
        let stat = at::stat(dir, std::os::unix::ffi::OsStrExt::from_bytes(&name))?;
        Ok(stat.map(|stat| Node {
            id,
            attr: self.dir.attr_of(&stat),
            opaque: false,
            implied: false,
            origin: Some(origin),
        }))
    }

    fn put_xattr(&self, node: NodeId, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        let how = match mode {
            XattrMode::Any => Set::Any,
            XattrMode::Create => Set::Create,
            XattrMode::Replace => Set::Replace,
        };
        let open = self.dir.open(node)?;
        Ok(xattr::set(Of::Fd(open.as_fd()), &mark::stored(name), value, how)?)
    }

    fn drop_xattr(&self, node: NodeId, name: &[u8]) -> Result<()> {
        let open = self.dir.open(node)?;
        Ok(xattr::remove(Of::Fd(open.as_fd()), &mark::stored(name))?)
    }

    fn write(&self, node: NodeId, offset: u64, bytes: &[u8]) -> Result<()> {
        let file = self.dir.file(node, Access::Write)?;
        Ok(data::write_at(file.as_fd(), offset, bytes)?)
    }

    fn reserve(&self, node: NodeId, offset: u64, len: u64, mode: i32) -> Result<()> {
        let file = self.dir.file(node, Access::Write)?;
        Ok(data::allocate(file.as_fd(), offset, len, mode)?)
    }

    fn copy(&self, from: (NodeId, u64), to: (NodeId, u64), len: u64) -> Result<u64> {
        let source = self.dir.file(from.0, Access::Read)?;
        let target = self.dir.file(to.0, Access::Write)?;
        Ok(data::copy_range((source.as_fd(), from.1), (target.as_fd(), to.1), len)?)
    }

    fn make_durable(&self, node: NodeId, mode: SyncMode) -> Result<()> {
        if self.work.volatile {
            return Ok(());
        }
        let open = self.dir.open(node)?;
        match open.kind {
            FileType::Directory => {
                let readable = at::reopen_dir(open.as_fd())?;
                Ok(data::sync_all(readable.as_fd())?)
            }
            FileType::RegularFile => {
                let file = self.dir.file(node, Access::Read)?;
                match mode {
                    SyncMode::Data => Ok(data::sync_data(file.as_fd())?),
                    SyncMode::All => Ok(data::sync_all(file.as_fd())?),
                }
            }
            // It has no bytes, and goes to the disk with its directory.
            _ => Ok(()),
        }
    }
}

fn new_time(change: Option<TimeChange>) -> NewTime {
    match change {
        None => NewTime::Omit,
        Some(TimeChange::Now) => NewTime::Now,
        Some(TimeChange::To(Time { secs, nanos })) => NewTime::To((secs, nanos)),
    }
}

impl Lower for UpperDir {
    fn id(&self) -> LayerId {
        self.dir.id()
    }

    fn root(&self) -> seam::Result<Node> {
        Ok(self.dir.root()?)
    }

    fn slot(&self, dir: NodeId, name: &Name) -> seam::Result<Slot> {
        Ok(self.dir.slot(dir, name)?)
    }

    fn list(&self, dir: NodeId) -> seam::Result<Vec<Listed>> {
        Ok(self.dir.list(dir)?)
    }

    fn attr(&self, node: NodeId) -> seam::Result<Attr> {
        Ok(self.dir.attr(node)?)
    }

    fn readlink(&self, node: NodeId) -> seam::Result<Box<[u8]>> {
        Ok(self.dir.readlink(node)?)
    }

    fn xattr(&self, node: NodeId, name: &[u8]) -> seam::Result<Box<[u8]>> {
        Ok(self.dir.xattr(node, name)?)
    }

    fn xattrs(&self, node: NodeId) -> seam::Result<Vec<Xattr>> {
        Ok(self.dir.xattrs(node)?)
    }

    fn read_at(&self, node: NodeId, offset: u64, buf: &mut [u8]) -> seam::Result<usize> {
        Ok(self.dir.read_at(node, offset, buf)?)
    }

    fn seek(&self, node: NodeId, offset: u64, seek: Seek) -> seam::Result<u64> {
        Ok(self.dir.seek(node, offset, seek)?)
    }

    fn hold(&self, node: NodeId, dir: NodeId, name: &Name) {
        self.dir.tree.hold(node, dir, name);
    }

    fn forget(&self, node: NodeId, count: u64) {
        self.dir.forget(node, count);
    }

    fn stats(&self) -> seam::Result<FsStats> {
        Ok(self.dir.stats()?)
    }
}

impl Upper for UpperDir {
    fn make(&self, dir: NodeId, name: &Name, new: &NewNode<'_>) -> seam::Result<Node> {
        Ok(self.make_file(dir, name, new)?)
    }

    fn copy_up(&self, place: Place<'_>, from: &CopyUp<'_>) -> seam::Result<Node> {
        Ok(self.copy_file_up(place, from)?)
    }

    fn indexed(&self, origin: Origin) -> seam::Result<Option<Node>> {
        Ok(self.find_indexed(origin)?)
    }

    fn hold_nameless(&self, node: NodeId) {
        self.dir.tree.hold_nameless(node);
    }

    fn link(&self, node: NodeId, dir: NodeId, name: &Name) -> seam::Result<Attr> {
        Ok(self.link_file(node, dir, name)?)
    }

    fn remove(&self, dir: NodeId, name: &Name, leave: Leave) -> seam::Result<()> {
        Ok(self.remove_name(dir, name, leave)?)
    }

    fn rename(&self, renamed: &Renamed<'_>) -> seam::Result<()> {
        Ok(self.rename_file(renamed)?)
    }

    fn set_attr(&self, node: NodeId, change: &SetAttr) -> seam::Result<Attr> {
        Ok(self.change_attr(node, change)?)
    }

    fn set_xattr(
        &self,
        node: NodeId,
        name: &[u8],
        value: &[u8],
        mode: XattrMode,
    ) -> seam::Result<()> {
        Ok(self.put_xattr(node, name, value, mode)?)
    }

    fn remove_xattr(&self, node: NodeId, name: &[u8]) -> seam::Result<()> {
        Ok(self.drop_xattr(node, name)?)
    }

    fn write_at(&self, node: NodeId, offset: u64, data: &[u8]) -> seam::Result<()> {
        Ok(self.write(node, offset, data)?)
    }

    fn allocate(&self, node: NodeId, offset: u64, len: u64, mode: i32) -> seam::Result<()> {
        Ok(self.reserve(node, offset, len, mode)?)
    }

    fn copy_range(&self, from: (NodeId, u64), to: (NodeId, u64), len: u64) -> seam::Result<u64> {
        Ok(self.copy(from, to, len)?)
    }

    fn sync(&self, node: NodeId, mode: SyncMode) -> seam::Result<()> {
        Ok(self.make_durable(node, mode)?)
    }
}
