//! A directory on disk read as a layer: what [`LowerDir`](super::LowerDir) and
//! [`UpperDir`](super::UpperDir) have in common.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{Hash as _, Hasher as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::time::Duration;

use super::error::{Error, Result};
use super::fds::{FdCache, Open};
use super::index::Index;
use super::mark::{self, DotWh, Marks};
use super::tree::{Found, Place, Tree};
use super::work::is;
use crate::oci::whiteout::{self, Spelling};
use crate::sys::at::{self, Access, FileType, Stat};
use crate::sys::xattr::{self, Of};
use crate::sys::{data, dirent};
use crate::tree::{
    Attr, Device, Errno, FsStats, Kind, LayerId, Listed, Name, Node, NodeId, Seek, Slot, Time,
    Xattr,
};

/// Positions are below this.
const POSITIONS: u64 = 1 << 47;

/// The most directories that are opened on the way to a file. More means that directories are
/// being moved into each other at this moment.
const DEEPEST: usize = 1 << 16;

/// How often a file is looked for that is being moved.
const TRIES: u32 = 40;

/// A directory on disk, read as a layer.
///
/// Nothing is locked while the kernel is asked; the locks of `tree`, `fds` and `index` are each
/// taken alone.
#[derive(Debug)]
pub(super) struct Dir {
    root: Arc<Open>,
    root_node: NodeId,
    device: at::Device,
    id: LayerId,
    pub(super) tree: Tree,
    pub(super) fds: FdCache,
    pub(super) layer: u64,
    pub(super) dot_wh: DotWh,
    /// What regular files are opened for.
    access: Access,
    /// Whether special files can have marks.
    specials: bool,
    /// Files that can be found without a name.
    pub(super) index: Index,
}

/// What differs between the two kinds of layers.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) fds: FdCache,
    pub(super) dot_wh: DotWh,
    pub(super) access: Access,
    pub(super) specials: bool,
    pub(super) index: Index,
}

impl Dir {
    pub(super) fn new(root: File, manner: Manner) -> Result<Self> {
        let stat = at::fstat(root.as_fd())?;
        let node = NodeId(stat.ino);
        let Manner { fds, dot_wh, access, specials, index } = manner;
        Ok(Self {
            root: Open::new(root.into(), Access::Read, FileType::Directory),
            root_node: node,
            device: stat.dev,
            id: layer_id(&stat),
            tree: Tree::new(node),
            layer: fds.register(),
            fds,
            dot_wh,
            access,
            specials,
            index,
        })
    }

    pub(super) fn id(&self) -> LayerId {
        self.id
    }

    pub(super) fn root(&self) -> Result<Node> {
        let stat = at::fstat(self.root.as_fd())?;
        let mut marks = mark::read_open(self.root.as_fd(), &stat)?;
        marks.opaque |= self.has_opaque_file(self.root.as_fd(), None)?;
        Ok(self.node(&stat, marks))
    }

    pub(super) fn slot(&self, dir: NodeId, name: &Name) -> Result<Slot> {
        if !matches!(mark::spelling(name.as_bytes(), self.dot_wh), Spelling::Plain(_)) {
            return Ok(Slot::Absent);
        }
        let dir = self.directory(dir)?;
        if let Some(slot) = self.file_slot(dir.as_fd(), name.as_os_str())? {
            return Ok(slot);
        }
        if self.dot_wh == DotWh::Marks {
            let mark = whiteout::whiteout(name.as_bytes());
            // A mark that is too long for a name is none.
            if mark.len() <= Name::MAX && at::stat(dir.as_fd(), OsStr::from_bytes(&mark))?.is_some()
            {
                return Ok(Slot::Whiteout);
            }
        }
        Ok(Slot::Absent)
    }

