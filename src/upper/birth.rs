//! Making files: new ones, and copies of lower ones. All are staged, dressed, and then named.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use super::UpperDir;
use super::error::{Error, Result};
use super::fds::Open;
use super::mark::{self, Family};
use super::work::{Temp, is};
use crate::sys::at::{self, Access, FileType, NewTime, Stat};
use crate::sys::data;
use crate::sys::xattr::{self, Of, Set};
use crate::tree::{
    CopyUp, Data, Errno, Kind, Name, NewKind, NewNode, Node, NodeId, Origin, Place, Seek, Time,
    Xattr,
};

/// The most bytes that are copied at once.
const CHUNK: u64 = 256 * 1024;

/// What a staged file becomes.
struct Dress<'a> {
    mode: u16,
    uid: u32,
    gid: u32,
    xattrs: &'a [Xattr],
    opaque: bool,
    origin: Option<Origin>,
}

/// A file that was made in the staging directory.
struct Staged<'a> {
    temp: Temp<'a>,
    /// Of a regular file.
    file: Option<OwnedFd>,
    kind: FileType,
    /// Whether it has its owner and permission bits.
    dressed: bool,
}

impl UpperDir {
    pub(super) fn make_file(&self, dir: NodeId, name: &Name, new: &NewNode<'_>) -> Result<Node> {
        self.check_new_name(name)?;
        let into = self.dir.directory(dir)?;
        let opaque = matches!(new.kind, NewKind::Directory { opaque: true });
        let NewNode { mode, uid, gid, xattrs, .. } = *new;
        let dress = Dress { mode, uid, gid, xattrs, opaque, origin: None };
        let staged = self.stage(&new.kind, &dress)?;
        self.dress(&staged, &dress, Strict::All)?;
        let Staged { temp, file, .. } = staged;
        self.work.publish(temp, into.as_fd(), name.as_os_str())?;
        let stat = self.after(file, into.as_fd(), name)?;
        Ok(Node {
            id: NodeId(stat.ino),
            attr: self.dir.attr_of(&stat),
            opaque,
            implied: false,
            origin: None,
        })
    }

    /// The attributes of what was just named. A regular file stays open for the writes to come.
    fn after(&self, file: Option<OwnedFd>, dir: BorrowedFd<'_>, name: &Name) -> Result<Stat> {
        let Some(file) = file else {
            return at::stat(dir, name.as_os_str())?.ok_or(Error::Refused(Errno::ENOENT));
        };
        let stat = at::fstat(file.as_fd())?;
        let open = Open::new(file, Access::Write, FileType::RegularFile);
        self.dir.fds.put(self.dir.layer, NodeId(stat.ino), &open);
        Ok(stat)
    }

