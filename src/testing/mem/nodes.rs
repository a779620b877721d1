//! The files of a layer in memory.

use std::collections::{BTreeMap, HashMap};

use super::bytes::Bytes;
use crate::tree::{
    Attr, Device, Errno, Kind, Listed, Name, NewKind, NewNode, Node, NodeId, Origin, Result, Slot,
    Time, Xattr,
};

pub(super) const ROOT: NodeId = NodeId(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Whiteout,
    Node(NodeId),
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    File(Bytes),
    Directory(BTreeMap<Name, (u64, Named)>),
    Symlink(Box<[u8]>),
    Special,
}

#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) attr: Attr,
    pub(super) content: Content,
    pub(super) xattrs: BTreeMap<Box<[u8]>, Box<[u8]>>,
    pub(super) opaque: bool,
    pub(super) origin: Option<Origin>,
    pub(super) indexed: bool,
    pub(super) holds: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Nodes {
    files: HashMap<NodeId, File>,
    next: u64,
    position: u64,
    clock: i64,
}

impl Nodes {
    pub(super) fn new() -> Self {
        let mut nodes = Self { files: HashMap::new(), next: ROOT.0, position: 0, clock: 0 };
        let kind = NewKind::Directory { opaque: false };
        let root = nodes.add(&NewNode { kind, mode: 0o755, uid: 0, gid: 0, xattrs: &[] });
        if let Some(root) = nodes.files.get_mut(&root) {
            root.attr.nlink = 1;
        }
        nodes
    }

    /// The moment now: a second later than the last time it was asked for.
    pub(super) fn now(&mut self) -> Time {
        self.clock += 1;
        Time { secs: 2_000_000_000 + self.clock, nanos: 0 }
    }

    /// A file with no name.
    pub(super) fn add(&mut self, new: &NewNode<'_>) -> NodeId {
        let now = self.now();
        let (kind, device, opaque, content) = match new.kind {
            NewKind::File => (Kind::File, None, false, Content::File(Bytes::default())),
            NewKind::Directory { opaque } => {
                (Kind::Directory, None, opaque, Content::Directory(BTreeMap::new()))
            }
            NewKind::Symlink(target) => {
                (Kind::Symlink, None, false, Content::Symlink(target.into()))
            }
            NewKind::Fifo => (Kind::Fifo, None, false, Content::Special),
            NewKind::Socket => (Kind::Socket, None, false, Content::Special),
            NewKind::CharDevice(device) => {
                (Kind::CharDevice, Some(device), false, Content::Special)
            }
            NewKind::BlockDevice(device) => {
                (Kind::BlockDevice, Some(device), false, Content::Special)
            }
        };
        let attr = Attr {
            kind,
            mode: new.mode,
            uid: new.uid,
            gid: new.gid,
            size: 0,
            blocks: 0,
            nlink: 0,
            device: device.unwrap_or(Device { major: 0, minor: 0 }),
            atime: now,
            mtime: now,
            ctime: now,
        };
        let xattrs = new.xattrs.iter().cloned().collect();
        let (origin, indexed, holds) = (None, false, 0);
        let file = File { attr, content, xattrs, opaque, origin, indexed, holds };
        let id = NodeId(self.next);
        self.next += 1;
        self.files.insert(id, file);
        id
    }

    pub(super) fn get(&self, node: NodeId) -> Result<&File> {
        self.files.get(&node).ok_or_else(|| Errno::ESTALE.into())
    }

    pub(super) fn get_mut(&mut self, node: NodeId) -> Result<&mut File> {
        self.files.get_mut(&node).ok_or_else(|| Errno::ESTALE.into())
    }

    pub(super) fn node(&self, id: NodeId) -> Result<Node> {
        let file = self.get(id)?;
        let (opaque, origin) = (file.opaque, file.origin);
        Ok(Node { id, attr: self.attr(id)?, opaque, implied: false, origin })
    }

    pub(super) fn attr(&self, node: NodeId) -> Result<Attr> {
        let file = self.get(node)?;
        let (size, blocks) = match &file.content {
            Content::File(bytes) => (bytes.len(), bytes.blocks()),
            Content::Symlink(target) => (u64::try_from(target.len()).unwrap_or(u64::MAX), 0),
            Content::Directory(_) | Content::Special => (0, 0),
        };
        Ok(Attr { size, blocks, ..file.attr })
    }

