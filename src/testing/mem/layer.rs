//! A layer in memory that is only read.

use super::nodes::{Named, Nodes, ROOT};
use crate::tree::{
    Attr, FsStats, LayerId, Listed, Lower, Name, NewNode, Node, NodeId, Result, Seek, Slot, Time,
    Xattr,
};

/// A layer in memory that is built once and then only read.
#[derive(Debug)]
pub struct MemLayer {
    id: LayerId,
    nodes: Nodes,
}

impl MemLayer {
    /// The root directory.
    pub const ROOT: NodeId = ROOT;

    /// A layer with nothing but a root directory.
    #[must_use]
    pub fn new(id: LayerId) -> Self {
        Self { id, nodes: Nodes::new() }
    }

    /// Adds a file.
    ///
    /// # Errors
    /// `ESTALE`, `ENOTDIR` for what is no directory.
    pub fn add(&mut self, dir: NodeId, name: &Name, new: &NewNode<'_>) -> Result<NodeId> {
        self.nodes.dir(dir)?;
        let node = self.nodes.add(new);
        self.nodes.put(dir, name, Named::Node(node))?;
        Ok(node)
    }

    /// Gives a file another name.
    ///
    /// # Errors
    /// `ESTALE`, `ENOTDIR` for what is no directory.
    pub fn link(&mut self, node: NodeId, dir: NodeId, name: &Name) -> Result<()> {
        self.nodes.put(dir, name, Named::Node(node))
    }

    /// Says that a name is deleted.
    ///
    /// # Errors
    /// `ESTALE`, `ENOTDIR` for what is no directory.
    pub fn whiteout(&mut self, dir: NodeId, name: &Name) -> Result<()> {
        self.nodes.put(dir, name, Named::Whiteout)
    }

    /// Puts bytes into a regular file.
    ///
    /// # Errors
    /// `EISDIR`, `EINVAL` for what is no regular file.
    pub fn write(&mut self, node: NodeId, bytes: &[u8]) -> Result<()> {
        self.nodes.bytes_mut(node)?.write_at(0, bytes)
    }

    /// Changes the attributes that are no matter of content: mode, owner and times.
    ///
    /// # Errors
    /// `ESTALE` when there is no such file.
    pub fn set(&mut self, node: NodeId, mode: u16, owner: (u32, u32), time: Time) -> Result<()> {
        let attr = &mut self.nodes.get_mut(node)?.attr;
        (attr.mode, attr.uid, attr.gid) = (mode, owner.0, owner.1);
        (attr.atime, attr.mtime, attr.ctime) = (time, time, time);
        Ok(())
    }

    /// Marks the root as opaque.
    ///
    /// # Errors
    /// Never; the root exists.
    pub fn set_root_opaque(&mut self) -> Result<()> {
        self.nodes.get_mut(ROOT)?.opaque = true;
        Ok(())
    }
}

impl Lower for MemLayer {
    fn id(&self) -> LayerId {
        self.id
    }

    fn root(&self) -> Result<Node> {
        self.nodes.node(ROOT)
    }

    fn slot(&self, dir: NodeId, name: &Name) -> Result<Slot> {
        self.nodes.slot(dir, name)
    }

    fn list(&self, dir: NodeId) -> Result<Vec<Listed>> {
        self.nodes.list(dir)
    }

    fn attr(&self, node: NodeId) -> Result<Attr> {
        self.nodes.attr(node)
    }

    fn readlink(&self, node: NodeId) -> Result<Box<[u8]>> {
        self.nodes.readlink(node)
    }

    fn xattr(&self, node: NodeId, name: &[u8]) -> Result<Box<[u8]>> {
        self.nodes.xattr(node, name)
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        self.nodes.xattrs(node)
    }

    fn read_at(&self, node: NodeId, offset: u64, buf: &mut [u8]) -> Result<usize> {
        Ok(self.nodes.bytes(node)?.read_at(offset, buf))
    }

    fn seek(&self, node: NodeId, offset: u64, seek: Seek) -> Result<u64> {
        self.nodes.bytes(node)?.seek(offset, seek)
    }

    fn stats(&self) -> Result<FsStats> {
        Ok(FsStats { block_size: 4096, blocks: 1000, files: 1000, ..FsStats::default() })
    }
}