    /// Makes an empty file. Where nothing is to be done to it that its permission bits could
    /// forbid, it has them from the first call on.
    fn stage(&self, kind: &NewKind<'_>, dress: &Dress<'_>) -> Result<Staged<'_>> {
        let own = (dress.uid, dress.gid) == self.work.ids && self.work.exact_modes;
        let writable = !dress.opaque || dress.mode & 0o200 != 0;
        let dressed = own && writable && dress.xattrs.is_empty() && dress.origin.is_none();
        let mode = |private| if dressed { dress.mode } else { private };
        let temp = self.work.temp();
        let (stage, name) = temp.at();
        let mut file = None;
        let node = |kind, device| at::mknod(stage, name, kind, mode(0o600), device);
        let kind = match *kind {
            NewKind::File => {
                file = Some(at::create(stage, name, mode(0o600))?);
                FileType::RegularFile
            }
            NewKind::Directory { .. } => {
                at::mkdir(stage, name, mode(0o700))?;
                if dressed && dress.mode & 0o6000 != 0 {
                    // mkdir(2) does not take these bits.
                    at::chmod(stage, name, dress.mode)?;
                }
                FileType::Directory
            }
            NewKind::Symlink(target) => {
                at::symlink(OsStr::from_bytes(target), stage, name)?;
                FileType::Symlink
            }
            NewKind::Fifo => node(FileType::Fifo, (0, 0)).map(|()| FileType::Fifo)?,
            NewKind::Socket => node(FileType::Socket, (0, 0)).map(|()| FileType::Socket)?,
            NewKind::CharDevice(device) => {
                let device = (device.major, device.minor);
                if mark::is_whiteout_device(device) {
                    return Err(Error::Refused(Errno::EPERM));
                }
                node(FileType::CharacterDevice, device).map(|()| FileType::CharacterDevice)?
            }
            NewKind::BlockDevice(device) => {
                let device = (device.major, device.minor);
                node(FileType::BlockDevice, device).map(|()| FileType::BlockDevice)?
            }
        };
        Ok(Staged { temp, file, kind, dressed })
    }

    /// Owner first, which takes set-user-id bits and capabilities away; permission bits last,
    /// which may forbid to set attributes.
    fn dress(&self, staged: &Staged<'_>, dress: &Dress<'_>, strict: Strict) -> Result<()> {
        let (stage, name) = staged.temp.at();
        if dress.opaque {
            mark::write_opaque(stage, name, self.work.family)?;
        }
        if staged.dressed {
            return Ok(());
        }
        if (dress.uid, dress.gid) != self.work.ids {
            at::chown(stage, name, dress.uid, dress.gid)?;
        }
        for (attr, value) in dress.xattrs {
            let of = Of::Name(stage, name);
            match xattr::set(of, &mark::stored(attr), value, Set::Any) {
                Err(error) if strict.forgives(attr, staged.kind, &error) => {
                    log::debug!("not copied up: {error}");
                }
                other => other?,
            }
        }
        if let (Some(origin), Some(family)) = (dress.origin, self.records_origin(staged.kind)) {
            mark::write_origin(Of::Name(stage, name), family, origin)?;
        }
        if staged.kind != FileType::Symlink {
            at::chmod(stage, name, dress.mode)?;
        }
        Ok(())
    }

    /// Where the origin of such a file is recorded. Symbolic links and special files take no
    /// attribute of a user.
    fn records_origin(&self, kind: FileType) -> Option<Family> {
        let plain = matches!(kind, FileType::RegularFile | FileType::Directory);
        self.work.family.filter(|&family| plain || family == Family::Trusted)
    }

    pub(super) fn copy_file_up(&self, place: Place<'_>, from: &CopyUp<'_>) -> Result<Node> {
        let into = match place {
            Place::Entry { dir, name } => {
                self.check_new_name(name)?;
                Some((self.dir.directory(dir)?, name))
            }
            Place::Orphan => None,
        };
        let attr = from.attr;
        let dress = Dress {
            mode: attr.mode,
            uid: attr.uid,
            gid: attr.gid,
            xattrs: from.xattrs,
            opaque: false,
            origin: Some(from.origin),
        };
        let staged = self.stage(&new_kind(from), &dress)?;
        if let (Some(file), Some(data)) = (&staged.file, from.data) {
            copy_data(data, file.as_fd(), from.keep.min(attr.size))?;
        }
        self.dress(&staged, &dress, Strict::Needed)?;
        let (stage, temp_name) = staged.temp.at();
        let time = |Time { secs, nanos }| NewTime::To((secs, nanos));
        at::utimens(stage, temp_name, time(attr.atime), time(attr.mtime))?;
        if let Some(file) = staged.file.as_ref().filter(|_| !self.work.volatile) {
            data::sync_all(file.as_fd())?;
        }
        match into {
            Some((into, name)) => self.name_copy(staged, into.as_fd(), name, from),
            None => self.leave_nameless(staged, from),
        }
    }

    fn name_copy(
        &self,
        staged: Staged<'_>,
        into: BorrowedFd<'_>,
        name: &Name,
        from: &CopyUp<'_>,
    ) -> Result<Node> {
        let Staged { temp, file, kind, .. } = staged;
        let (stage, temp_name) = temp.at();
        let before = at::fstat(into)?;
        if from.index && kind != FileType::Directory {
            let stat = at::stat(stage, temp_name)?.ok_or(Error::Refused(Errno::ENOENT))?;
            self.dir.index.add(from.origin, NodeId(stat.ino), stage, temp_name)?;
        }
        if let Err(error) = self.work.publish(temp, into, name.as_os_str()) {
            if from.index && kind != FileType::Directory {
                self.dir.index.remove(from.origin)?;
            }
            return Err(error);
        }
        // Nobody asked for the directory to change. If it cannot be helped, it does.
        let time = NewTime::To;
        if let Err(error) = at::futimens(into, time(before.atime), time(before.mtime)) {
            log::warn!("times of a directory not kept over copy-up: {error}");
        }
        let stat = self.after(file, into, name)?;
        Ok(self.copied(&stat, kind, from))
    }

    fn leave_nameless(&self, staged: Staged<'_>, from: &CopyUp<'_>) -> Result<Node> {
        let Staged { temp, file, kind, .. } = staged;
        let (stage, name) = temp.at();
        let open = match file {
            Some(file) => Open::new(file, Access::Write, kind),
            None => {
                let fd = at::open_path(stage, name)?.ok_or(Error::Refused(Errno::ENOENT))?;
                Open::new(fd, Access::Path, kind)
            }
        };
        if kind == FileType::Directory {
            at::rmdir(stage, name)?;
        } else {
            at::unlink(stage, name)?;
        }
        temp.moved();
        let stat = at::fstat(open.as_fd())?;
        self.dir.tree.adopt(NodeId(stat.ino), open);
        Ok(self.copied(&stat, kind, from))
    }

    fn copied(&self, stat: &Stat, kind: FileType, from: &CopyUp<'_>) -> Node {
        Node {
            id: NodeId(stat.ino),
            attr: self.dir.attr_of(stat),
            opaque: false,
            implied: false,
            origin: self.records_origin(kind).map(|_| from.origin),
        }
    }
}

