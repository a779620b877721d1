//! A plain directory as a layer that is only read.

use std::path::Path;

use super::dir::{Dir, Manner};
use super::error::Result;
use super::fds::FdCache;
use super::index::Index;
use super::mark::DotWh;
use crate::sys::at::{self, Access};
use crate::tree::{
    self, Attr, FsStats, LayerId, Listed, Lower, Name, Node, NodeId, Seek, Slot, Xattr,
};

/// A plain directory as a layer: marks of every dialect are read, nothing is ever written.
///
/// It must not change while it is in use.
#[derive(Debug)]
pub struct LowerDir {
    dir: Dir,
}

impl LowerDir {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// Those of open(2) and statx(2).
    pub fn open(path: &Path, dot_wh: DotWh, fds: &FdCache) -> Result<Self> {
        let manner = Manner {
            fds: fds.clone(),
            dot_wh,
            access: Access::Read,
            specials: false,
            index: Index::default(),
        };
        Ok(Self { dir: Dir::new(at::open_dir(path)?, manner)? })
    }
}

impl Lower for LowerDir {
    fn id(&self) -> LayerId {
        self.dir.id()
    }

    fn root(&self) -> tree::Result<Node> {
        Ok(self.dir.root()?)
    }

    fn slot(&self, dir: NodeId, name: &Name) -> tree::Result<Slot> {
        Ok(self.dir.slot(dir, name)?)
    }

    fn list(&self, dir: NodeId) -> tree::Result<Vec<Listed>> {
        Ok(self.dir.list(dir)?)
    }

    fn attr(&self, node: NodeId) -> tree::Result<Attr> {
        Ok(self.dir.attr(node)?)
    }

    fn readlink(&self, node: NodeId) -> tree::Result<Box<[u8]>> {
        Ok(self.dir.readlink(node)?)
    }

    fn xattr(&self, node: NodeId, name: &[u8]) -> tree::Result<Box<[u8]>> {
        Ok(self.dir.xattr(node, name)?)
    }

    fn xattrs(&self, node: NodeId) -> tree::Result<Vec<Xattr>> {
        Ok(self.dir.xattrs(node)?)
    }

    fn read_at(&self, node: NodeId, offset: u64, buf: &mut [u8]) -> tree::Result<usize> {
        Ok(self.dir.read_at(node, offset, buf)?)
    }

    fn seek(&self, node: NodeId, offset: u64, seek: Seek) -> tree::Result<u64> {
        Ok(self.dir.seek(node, offset, seek)?)
    }

    fn hold(&self, node: NodeId, dir: NodeId, name: &Name) {
        self.dir.tree.hold(node, dir, name);
    }

    fn forget(&self, node: NodeId, count: u64) {
        self.dir.forget(node, count);
    }

    fn stats(&self) -> tree::Result<FsStats> {
        Ok(self.dir.stats()?)
    }
}
