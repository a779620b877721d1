//! What should happen: a plain tree, onto which layers are unpacked.

use std::collections::BTreeMap;

use mica::tree::{Device, Errno, Kind, Time};

use super::layers::{Layer, Path, TARGET};
use super::op::{Change, MakeKind, Op, SLOTS, Set, Target};

/// A file, for good: no other one ever has the same number.
pub(crate) type Id = usize;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Directory(BTreeMap<&'static str, Id>),
    File(Vec<u8>),
    Symlink,
    Special(Kind, Device),
}

#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) content: Content,
    pub(crate) mode: u16,
    pub(crate) owner: (u32, u32),
    /// `None` when it is the time of some operation.
    pub(crate) mtime: Option<Time>,
    pub(crate) xattrs: BTreeMap<&'static str, Vec<u8>>,
    /// `None` when a view need not know it any more.
    pub(crate) nlink: Option<u32>,
    /// How many names a lower layer gave it; 0 when it is from no layer.
    pub(crate) lower_names: u32,
    /// Anything of it, or of its names, was changed by an operation.
    pub(super) changed: bool,
}

/// What an operation is to return, but for an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Nothing to compare.
    Done,
    /// These bytes.
    Bytes(Vec<u8>),
    /// This many bytes.
    Count(u64),
    /// The next names of the directory that is open as the slot.
    Names,
    /// The operation has no meaning here and is to be left out.
    Skip,
}

#[derive(Debug, Clone)]
pub(crate) struct Oracle {
    pub(crate) files: Vec<File>,
    pub(crate) slots: [Option<Id>; SLOTS],
    pub(crate) read_only: bool,
}

pub(crate) const ROOT: Id = 0;

impl File {
    pub(super) fn new(content: Content, mode: u16, owner: (u32, u32)) -> Self {
        Self {
            content,
            mode,
            owner,
            mtime: None,
            xattrs: BTreeMap::new(),
            nlink: Some(1),
            lower_names: 0,
            changed: false,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.content {
            Content::Directory(_) => Kind::Directory,
            Content::File(_) => Kind::File,
            Content::Symlink => Kind::Symlink,
            Content::Special(kind, _) => kind,
        }
    }
}

impl Oracle {
    /// The tree of these layers, from bottom to top.
    pub(crate) fn new<'a>(layers: impl IntoIterator<Item = &'a Layer>, read_only: bool) -> Self {
        let root = File::new(Content::Directory(BTreeMap::new()), 0o755, (0, 0));
        let mut oracle = Self { files: vec![root], slots: [None; SLOTS], read_only };
        for layer in layers {
            oracle.unpack(layer);
        }
        oracle
    }

    /// What deletes all there is at a path, what is in a directory first.
    pub(crate) fn removal(&self, path: &Path) -> Vec<Op> {
        let Ok(id) = self.find(path) else { return Vec::new() };
        let Content::Directory(names) = &self.files[id].content else {
            return vec![Op::Unlink(path.clone())];
        };
        let within = names.keys().flat_map(|name| self.removal(&[&path[..], &[name]].concat()));
        within.chain([Op::Rmdir(path.clone())]).collect()
    }