    /// What the file of this name says, if there is one.
    fn file_slot(&self, dir: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Slot>> {
        let Some(stat) = at::stat(dir, name)? else { return Ok(None) };
        if stat.dev != self.device {
            let name = name.as_encoded_bytes().escape_ascii().to_string();
            return Err(Error::Crosses { name });
        }
        let marks = match mark::read(dir, name, &stat, self.specials) {
            // It went between the two calls.
            Err(error) if error.is(Errno::ENOENT) => return Ok(None),
            other => other?,
        };
        if marks.whiteout {
            return Ok(Some(Slot::Whiteout));
        }
        let mut node = self.node(&stat, marks);
        if stat.kind == FileType::Directory {
            node.opaque |= self.has_opaque_file(dir, Some(name))?;
        }
        Ok(Some(Slot::Node(node)))
    }

    /// Whether a directory is opaque by the file that image layers use for it.
    fn has_opaque_file(&self, dir: BorrowedFd<'_>, name: Option<&OsStr>) -> Result<bool> {
        if self.dot_wh == DotWh::Plain {
            return Ok(false);
        }
        let opaque = OsStr::from_bytes(whiteout::opaque());
        let found = match name {
            None => at::stat(dir, opaque),
            Some(name) => match at::open_path(dir, name)? {
                None => return Ok(false),
                Some(inner) => at::stat(inner.as_fd(), opaque),
            },
        };
        match found {
            // Nor may its names be asked for, so none of a lower layer comes in the place of one.
            Err(error) if is(&error, Errno::EACCES) => Ok(false),
            other => Ok(other?.is_some()),
        }
    }

    fn node(&self, stat: &Stat, marks: Marks) -> Node {
        Node {
            id: NodeId(stat.ino),
            attr: self.attr_of(stat),
            opaque: marks.opaque,
            implied: false,
            origin: marks.origin,
        }
    }

    /// The attributes without what only the disk has: the index's name, and the many names of a
    /// directory.
    pub(super) fn attr_of(&self, stat: &Stat) -> Attr {
        let time = |(secs, nanos)| Time { secs, nanos };
        let kind = kind_of(stat.kind);
        let nlink = match kind {
            Kind::Directory => stat.nlink.min(1),
            _ if stat.nlink > 0 && self.index.has(NodeId(stat.ino)) => stat.nlink - 1,
            _ => stat.nlink,
        };
        Attr {
            kind,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            size: stat.size,
            blocks: stat.blocks,
            nlink,
            device: Device { major: stat.rdev.0, minor: stat.rdev.1 },
            atime: time(stat.atime),
            mtime: time(stat.mtime),
            ctime: time(stat.ctime),
        }
    }

    pub(super) fn list(&self, dir: NodeId) -> Result<Vec<Listed>> {
        let dir = self.directory(dir)?;
        let mut listed: HashMap<Name, Slot> = HashMap::new();
        for entry in self.raw_entries(&dir)? {
            let (base, slot) = match mark::spelling(&entry.name, self.dot_wh) {
                Spelling::Plain(name) => {
                    match self.file_slot(dir.as_fd(), OsStr::from_bytes(name))? {
                        Some(slot) => (name, slot),
                        None => continue,
                    }
                }
                Spelling::Whiteout(name) => (name, Slot::Whiteout),
                Spelling::Opaque | Spelling::Reserved | Spelling::Invalid => continue,
            };
            let Ok(name) = Name::new(base) else { continue };
            // A file of the layer's own counts more than its whiteout.
            match slot {
                Slot::Node(_) => drop(listed.insert(name, slot)),
                Slot::Whiteout | Slot::Absent => drop(listed.entry(name).or_insert(slot)),
            }
        }
        Ok(in_order(listed))
    }

    pub(super) fn raw_entries(&self, dir: &Open) -> Result<Vec<dirent::Entry>> {
        let readable = at::reopen_dir(dir.as_fd())?;
        Ok(dirent::entries(readable.as_fd())?)
    }

    pub(super) fn attr(&self, node: NodeId) -> Result<Attr> {
        let open = self.open(node)?;
        Ok(self.attr_of(&at::fstat(open.as_fd())?))
    }

    pub(super) fn readlink(&self, node: NodeId) -> Result<Box<[u8]>> {
        let open = self.open(node)?;
        if open.kind != FileType::Symlink {
            return Err(Error::Refused(Errno::EINVAL));
        }
        Ok(at::readlink(open.as_fd())?.into())
    }

    pub(super) fn xattr(&self, node: NodeId, name: &[u8]) -> Result<Box<[u8]>> {
        let open = self.open(node)?;
        let value = xattr::get(Of::Fd(open.as_fd()), &mark::stored(name))?;
        value.map(Into::into).ok_or(Error::Refused(Errno::ENODATA))
    }

    pub(super) fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        let open = self.open(node)?;
        let of = Of::Fd(open.as_fd());
        let mut xattrs = Vec::new();
        for stored in xattr::list(of)?.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            // One that went since is none.
            if let Some(shown) = mark::shown(stored)
                && let Some(value) = xattr::get(of, stored)?
            {
                xattrs.push((shown.as_ref().into(), value.into()));
            }
        }
        Ok(xattrs)
    }

    pub(super) fn read_at(&self, node: NodeId, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let file = self.file(node, Access::Read)?;
        Ok(data::read_at(file.as_fd(), offset, buf)?)
    }

    pub(super) fn seek(&self, node: NodeId, offset: u64, seek: Seek) -> Result<u64> {
        let file = self.file(node, Access::Read)?;
        let whence = match seek {
            Seek::Data => data::Whence::Data,
            Seek::Hole => data::Whence::Hole,
        };
        Ok(data::seek(file.as_fd(), offset, whence)?)
    }

    pub(super) fn forget(&self, node: NodeId, count: u64) {
        for gone in self.tree.forget(node, count) {
            self.fds.remove(self.layer, gone);
        }
    }

    pub(super) fn stats(&self) -> Result<FsStats> {
        let sizes = data::sizes(self.root.as_fd())?;
        Ok(FsStats {
            block_size: u32::try_from(sizes.block_size).unwrap_or(u32::MAX),
            blocks: sizes.blocks,
            free: sizes.free,
            available: sizes.available,
            files: sizes.files,
            files_free: sizes.files_free,
        })
    }

    /// The open directory `node`.
    pub(super) fn directory(&self, node: NodeId) -> Result<Arc<Open>> {
        let open = self.open(node)?;
        if open.kind == FileType::Directory {
            Ok(open)
        } else {
            Err(Error::Refused(Errno::ENOTDIR))
        }
    }

    /// The open regular file `node`, open for `access` at least.
    pub(super) fn file(&self, node: NodeId, access: Access) -> Result<Arc<Open>> {
        let open = self.open(node)?;
        match open.kind {
            FileType::RegularFile if open.access >= access => return Ok(open),
            FileType::RegularFile => {}
            FileType::Directory => return Err(Error::Refused(Errno::EISDIR)),
            _ => return Err(Error::Refused(Errno::EINVAL)),
        }
        let most = access.max(self.access);
        let (fd, access) = match at::reopen(open.as_fd(), most) {
            // It cannot be written to, but it may be readable.
            Err(_) if most > access => (at::reopen(open.as_fd(), access)?, access),
            other => (other?, most),
        };
        let open = Open::new(fd, access, FileType::RegularFile);
        self.fds.put(self.layer, node, &open);
        Ok(open)
    }

    /// The open file `node`, for whatever it is open.
    pub(super) fn open(&self, node: NodeId) -> Result<Arc<Open>> {
        if node == self.root_node {
            return Ok(Arc::clone(&self.root));
        }
        if let Some(open) = self.fds.get(self.layer, node) {
            return Ok(open);
        }
        for attempt in 0..TRIES {
            if let Some(open) = self.find(node)? {
                return Ok(open);
            }
            // It is being moved, by a thread that is between the kernel and the tree.
            std::thread::sleep(Duration::from_micros(50) * attempt);
        }
        Err(Error::Refused(Errno::ESTALE))
    }

    /// Opens `node` at one of its places, and first the directories on the way that are not
    /// open. `None` when none of the places is right at this moment.
    fn find(&self, node: NodeId) -> Result<Option<Arc<Open>>> {
        let mut way: Vec<(NodeId, Vec<Place>)> = Vec::new();
        let mut at = node;
        let mut open = loop {
            if at == self.root_node {
                break Arc::clone(&self.root);
            }
            if let Some(open) = self.fds.get(self.layer, at) {
                break open;
            }
            match self.tree.find(at) {
                Found::Unknown => return Err(Error::Refused(Errno::ESTALE)),
                Found::Pinned(open) => break open,
                Found::Places(places) => {
                    let last = places.last().map(|place| place.dir);
                    way.push((at, places));
                    match last {
                        Some(dir) if way.len() < DEEPEST => at = dir,
                        _ => break Arc::clone(&self.root),
                    }
                }
            }
        };
        while let Some((node, places)) = way.pop() {
            match self.open_at(node, &places, &open)? {
                Some(found) => open = found,
                None => return Ok(None),
            }
        }
        Ok(Some(open))
    }

    /// Opens `node` in one of the directories that are open, or by the index. `parent` is the
    /// directory of its last place.
    fn open_at(
        &self,
        node: NodeId,
        places: &[Place],
        parent: &Arc<Open>,
    ) -> Result<Option<Arc<Open>>> {
        for (n, Place { dir, name }) in places.iter().rev().enumerate() {
            let dir = match n {
                0 => Some(Arc::clone(parent)),
                _ if *dir == self.root_node => Some(Arc::clone(&self.root)),
                _ => self.fds.get(self.layer, *dir),
            };
            let Some(dir) = dir else { continue };
            if let Some(open) = self.open_if(node, dir.as_fd(), name.as_os_str())? {
                return Ok(Some(open));
            }
        }
        match self.index.place(node) {
            Some((dir, name)) => self.open_if(node, dir, OsStr::from_bytes(&name)),
            None => Ok(None),
        }
    }

    /// Opens `name` in `dir` if it is `node`.
    pub(super) fn open_if(
        &self,
        node: NodeId,
        dir: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<Option<Arc<Open>>> {
        let fd = match at::open_path(dir, name) {
            Ok(Some(fd)) => fd,
            Ok(None) => return Ok(None),
            Err(error) if error.errno() == Errno::ENOTDIR.raw() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stat = at::fstat(fd.as_fd())?;
        if stat.ino != node.0 || stat.dev != self.device {
            return Ok(None);
        }
        let open = Open::new(fd, Access::Path, stat.kind);
        self.fds.put(self.layer, node, &open);
        Ok(Some(open))
    }
}

/// Gives each name a position: a number made of its bytes, or where that is taken the next free
/// one.
fn in_order(listed: HashMap<Name, Slot>) -> Vec<Listed> {
    let mut listed: Vec<Listed> = listed
        .into_iter()
        .map(|(name, slot)| Listed { position: position_of(&name), name, slot })
        .collect();
    listed.sort_unstable_by(|a, b| (a.position, &a.name).cmp(&(b.position, &b.name)));
    let mut free = 0;
    for listed in &mut listed {
        listed.position = listed.position.max(free);
        free = listed.position + 1;
    }
    listed
}

/// 46 bits, so that names whose number is taken have room above.
fn position_of(name: &Name) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.as_bytes().hash(&mut hasher);
    hasher.finish() % (POSITIONS / 2)
}

fn layer_id(stat: &Stat) -> LayerId {
    let (major, minor) = stat.dev;
    let device = u64::from(major) << 32 | u64::from(minor);
    // An odd number spreads the device over all bits; the inode number tells the rest apart.
    LayerId((device.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stat.ino).to_be_bytes())
}

pub(super) fn kind_of(kind: FileType) -> Kind {
    match kind {
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::RegularFile | FileType::Unknown => Kind::File,
    }
}
