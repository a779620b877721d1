//! Names to files, and what is known of a file.

use std::sync::Arc;

use super::identity::Pin;
use super::inode::{At, Inode, Links};
use super::lock::{lock, read};
use super::merge::Merged;
use super::{Entry, Union};
use crate::tree::{Attr, Errno, Ino, Kind, Name, Result};

/// What a name was found to be.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) file: Pin<'a>,
    pub(super) merged: Merged,
    /// The directory's version before the name was looked at.
    version: u64,
}

impl Found<'_> {
    /// Whether no name of `dir` has changed since.
    pub(super) fn is_current(&self, dir: &Inode) -> bool {
        self.version == dir.version()
    }
}

impl Union {
    /// The file `name` in `parent`; counts one lookup on it.
    ///
    /// # Errors
    /// `ENOENT` when there is none.
    pub fn lookup(&self, parent: Ino, name: &Name) -> Result<Entry> {
        let parent = self.inode(parent)?;
        let found = self.find(&parent, name)?;
        let entry = self.entry(&found.file, &found.merged)?;
        found.file.keep();
        Ok(entry)
    }

    /// Takes back `count` lookups.
    pub fn forget(&self, ino: Ino, count: u64) {
        let unused = lock(&self.table).forget(ino, count);
        self.retire(unused);
    }

    /// The attributes of a file.
    ///
    /// # Errors
    /// `EIO` when its layer cannot be read.
    pub fn attr(&self, ino: Ino) -> Result<Attr> {
        self.current_attr(&*self.inode(ino)?)
    }

    /// The file with this number.
    pub(super) fn inode(&self, ino: Ino) -> Result<Arc<Inode>> {
        lock(&self.table).get(ino).cloned().ok_or_else(|| Errno::ESTALE.into())
    }

    /// Looks a name up and puts the file in use. Takes `dir.entries`.
    pub(super) fn find(&self, dir: &Inode, name: &Name) -> Result<Found<'_>> {
        let _entries = read(&dir.entries);
        let version = dir.version();
        let view = dir.dir()?;
        if view.removed {
            return Err(Errno::ENOENT.into());
        }
        let mut merged = self.layers.merge(&view, name)?;
        let file = self.intern(dir, name, &mut merged)?;
        Ok(Found { file, merged, version })
    }

    /// As [`Union::find`]; `None` where there is nothing.
    pub(super) fn find_if_any(&self, dir: &Inode, name: &Name) -> Result<Option<Found<'_>>> {
        match self.find(dir, name) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.errno() == Errno::ENOENT && !dir.dir()?.removed => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the name still stands for the file that was found. The caller holds `dir.entries`
    /// exclusively.
    pub(super) fn is_still(&self, dir: &Inode, name: &Name, found: &Found<'_>) -> Result<bool> {
        if found.is_current(dir) {
            return Ok(true);
        }
        let merged = self.layers.merge(&dir.dir()?, name)?;
        let ino = self.number(dir, name, &merged)?;
        Ok(ino == Some(found.file.ino))
    }

    /// What to reply for a file that was found just now.
    pub(super) fn entry(&self, inode: &Inode, merged: &Merged) -> Result<Entry> {
        let attr = match merged.top() {
            // The attributes came with the slot, unless the name led to a copy elsewhere.
            Some(top) if matches!(At::from(top), At::Upper(_)) || inode.upper().is_none() => {
                self.shown(inode, top.node.attr)
            }
            _ => self.current_attr(inode)?,
        };
        Ok(Entry { ino: inode.ino, attr })
    }

    /// The attributes as its layer has them now.
    pub(super) fn current_attr(&self, inode: &Inode) -> Result<Attr> {
        let (layer, node) = self.layers.at(inode.at()?)?;
        Ok(self.shown(inode, layer.attr(node)?))
    }

    /// The attributes to show for those that a layer gave.
    pub(super) fn shown(&self, inode: &Inode, mut attr: Attr) -> Attr {
        attr.nlink = match (inode.kind, inode.links()) {
            // Where the count began too low, a name that is known shows it.
            (_, Links::Counted(0)) => u32::from(lock(&self.table).name(inode.ino).is_some()),
            (_, Links::Counted(count)) => count,
            (Kind::Directory, Links::AsLayer) => 1,
            (_, Links::AsLayer) => attr.nlink,
        };
        (attr.uid, attr.gid) = self.owners.of(attr.uid, attr.gid);
        attr
    }

    /// Lets go of files that are not in use any more.
    pub(super) fn retire(&self, unused: Vec<Arc<Inode>>) {
        for inode in unused {
            if inode.kind == Kind::Directory {
                lock(&self.listings).remove(inode.ino);
            }
        }
    }
}