    pub(super) fn dir(&self, node: NodeId) -> Result<&BTreeMap<Name, (u64, Named)>> {
        match &self.get(node)?.content {
            Content::Directory(names) => Ok(names),
            _ => Err(Errno::ENOTDIR.into()),
        }
    }

    fn dir_mut(&mut self, node: NodeId) -> Result<&mut BTreeMap<Name, (u64, Named)>> {
        match &mut self.get_mut(node)?.content {
            Content::Directory(names) => Ok(names),
            _ => Err(Errno::ENOTDIR.into()),
        }
    }

    pub(super) fn bytes(&self, node: NodeId) -> Result<&Bytes> {
        match &self.get(node)?.content {
            Content::File(bytes) => Ok(bytes),
            Content::Directory(_) => Err(Errno::EISDIR.into()),
            Content::Symlink(_) | Content::Special => Err(Errno::EINVAL.into()),
        }
    }

    pub(super) fn bytes_mut(&mut self, node: NodeId) -> Result<&mut Bytes> {
        match &mut self.get_mut(node)?.content {
            Content::File(bytes) => Ok(bytes),
            Content::Directory(_) => Err(Errno::EISDIR.into()),
            Content::Symlink(_) | Content::Special => Err(Errno::EINVAL.into()),
        }
    }

    pub(super) fn named(&self, dir: NodeId, name: &Name) -> Result<Option<Named>> {
        Ok(self.dir(dir)?.get(name).map(|&(_, named)| named))
    }

    pub(super) fn slot(&self, dir: NodeId, name: &Name) -> Result<Slot> {
        self.slot_of(self.named(dir, name)?)
    }

    fn slot_of(&self, named: Option<Named>) -> Result<Slot> {
        match named {
            None => Ok(Slot::Absent),
            Some(Named::Whiteout) => Ok(Slot::Whiteout),
            Some(Named::Node(node)) => self.node(node).map(Slot::Node),
        }
    }

    pub(super) fn list(&self, dir: NodeId) -> Result<Vec<Listed>> {
        let mut all = Vec::new();
        for (name, &(position, named)) in self.dir(dir)? {
            all.push(Listed { name: name.clone(), position, slot: self.slot_of(Some(named))? });
        }
        all.sort_by_key(|listed| listed.position);
        Ok(all)
    }

    /// Puts something under a name, in place of what is there; a name that exists keeps its
    /// position.
    pub(super) fn put(&mut self, dir: NodeId, name: &Name, named: Named) -> Result<()> {
        let old = self.named(dir, name)?;
        if let Some(Named::Node(old)) = old {
            let attr = &mut self.get_mut(old)?.attr;
            attr.nlink = attr.nlink.saturating_sub(1);
        }
        if let Named::Node(node) = named {
            self.get_mut(node)?.attr.nlink += 1;
        }
        self.position += 1;
        let fresh = self.position;
        let position = &mut self.dir_mut(dir)?.entry(name.clone()).or_insert((fresh, named)).1;
        *position = named;
        if let Some(Named::Node(old)) = old {
            self.release(old);
        }
        Ok(())
    }

    /// Takes a name away.
    pub(super) fn take(&mut self, dir: NodeId, name: &Name) -> Result<()> {
        if let Some((_, Named::Node(node))) = self.dir_mut(dir)?.remove(name) {
            let attr = &mut self.get_mut(node)?.attr;
            attr.nlink = attr.nlink.saturating_sub(1);
            self.release(node);
        }
        Ok(())
    }

    /// Removes a file that nothing leads to any more.
    pub(super) fn release(&mut self, node: NodeId) {
        let idle = |file: &File| file.attr.nlink == 0 && file.holds == 0 && !file.indexed;
        if self.files.get(&node).is_some_and(idle) {
            self.files.remove(&node);
        }
    }

    pub(super) fn xattr(&self, node: NodeId, name: &[u8]) -> Result<Box<[u8]>> {
        self.get(node)?.xattrs.get(name).cloned().ok_or_else(|| Errno::ENODATA.into())
    }

    pub(super) fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        let xattrs = self.get(node)?.xattrs.iter();
        Ok(xattrs.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    pub(super) fn readlink(&self, node: NodeId) -> Result<Box<[u8]>> {
        match &self.get(node)?.content {
            Content::Symlink(target) => Ok(target.clone()),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (NodeId, &File)> {
        self.files.iter().map(|(&node, file)| (node, file))
    }
}
