//! New files and new names.

use std::sync::Arc;

use super::acl::{self, Acl};
use super::inode::{Held, Inode, Links};
use super::lock::{lock, write};
use super::merge::{Level, Merged, Part};
use super::{Caller, Entry, Union};
use crate::tree::{Device, Errno, Ino, Kind, Name, NewKind, NewNode, NodeId, Result, Xattr};

const SET_GID: u16 = 0o2000;

/// What new files in a directory inherit from it.
#[derive(Debug)]
pub(super) struct Inherit {
    /// Its group, if it is a set-group-id directory.
    group: Option<u32>,
    /// Its default access control list.
    default: Option<Acl>,
}

impl Union {
    /// Makes a file of any kind. `new.mode` is as the caller asked for it, and its owner and
    /// xattrs are ignored: set-group-id directories, default ACLs and the mask of `caller` are
    /// applied here, and so is the mark of an opaque directory. Counts one lookup.
    ///
    /// # Errors
    /// `EEXIST`; `EPERM` for the character device 0:0, which is a whiteout to every overlay;
    /// `EROFS`; those of open(2), mkdir(2), mknod(2) and symlink(2).
    pub fn make(
        &self,
        parent: Ino,
        name: &Name,
        new: &NewNode<'_>,
        caller: &Caller,
    ) -> Result<Entry> {
        let upper = self.layers.upper()?;
        let parent = self.inode(parent)?;
        if new.kind == NewKind::CharDevice(Device::default()) {
            return self.check_vacant(&parent, name).and_then(|_| Err(Errno::EPERM.into()));
        }
        let dir = self.vacant(&parent, name)?;
        let _entries = write(&parent.entries);
        let below = self.check_vacant(&parent, name)?;
        let inherit = self.inherit(&parent)?;
        let (mode, gid, xattrs) = new_attributes(new, caller, &inherit);
        let (uid, gid) = self.owners.of(caller.uid, gid);
        let kind = match new.kind {
            NewKind::Directory { .. } => NewKind::Directory { opaque: below.is_directory() },
            other => other,
        };
        let node = upper.make(dir, name, &NewNode { kind, mode, uid, gid, xattrs: &xattrs })?;
        parent.touch();
        let part = Part { level: Level::Upper, node };
        let mut merged = match kind {
            NewKind::Directory { .. } => Merged::Directory(Box::new([part])),
            _ => Merged::File(part),
        };
        let file = self.intern(&parent, name, &mut merged)?;
        let entry = self.entry(&file, &merged)?;
        file.keep();
        Ok(entry)
    }

    /// Gives a file another name. Counts one lookup.
    ///
    /// # Errors
    /// `EPERM` for a directory, `ENOENT` for a file that has no name any more, `EEXIST`,
    /// `EMLINK`, `EROFS`.
    pub fn link(&self, ino: Ino, parent: Ino, name: &Name) -> Result<Entry> {
        let upper = self.layers.upper()?;
        let (file, parent) = (self.inode(ino)?, self.inode(parent)?);
        if file.kind == Kind::Directory {
            return Err(Errno::EPERM.into());
        }
        self.check_vacant(&parent, name)?;
        if self.current_attr(&file)?.nlink == 0 {
            return Err(Errno::ENOENT.into());
        }
        let dir = self.upper_dir(&parent)?;
        let node = self.copy_up(&file, u64::MAX)?;
        let _copying = lock(&file.copying);
        let _entries = write(&parent.entries);
        self.check_vacant(&parent, name)?;
        let attr = upper.link(node, dir, name)?;
        parent.touch();
        let held = Held::found(upper, node, dir, name);
        drop(file.join(held));
        self.relinked(&file, |count| count.saturating_add(1));
        {
            let mut table = lock(&self.table);
            table.add_name(file.ino, parent.ino, name);
            table.count(file.ino);
        }
        Ok(Entry { ino: file.ino, attr: self.shown(&file, attr) })
    }

    /// Changes the number of names of a file, and remembers it where no layer does.
    pub(super) fn relinked(&self, file: &Inode, change: impl FnOnce(u32) -> u32) {
        if let Links::Counted(count) = file.relink(change) {
            lock(&self.table).set_links(file.ino, count);
        }
    }

    /// The node of `dir` in the upper layer, for something new in it. Checks that `name` is free
    /// before it copies anything up.
    fn vacant(&self, dir: &Arc<Inode>, name: &Name) -> Result<NodeId> {
        let parts = dir.dir()?;
        if let Some(node) = parts.upper {
            return Ok(node);
        }
        self.check_vacant(dir, name)?;
        self.upper_dir(dir)
    }

    /// Fails unless `name` in `dir` is free; returns what a lower layer has there, hidden.
    pub(super) fn check_vacant(&self, dir: &Inode, name: &Name) -> Result<Merged> {
        let view = dir.dir()?;
        if view.removed {
            return Err(Errno::ENOENT.into());
        }
        match self.layers.merge(&view, name)? {
            Merged::Nothing => self.layers.below(&view, name),
            Merged::File(_) | Merged::Directory(_) => Err(Errno::EEXIST.into()),
        }
    }

    /// What new files in `dir` inherit, remembered until the directory's attributes change. The
    /// caller holds `dir.entries` exclusively, as does who changes them.
    fn inherit(&self, dir: &Inode) -> Result<Arc<Inherit>> {
        if let Some(known) = dir.with_state(|state| state.inherit.clone()) {
            return Ok(known);
        }
        let (layer, node) = self.layers.at(dir.at()?)?;
        let attr = self.shown(dir, layer.attr(node)?);
        let default = match layer.xattr(node, acl::DEFAULT) {
            Ok(value) => Some(Acl::decode(&value)?),
            Err(error) if matches!(error.errno(), Errno::ENODATA | Errno::ENOTSUP) => None,
            Err(error) => return Err(error),
        };
        let group = (attr.mode & SET_GID != 0).then_some(attr.gid);
        let inherit = Arc::new(Inherit { group, default });
        dir.with_state(|state| state.inherit = Some(Arc::clone(&inherit)));
        Ok(inherit)
    }
}

/// Mode, group and extended attributes of a new file.
fn new_attributes(new: &NewNode<'_>, caller: &Caller, inherit: &Inherit) -> (u16, u32, Vec<Xattr>) {
    let is_dir = matches!(new.kind, NewKind::Directory { .. });
    let gid = inherit.group.unwrap_or(caller.gid);
    let set_gid = if is_dir && inherit.group.is_some() { SET_GID } else { 0 };
    let asked = new.mode & 0o7777;
    if matches!(new.kind, NewKind::Symlink(_)) {
        return (0o777, gid, Vec::new());
    }
    let Some(default) = &inherit.default else {
        return (asked & !caller.umask | set_gid, gid, Vec::new());
    };
    let inherited = default.inherit(asked);
    let mut xattrs = Vec::new();
    if let Some(access) = inherited.access {
        xattrs.push((acl::ACCESS.into(), access.encode()));
    }
    if is_dir {
        xattrs.push((acl::DEFAULT.into(), default.encode()));
    }
    (inherited.mode | set_gid, gid, xattrs)
}