/// Which attributes must be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strict {
    /// All.
    All,
    /// Those of a lower file without which the copy would be less protected, or lose what its
    /// user put there.
    Needed,
}

impl Strict {
    /// Whether a file may go without `attr`, which could not be set.
    fn forgives(self, attr: &[u8], kind: FileType, error: &crate::sys::Error) -> bool {
        let plain = matches!(kind, FileType::RegularFile | FileType::Directory);
        let unsupported = is(error, Errno::ENOTSUP);
        let forbidden = is(error, Errno::EPERM);
        match self {
            Self::All => false,
            Self::Needed if attr.starts_with(b"system.posix_acl_") => false,
            // An image can hold what Linux does not allow.
            Self::Needed if attr.starts_with(b"user.") => (unsupported || forbidden) && !plain,
            // `trusted.*` and labels are beyond one who is root in a namespace of users only.
            Self::Needed => unsupported || forbidden,
        }
    }
}

fn new_kind<'a>(from: &CopyUp<'a>) -> NewKind<'a> {
    match from.attr.kind {
        Kind::File => NewKind::File,
        Kind::Directory => NewKind::Directory { opaque: false },
        Kind::Symlink => NewKind::Symlink(from.target),
        Kind::Fifo => NewKind::Fifo,
        Kind::Socket => NewKind::Socket,
        Kind::CharDevice => NewKind::CharDevice(from.attr.device),
        Kind::BlockDevice => NewKind::BlockDevice(from.attr.device),
    }
}

/// Copies the first `len` bytes, keeping holes.
fn copy_data(from: &dyn Data, to: BorrowedFd<'_>, len: u64) -> Result<()> {
    let chunk = usize::try_from(CHUNK.min(len)).unwrap_or_default();
    let mut buf = vec![0; chunk];
    let mut end = 0;
    while end < len {
        let start = match from.seek(end, Seek::Data) {
            Ok(start) if start < len => start,
            Ok(_) => break,
            Err(error) if error.errno() == Errno::ENXIO => break,
            Err(error) => return Err(Error::Source(error)),
        };
        let hole = from.seek(start, Seek::Hole).map_err(Error::Source)?.min(len);
        if start < end || hole <= start {
            return Err(Error::Source(crate::tree::Error::new(Errno::EIO, "extents go backwards")));
        }
        copy_extent(from, to, start, hole, &mut buf)?;
        end = hole;
    }
    if end < len {
        data::truncate(to, len)?;
    }
    Ok(())
}

fn copy_extent(
    from: &dyn Data,
    to: BorrowedFd<'_>,
    start: u64,
    end: u64,
    buf: &mut [u8],
) -> Result<()> {
    let mut at = start;
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(buf.len());
        let part = buf.get_mut(..want).unwrap_or_default();
        let n = from.read_at(at, part).map_err(Error::Source)?;
        let Some(read) = part.get(..n).filter(|read| !read.is_empty()) else {
            let short = crate::tree::Error::new(Errno::EIO, "shorter than its size");
            return Err(Error::Source(short));
        };
        data::write_at(to, at, read)?;
        at = at.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
    }
    Ok(())
}
