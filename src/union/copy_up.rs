//! Copying a lower file to the upper layer before its first change.

use std::sync::Arc;

use super::Union;
use super::inode::{At, Held, Inode, LowerNode};
use super::lock::lock;
use crate::tree::{
    Attr, CopyUp, Data, Errno, Kind, Lower, Name, NodeId, Place, Result, Seek, Upper,
};

/// The bytes of a lower file.
struct LowerData<'a> {
    layer: &'a dyn Lower,
    node: NodeId,
}

impl Data for LowerData<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.layer.read_at(self.node, offset, buf)
    }

    fn seek(&self, offset: u64, seek: Seek) -> Result<u64> {
        self.layer.seek(self.node, offset, seek)
    }
}

impl Union {
    /// The node of a file in the upper layer, after copying it there if need be, with no more
    /// than `keep` of its bytes.
    ///
    /// Other files are not delayed, and readers of this one go on with the lower file until the
    /// copy is complete.
    pub(super) fn copy_up(&self, inode: &Inode, keep: u64) -> Result<NodeId> {
        let upper = self.layers.upper()?;
        loop {
            if let Some(node) = inode.upper() {
                return Ok(node);
            }
            let place = lock(&self.table).name(inode.ino);
            let dir = match &place {
                Some((dir, _)) => Some(self.upper_dir(dir)?),
                None => None,
            };
            let _copying = lock(&inode.copying);
            let now = lock(&self.table).name(inode.ino);
            if !same_place(place.as_ref(), now.as_ref()) {
                continue;
            }
            return match inode.at()? {
                At::Upper(node) => Ok(node),
                At::Lower(lower) => {
                    let place = match (dir, &place) {
                        (Some(dir), Some((parent, name))) => Some((dir, &**parent, name)),
                        _ => None,
                    };
                    self.copy(upper, inode, lower, place, keep)
                }
            };
        }
    }

    /// The node of a directory in the upper layer, after copying it and those above it there if
    /// need be.
    pub(super) fn upper_dir(&self, dir: &Arc<Inode>) -> Result<NodeId> {
        let upper = self.layers.upper()?;
        loop {
            if let Some(node) = dir.upper() {
                return Ok(node);
            }
            // Up to the topmost directory of the path that is not there yet. Only a deleted
            // directory has no name; the root always is in the upper layer.
            let mut missing = Arc::clone(dir);
            let (parent, name, parent_node) = loop {
                let Some((parent, name)) = lock(&self.table).name(missing.ino) else {
                    return Err(Errno::ENOENT.into());
                };
                match parent.upper() {
                    Some(node) => break (parent, name, node),
                    None => missing = parent,
                }
            };
            let _copying = lock(&missing.copying);
            if missing.dir()?.removed {
                return Err(Errno::ENOENT.into());
            }
            if let At::Lower(lower) = missing.at()? {
                let place = Some((parent_node, &*parent, &name));
                self.copy(upper, &missing, lower, place, 0)?;
            }
        }
    }

    /// Copies one file, whose `copying` the caller holds, and turns the inode over to the copy.
    fn copy(
        &self,
        upper: &Arc<dyn Upper>,
        inode: &Inode,
        lower: LowerNode,
        place: Option<(NodeId, &Inode, &Name)>,
        keep: u64,
    ) -> Result<NodeId> {
        let layer = self.layers.lower(lower.level)?;
        let mut attr = layer.attr(lower.node)?;
        (attr.uid, attr.gid) = self.owners.of(attr.uid, attr.gid);
        let data = LowerData { layer, node: lower.node };
        let data: Option<&dyn Data> = (attr.kind == Kind::File).then_some(&data);
        let from = CopyUp {
            attr: &attr,
            xattrs: &layer.xattrs(lower.node)?,
            target: &target(layer, lower.node, &attr)?,
            data,
            keep: keep.min(attr.size),
            origin: self.layers.origin(lower)?,
            index: attr.kind != Kind::Directory && attr.nlink > 1,
        };
        let held = match place {
            Some((dir, _, name)) => {
                let node = upper.copy_up(Place::Entry { dir, name }, &from)?;
                Held::found(upper, node.id, dir, name)
            }
            None if attr.kind == Kind::Directory => return Err(Errno::ENOENT.into()),
            None => Held::nameless(upper, upper.copy_up(Place::Orphan, &from)?.id),
        };
        let node = held.node();
        inode.copied(held);
        if let Some((_, parent, _)) = place {
            parent.touch();
        }
        Ok(node)
    }
}

fn target(layer: &dyn Lower, node: NodeId, attr: &Attr) -> Result<Box<[u8]>> {
    if attr.kind == Kind::Symlink { layer.readlink(node) } else { Ok(Box::default()) }
}

fn same_place(a: Option<&(Arc<Inode>, Name)>, b: Option<&(Arc<Inode>, Name)>) -> bool {
    match (a, b) {
        (Some((dir, name)), Some((other, other_name))) => {
            Arc::ptr_eq(dir, other) && name == other_name
        }
        (None, None) => true,
        _ => false,
    }
}