    pub(crate) fn names(&mut self, dir: Id) -> &mut BTreeMap<&'static str, Id> {
        match &mut self.files[dir].content {
            Content::Directory(names) => names,
            other => panic!("{other:?} is no directory"),
        }
    }

    /// The file at a path. No symbolic link is followed.
    pub(crate) fn find(&self, path: &[&'static str]) -> Result<Id, Errno> {
        let mut at = ROOT;
        for name in path {
            let Content::Directory(names) = &self.files[at].content else {
                return Err(Errno::ENOTDIR);
            };
            at = *names.get(name).ok_or(Errno::ENOENT)?;
        }
        Ok(at)
    }

    /// The directory that a path ends in, and the name there.
    pub(super) fn parent(&self, path: &Path) -> Result<(Id, &'static str), Errno> {
        let (name, dir) = path.split_last().expect("not the root");
        let dir = self.find(dir)?;
        match self.files[dir].content {
            Content::Directory(_) => Ok((dir, name)),
            _ => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn child(&self, (dir, name): (Id, &'static str)) -> Option<Id> {
        match &self.files[dir].content {
            Content::Directory(names) => names.get(name).copied(),
            _ => None,
        }
    }

    pub(super) fn writable(&self) -> Result<(), Errno> {
        if self.read_only { Err(Errno::EROFS) } else { Ok(()) }
    }

    /// The kernel lets no other kind of file have them, whatever the filesystem says.
    fn takes_user_xattrs(&self, id: Id) -> bool {
        matches!(self.files[id].kind(), Kind::File | Kind::Directory)
    }

    pub(crate) fn is_dir(&self, id: Id) -> bool {
        self.files[id].kind() == Kind::Directory
    }

    pub(super) fn is_empty(&self, id: Id) -> bool {
        match &self.files[id].content {
            Content::Directory(names) => names.is_empty(),
            _ => true,
        }
    }

    /// Whether `dir` is `top` or below it.
    pub(super) fn is_within(&self, dir: Id, top: Id) -> bool {
        dir == top
            || match &self.files[top].content {
                Content::Directory(names) => names.values().any(|&id| self.is_within(dir, id)),
                _ => false,
            }
    }

    /// Carries an operation out; the error number is what the view must return too.
    pub(crate) fn apply(&mut self, op: &Op) -> Result<Expected, Errno> {
        if self.is_pointless(op) {
            return Ok(Expected::Skip);
        }
        match op {
            Op::Make { path, kind, mode, umask, uid } => {
                self.make(path, *kind, *mode & !umask, *uid)
            }
            Op::Write { at, offset, data } => {
                let id = self.target(at)?;
                self.write(id, *offset, data)
            }
            Op::Read { at } => {
                let id = self.target(at)?;
                self.bytes(id).cloned().map(Expected::Bytes)
            }
            Op::Change { at, change } => {
                let id = self.target(at)?;
                self.change(id, *change)
            }
            Op::CopyRange { from, to, from_offset, to_offset, len } => {
                let (from, to) = (self.target(from)?, self.target(to)?);
                self.copy_range((from, *from_offset), (to, *to_offset), *len)
            }
            Op::SetXattr { at, name, value, set } => {
                let id = self.target(at)?;
                self.set_xattr(id, name, value, *set)
            }
            Op::RemoveXattr { at, name } => {
                let id = self.target(at)?;
                self.writable()?;
                self.files[id].xattrs.remove(name).ok_or(Errno::ENODATA)?;
                self.files[id].changed = true;
                Ok(Expected::Done)
            }
            Op::Unlink(path) => self.remove(path, false),
            Op::Rmdir(path) => self.remove(path, true),
            Op::Rename { from, to, how } => self.rename(from, to, *how),
            Op::Link { from, to } => {
                let id = self.target(from)?;
                self.link(id, to)
            }
            // Carried out one by one.
            Op::RemoveTree(_) => Ok(Expected::Skip),
            Op::Open { slot, path } => {
                self.slots[*slot] = None;
                self.slots[*slot] = Some(self.find(path)?);
                Ok(Expected::Done)
            }
            Op::Close { slot } => {
                self.slots[*slot] = None;
                Ok(Expected::Done)
            }
            Op::List { slot, .. } => match self.slots[*slot] {
                Some(id) if self.is_dir(id) => Ok(Expected::Names),
                _ => Ok(Expected::Skip),
            },
            Op::Forget => Ok(Expected::Done),
            Op::Remount => {
                self.remount();
                Ok(Expected::Done)
            }
        }
    }

    /// The file an operation is done to.
    pub(crate) fn target(&self, target: &Target) -> Result<Id, Errno> {
        match target {
            Target::Path(path) => self.find(path),
            Target::Slot(slot) => self.slots[*slot].ok_or(Errno::EBADF),
        }
    }

    /// Whether an operation is done to what is not open, or to a directory that is deleted, of
    /// which it is not promised what still works.
    fn is_pointless(&self, op: &Op) -> bool {
        op.slots().any(|slot| self.slots[slot].is_none_or(|id| self.is_deleted_dir(id)))
    }

    pub(crate) fn is_deleted_dir(&self, id: Id) -> bool {
        self.is_dir(id) && self.files[id].nlink == Some(0)
    }

    /// After this, how many names a lower file of several names has is not known if any of them
    /// changed.
    fn remount(&mut self) {
        self.slots = [None; SLOTS];
        for file in &mut self.files {
            if file.lower_names > 1 && file.changed {
                file.nlink = None;
            }
        }
    }

    /// The names of a directory have changed.
    pub(super) fn touch(&mut self, dir: Id) {
        self.files[dir].mtime = None;
    }

    fn relink(&mut self, id: Id, change: impl FnOnce(u32) -> u32) {
        let file = &mut self.files[id];
        file.nlink = file.nlink.map(change);
        file.changed = true;
    }

    fn make(&mut self, path: &Path, kind: MakeKind, mode: u16, id: u32) -> Result<Expected, Errno> {
        let place = self.parent(path)?;
        self.writable()?;
        if self.child(place).is_some() {
            return Err(Errno::EEXIST);
        }
        let parent = &self.files[place.0];
        let sets_group = parent.mode & 0o2000 != 0;
        let group = if sets_group { parent.owner.1 } else { id + 10 };
        let (content, mode) = match kind {
            MakeKind::File => (Content::File(Vec::new()), mode),
            MakeKind::Directory => {
                let inherited = if sets_group { 0o2000 } else { 0 };
                (Content::Directory(BTreeMap::new()), mode | inherited)
            }
            MakeKind::Symlink => (Content::Symlink, 0o777),
            MakeKind::Fifo => (Content::Special(Kind::Fifo, Device::default()), mode),
            MakeKind::Socket => (Content::Special(Kind::Socket, Device::default()), mode),
            MakeKind::CharDevice(Device { major: 0, minor: 0 }) => return Err(Errno::EPERM),
            MakeKind::CharDevice(device) => (Content::Special(Kind::CharDevice, device), mode),
        };
        self.files.push(File::new(content, mode, (id, group)));
        let made = self.files.len() - 1;
        self.names(place.0).insert(place.1, made);
        self.touch(place.0);
        Ok(Expected::Done)
    }

    fn bytes(&self, id: Id) -> Result<&Vec<u8>, Errno> {
        match &self.files[id].content {
            Content::File(bytes) => Ok(bytes),
            Content::Directory(_) => Err(Errno::EISDIR),
            Content::Symlink | Content::Special(..) => Err(Errno::EINVAL),
        }
    }

    fn write(&mut self, id: Id, offset: u64, data: &[u8]) -> Result<Expected, Errno> {
        self.writable()?;
        self.bytes(id)?;
        let file = &mut self.files[id];
        (file.mtime, file.changed) = (None, true);
        let Content::File(bytes) = &mut file.content else { return Err(Errno::EINVAL) };
        let offset = usize::try_from(offset).expect("small");
        if !data.is_empty() {
            let end = offset + data.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[offset..end].copy_from_slice(data);
        }
        Ok(Expected::Done)
    }

    fn copy_range(
        &mut self,
        (from, from_offset): (Id, u64),
        (to, to_offset): (Id, u64),
        len: u64,
    ) -> Result<Expected, Errno> {
        self.writable()?;
        self.bytes(from)?;
        self.bytes(to)?;
        let apart = from_offset + len <= to_offset || to_offset + len <= from_offset;
        if from == to && !apart {
            return Err(Errno::EINVAL);
        }
        let skip = usize::try_from(from_offset).expect("small");
        let take = usize::try_from(len).expect("small");
        let data: Vec<u8> = self.bytes(from)?.iter().skip(skip).take(take).copied().collect();
        self.write(to, to_offset, &data)?;
        Ok(Expected::Count(data.len() as u64))
    }

    fn change(&mut self, id: Id, change: Change) -> Result<Expected, Errno> {
        self.writable()?;
        if let Change::Size(_) = change {
            self.bytes(id)?;
        }
        let file = &mut self.files[id];
        if let (Change::Mode(_), Kind::Symlink) = (change, file.kind()) {
            return Err(Errno::ENOTSUP);
        }
        file.changed = true;
        match change {
            Change::Mode(mode) => file.mode = mode,
            Change::Owner(uid, gid) => {
                file.owner = (uid, gid);
                // chown(2) takes the rights of the old owner away.
                file.mode &= match (file.kind(), file.mode & 0o010) {
                    (Kind::Directory, _) => 0o7777,
                    (_, 0) => 0o3777,
                    _ => 0o1777,
                };
            }
            Change::Mtime(time) => file.mtime = Some(time),
            Change::Size(size) => {
                if let Content::File(bytes) = &mut file.content {
                    bytes.resize(usize::try_from(size).expect("small"), 0);
                }
                file.mtime = None;
            }
        }
        Ok(Expected::Done)
    }

    fn set_xattr(
        &mut self,
        id: Id,
        name: &'static str,
        value: &[u8],
        set: Set,
    ) -> Result<Expected, Errno> {
        self.writable()?;
        if !self.takes_user_xattrs(id) {
            return Ok(Expected::Skip);
        }
        match (set, self.files[id].xattrs.contains_key(name)) {
            (Set::Create, true) => return Err(Errno::EEXIST),
            (Set::Replace, false) => return Err(Errno::ENODATA),
            _ => {}
        }
        self.files[id].changed = true;
        self.files[id].xattrs.insert(name, value.to_vec());
        Ok(Expected::Done)
    }

    fn remove(&mut self, path: &Path, dir: bool) -> Result<Expected, Errno> {
        let place = self.parent(path)?;
        self.writable()?;
        let id = self.child(place).ok_or(Errno::ENOENT)?;
        match (dir, self.is_dir(id)) {
            (false, true) => return Err(Errno::EISDIR),
            (true, false) => return Err(Errno::ENOTDIR),
            _ if !self.is_empty(id) => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        self.take(place, id);
        Ok(Expected::Done)
    }

    pub(super) fn take(&mut self, place: (Id, &'static str), id: Id) {
        self.names(place.0).remove(place.1);
        self.touch(place.0);
        self.relink(id, |count| count.saturating_sub(1));
    }

    fn link(&mut self, id: Id, to: &Path) -> Result<Expected, Errno> {
        let place = self.parent(to)?;
        self.writable()?;
        if self.is_dir(id) {
            return Err(Errno::EPERM);
        }
        if self.child(place).is_some() {
            return Err(Errno::EEXIST);
        }
        if self.files[id].nlink == Some(0) {
            return Err(Errno::ENOENT);
        }
        // Without a name, of a file whose number of names is not known: either answer is right.
        if self.files[id].nlink.is_none() && !self.has_name(ROOT, id) {
            return Ok(Expected::Skip);
        }
        self.names(place.0).insert(place.1, id);
        self.touch(place.0);
        self.relink(id, |count| count + 1);
        Ok(Expected::Done)
    }

    fn has_name(&self, dir: Id, file: Id) -> bool {
        match &self.files[dir].content {
            Content::Directory(names) => {
                names.values().any(|&id| id == file || self.has_name(id, file))
            }
            _ => false,
        }
    }
}

/// What a symbolic link leads to.
pub(crate) fn target_of(file: &File) -> Option<&'static [u8]> {
    (file.content == Content::Symlink).then_some(TARGET)
}
