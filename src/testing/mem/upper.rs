//! A layer in memory that is written to.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bytes::Bytes;
use super::inner::{Copied, Inner};
use super::nodes::{Content, Named, ROOT};
use crate::tree::{
    Attr, CopyUp, Errno, Exchange, FsStats, Kind, LayerId, Leave, Listed, Lower, Name, NewKind,
    NewNode, Node, NodeId, Origin, Place, Renamed, Result, Seek, SetAttr, Slot, SyncMode,
    TimeChange, Upper, Xattr, XattrMode,
};

/// A layer in memory that is written to.
///
/// It checks who uses it: each use of a node that is not held, and each forget that no hold came
/// before, is noted for [`MemUpper::complaints`].
pub struct MemUpper {
    inner: Mutex<Inner>,
}

/// What the layer says of one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dumped {
    /// A whiteout.
    Whiteout,
    /// A directory.
    Directory {
        /// Whether it hides what lower layers have.
        opaque: bool,
    },
    /// Any other file.
    File,
}

impl Default for MemUpper {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemUpper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, dumped) in self.dump() {
            let path: Vec<String> = path.iter().map(ToString::to_string).collect();
            writeln!(f, "/{} {dumped:?}", path.join("/"))?;
        }
        Ok(())
    }
}

impl MemUpper {
    /// A layer with nothing but a root directory.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: Mutex::new(Inner::new()) }
    }

    /// All that the layer holds, parents first, in order of name.
    pub fn dump(&self) -> Vec<(Vec<Name>, Dumped)> {
        let inner = self.lock();
        let mut all = Vec::new();
        let mut dirs = vec![(Vec::new(), ROOT)];
        while let Some((path, dir)) = dirs.pop() {
            for (name, &(_, named)) in inner.nodes.dir(dir).into_iter().flatten() {
                let path: Vec<Name> = path.iter().chain([name]).cloned().collect();
                let dumped = match named {
                    Named::Whiteout => Dumped::Whiteout,
                    Named::Node(node) => match inner.nodes.node(node) {
                        Ok(file) if file.attr.kind == Kind::Directory => {
                            dirs.push((path.clone(), node));
                            Dumped::Directory { opaque: file.opaque }
                        }
                        _ => Dumped::File,
                    },
                };
                all.push((path, dumped));
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// How many calls have changed the layer so far.
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// How much was copied up so far.
    pub fn copied(&self) -> Copied {
        self.lock().copied
    }

    /// From now on this many calls that change the layer succeed, and the others fail with
    /// `ENOSPC`; with `None` all succeed again. Returns whether any has failed since the last
    /// time this was called.
    pub fn fail_after(&self, changes: Option<u64>) -> bool {
        let mut inner = self.lock();
        inner.fails_after = changes;
        std::mem::take(&mut inner.failed)
    }

    /// How many nodes are held, but for the root.
    pub fn held(&self) -> usize {
        self.lock().nodes.all().filter(|&(node, file)| node != ROOT && file.holds > 0).count()
    }

    /// How many files have no name and are in no index.
    pub fn orphans(&self) -> usize {
        let inner = self.lock();
        inner.nodes.all().filter(|(_, file)| file.attr.nlink == 0 && !file.indexed).count()
    }

    /// What users of the layer did that the contract forbids.
    pub fn complaints(&self) -> Vec<String> {
        self.lock().complaints.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The layer for a call that uses `node`.
    fn using(&self, call: &str, node: NodeId) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        if node != ROOT && inner.nodes.get(node).is_ok_and(|file| file.holds == 0) {
            inner.complaints.push(format!("{call} of {node:?}, which is not held"));
        }
        inner
    }
}

impl Lower for MemUpper {
    fn id(&self) -> LayerId {
        LayerId(*b"memupper")
    }

    fn root(&self) -> Result<Node> {
        self.lock().nodes.node(ROOT)
    }

    fn slot(&self, dir: NodeId, name: &Name) -> Result<Slot> {
        self.using("slot", dir).nodes.slot(dir, name)
    }

    fn list(&self, dir: NodeId) -> Result<Vec<Listed>> {
        self.using("list", dir).nodes.list(dir)
    }

    fn attr(&self, node: NodeId) -> Result<Attr> {
        self.using("attr", node).nodes.attr(node)
    }

    fn readlink(&self, node: NodeId) -> Result<Box<[u8]>> {
        self.using("readlink", node).nodes.readlink(node)
    }

    fn xattr(&self, node: NodeId, name: &[u8]) -> Result<Box<[u8]>> {
        self.using("xattr", node).nodes.xattr(node, name)
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        self.using("xattrs", node).nodes.xattrs(node)
    }

    fn read_at(&self, node: NodeId, offset: u64, buf: &mut [u8]) -> Result<usize> {
        Ok(self.using("read_at", node).nodes.bytes(node)?.read_at(offset, buf))
    }

    fn seek(&self, node: NodeId, offset: u64, seek: Seek) -> Result<u64> {
        self.using("seek", node).nodes.bytes(node)?.seek(offset, seek)
    }

    fn hold(&self, node: NodeId, _: NodeId, name: &Name) {
        self.lock().hold(node, &format!("as {name}"));
    }

    fn forget(&self, node: NodeId, count: u64) {
        let mut inner = self.lock();
        if node == ROOT {
            return;
        }
        match inner.nodes.get_mut(node) {
            Ok(file) if file.holds >= count => {
                file.holds -= count;
                inner.nodes.release(node);
            }
            _ => inner.complaints.push(format!("forget of {node:?}, which is not held so often")),
        }
    }

    fn stats(&self) -> Result<FsStats> {
        Ok(FsStats {
            block_size: 4096,
            blocks: 2000,
            free: 1000,
            available: 900,
            files: 1 << 20,
            files_free: 1 << 19,
        })
    }
}

impl Upper for MemUpper {
    fn make(&self, dir: NodeId, name: &Name, new: &NewNode<'_>) -> Result<Node> {
        let mut inner = self.using("make", dir);
        inner.check_free(dir, name)?;
        inner.changing()?;
        let node = inner.nodes.add(new);
        inner.nodes.put(dir, name, Named::Node(node))?;
        inner.touch(dir)?;
        inner.nodes.node(node)
    }

    fn copy_up(&self, place: Place<'_>, from: &CopyUp<'_>) -> Result<Node> {
        let bytes = from.data.map(|data| Bytes::copy(data, from.keep)).transpose()?;
        let kind = match from.attr.kind {
            Kind::File => NewKind::File,
            Kind::Directory => NewKind::Directory { opaque: false },
            Kind::Symlink => NewKind::Symlink(from.target),
            Kind::CharDevice => NewKind::CharDevice(from.attr.device),
            Kind::BlockDevice => NewKind::BlockDevice(from.attr.device),
            Kind::Fifo => NewKind::Fifo,
            Kind::Socket => NewKind::Socket,
        };
        let Attr { mode, uid, gid, atime, mtime, .. } = *from.attr;
        let mut inner = match place {
            Place::Entry { dir, .. } => self.using("copy_up", dir),
            Place::Orphan => self.lock(),
        };
        if let Place::Entry { dir, name } = place {
            inner.check_free(dir, name)?;
        }
        inner.changing()?;
        let node = inner.nodes.add(&NewNode { kind, mode, uid, gid, xattrs: from.xattrs });
        if from.attr.kind != Kind::Directory {
            inner.copied.files += 1;
            inner.copied.bytes += bytes.as_ref().map_or(0, Bytes::len);
        }
        let file = inner.nodes.get_mut(node)?;
        (file.attr.atime, file.attr.mtime) = (atime, mtime);
        (file.origin, file.indexed) = (Some(from.origin), from.index);
        if let Some(bytes) = bytes {
            file.content = Content::File(bytes);
        }
        if from.index {
            inner.index.insert(from.origin, node);
        }
        if let Place::Entry { dir, name } = place {
            inner.nodes.put(dir, name, Named::Node(node))?;
        }
        inner.changes += 1;
        inner.nodes.node(node)
    }

    fn indexed(&self, origin: Origin) -> Result<Option<Node>> {
        let inner = self.lock();
        inner.index.get(&origin).map(|&node| inner.nodes.node(node)).transpose()
    }

    fn hold_nameless(&self, node: NodeId) {
        self.lock().hold(node, "without a name");
    }

    fn link(&self, node: NodeId, dir: NodeId, name: &Name) -> Result<Attr> {
        let mut inner = self.using("link", node);
        inner.check_free(dir, name)?;
        inner.changing()?;
        inner.nodes.put(dir, name, Named::Node(node))?;
        inner.touch(dir)?;
        inner.nodes.attr(node)
    }

    fn remove(&self, dir: NodeId, name: &Name, leave: Leave) -> Result<()> {
        let mut inner = self.using("remove", dir);
        inner.check_dir(dir)?;
        inner.changing()?;
        match (inner.nodes.named(dir, name)?, leave) {
            (None | Some(Named::Whiteout), Leave::Nothing) => return Err(Errno::ENOENT.into()),
            (Some(Named::Node(node)), _) => {
                inner.check_replaceable(node)?;
                inner.empty(node)?;
            }
            (None | Some(Named::Whiteout), Leave::Whiteout) => {}
        }
        match leave {
            Leave::Nothing => inner.nodes.take(dir, name)?,
            Leave::Whiteout => inner.nodes.put(dir, name, Named::Whiteout)?,
        }
        inner.touch(dir)
    }

    fn rename(&self, renamed: &Renamed<'_>) -> Result<()> {
        let Renamed { from_dir, from, to_dir, to, exchange, opaque } = *renamed;
        let mut inner = self.using("rename", from_dir);
        inner.check_dir(to_dir)?;
        inner.changing()?;
        let Some(Named::Node(source)) = inner.nodes.named(from_dir, from)? else {
            return Err(Errno::ENOENT.into());
        };
        let target = match inner.nodes.named(to_dir, to)? {
            Some(Named::Node(target)) => Some(target),
            Some(Named::Whiteout) | None => None,
        };
        // Held meanwhile: for a moment a file that moves may have no name.
        inner.nodes.get_mut(source)?.holds += 1;
        let moved = match (exchange, target) {
            (Exchange::No(leave), target) => target
                .map_or(Ok(()), |target| {
                    inner.check_replaceable(target).and_then(|()| inner.empty(target))
                })
                .and_then(|()| inner.nodes.put(to_dir, to, Named::Node(source)))
                .and_then(|()| match leave {
                    Leave::Nothing => inner.nodes.take(from_dir, from),
                    Leave::Whiteout => inner.nodes.put(from_dir, from, Named::Whiteout),
                }),
            (Exchange::Yes, Some(target)) => inner
                .nodes
                .get_mut(target)
                .map(|target| target.holds += 1)
                .and_then(|()| inner.nodes.put(to_dir, to, Named::Node(source)))
                .and_then(|()| inner.nodes.put(from_dir, from, Named::Node(target)))
                .and_then(|()| if opaque { inner.make_opaque(target) } else { Ok(()) })
                .and_then(|()| inner.nodes.get_mut(target).map(|target| target.holds -= 1)),
            (Exchange::Yes, None) => Err(Errno::ENOENT.into()),
        };
        inner.nodes.get_mut(source)?.holds -= 1;
        moved?;
        if opaque {
            inner.make_opaque(source)?;
        }
        inner.touch(from_dir)?;
        inner.touch(to_dir)
    }

    fn set_attr(&self, node: NodeId, change: &SetAttr) -> Result<Attr> {
        let mut inner = self.using("set_attr", node);
        inner.changing()?;
        let now = inner.nodes.now();
        if let Some(size) = change.size {
            inner.nodes.bytes_mut(node)?.set_len(size)?;
        }
        let attr = &mut inner.nodes.get_mut(node)?.attr;
        if attr.kind != Kind::Directory && (change.uid.is_some() || change.gid.is_some()) {
            // As chown(2): set-group-id without the right to execute is no such thing.
            let set_gid = if attr.mode & 0o010 == 0 { 0 } else { 0o2000 };
            attr.mode &= !(0o4000 | set_gid);
        }
        attr.mode = change.mode.unwrap_or(attr.mode);
        attr.uid = change.uid.unwrap_or(attr.uid);
        attr.gid = change.gid.unwrap_or(attr.gid);
        let time = |time| match time {
            TimeChange::Now => now,
            TimeChange::To(time) => time,
        };
        attr.atime = change.atime.map_or(attr.atime, time);
        attr.mtime = match (change.mtime, change.size) {
            (Some(mtime), _) => time(mtime),
            (None, Some(_)) => now,
            (None, None) => attr.mtime,
        };
        attr.ctime = now;
        inner.changes += 1;
        inner.nodes.attr(node)
    }

    fn set_xattr(&self, node: NodeId, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        let mut inner = self.using("set_xattr", node);
        inner.changing()?;
        let xattrs = &mut inner.nodes.get_mut(node)?.xattrs;
        match (mode, xattrs.contains_key(name)) {
            (XattrMode::Create, true) => return Err(Errno::EEXIST.into()),
            (XattrMode::Replace, false) => return Err(Errno::ENODATA.into()),
            _ => {}
        }
        xattrs.insert(name.into(), value.into());
        inner.changes += 1;
        Ok(())
    }

    fn remove_xattr(&self, node: NodeId, name: &[u8]) -> Result<()> {
        let mut inner = self.using("remove_xattr", node);
        inner.changing()?;
        if inner.nodes.get_mut(node)?.xattrs.remove(name).is_none() {
            return Err(Errno::ENODATA.into());
        }
        inner.changes += 1;
        Ok(())
    }

    fn write_at(&self, node: NodeId, offset: u64, data: &[u8]) -> Result<()> {
        let mut inner = self.using("write_at", node);
        inner.changing()?;
        let now = inner.nodes.now();
        inner.nodes.bytes_mut(node)?.write_at(offset, data)?;
        inner.nodes.get_mut(node)?.attr.mtime = now;
        inner.changes += 1;
        Ok(())
    }

    fn allocate(&self, node: NodeId, offset: u64, len: u64, mode: i32) -> Result<()> {
        const KEEP_SIZE: i32 = 1;
        const PUNCH_HOLE: i32 = 2;
        let mut inner = self.using("allocate", node);
        inner.changing()?;
        let bytes = inner.nodes.bytes_mut(node)?;
        let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
        match mode {
            _ if len == 0 => return Err(Errno::EINVAL.into()),
            0 => bytes.set_len(end.max(bytes.len()))?,
            KEEP_SIZE => {}
            _ if mode == PUNCH_HOLE | KEEP_SIZE => bytes.zero(offset, len),
            _ => return Err(Errno::ENOTSUP.into()),
        }
        inner.changes += 1;
        Ok(())
    }

    fn copy_range(&self, from: (NodeId, u64), to: (NodeId, u64), len: u64) -> Result<u64> {
        let mut inner = self.using("copy_range", from.0);
        inner.changing()?;
        let source = inner.nodes.bytes(from.0)?;
        let len = len.min(source.len().saturating_sub(from.1));
        let mut data = vec![0; usize::try_from(len).map_err(|_| Errno::EFBIG)?];
        source.read_at(from.1, &mut data);
        let now = inner.nodes.now();
        inner.nodes.bytes_mut(to.0)?.write_at(to.1, &data)?;
        inner.nodes.get_mut(to.0)?.attr.mtime = now;
        inner.changes += 1;
        Ok(len)
    }

    fn sync(&self, node: NodeId, _: SyncMode) -> Result<()> {
        self.using("sync", node).nodes.get(node).map(drop)
    }
}
