//! The operations of the model by system calls.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use mica::tree::{Device, Errno, Kind, Time};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps, XattrFlags, openat,
};
use rustix::process::{Gid, Uid, umask};
use rustix::thread::{
    CapabilitiesSecureBits, set_capabilities_secure_bits, set_thread_res_gid, set_thread_res_uid,
};

use super::layers::{NAMES, Path, TARGET, XATTRS};
use super::op::{Change, MakeKind, Op, Rename, SLOTS, Set, Target};
use super::view::{Returned, Shown};

pub(crate) type Result<T> = std::result::Result<T, Errno>;

/// A change of user leaves the capabilities of this thread as they are: that permissions are
/// checked is for other tests.
pub(crate) fn keep_capabilities() {
    set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP).expect("as root");
}

/// A directory that is worked in, and what is open of it.
#[derive(Debug)]
pub(crate) struct Calls {
    at: PathBuf,
    slots: [Option<OwnedFd>; SLOTS],
}

impl Calls {
    pub(crate) fn new(at: PathBuf) -> Self {
        Self { at, slots: [const { None }; SLOTS] }
    }

    /// The file at a path, with no symbolic link followed on the way.
    fn find(&self, path: &[&'static str]) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at = openat(CWD, &self.at, flags, Mode::empty()).map_err(errno)?;
        for name in path {
            at = openat(&at, *name, flags, Mode::empty()).map_err(errno)?;
        }
        Ok(at)
    }

    fn parent(&self, path: &Path) -> Result<(OwnedFd, &'static str)> {
        let (base, dir) = path.split_last().expect("not the root");
        let dir = self.find(dir)?;
        match kind(rustix::fs::fstat(&dir).map_err(errno)?.st_mode) {
            Kind::Directory => Ok((dir, base)),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn target(&self, target: &Target) -> Result<OwnedFd> {
        match target {
            Target::Path(path) => self.find(path),
            Target::Slot(slot) => {
                let open = self.slots[*slot].as_ref().expect("open");
                Ok(open.try_clone().expect("another descriptor"))
            }
        }
    }

    fn make(&self, op: &Op) -> Result<()> {
        let Op::Make { path, kind, mode, umask: mask, uid } = op else { panic!("{op:?}") };
        let (dir, base) = self.parent(path)?;
        let (gid, mode) = (uid + 10, Mode::from(u32::from(*mode)));
        let before = umask(Mode::from(u32::from(*mask)));
        set_thread_res_gid(None, Gid::from_raw(gid), None).expect("as root");
        set_thread_res_uid(None, Uid::from_raw(*uid), None).expect("as root");
        let node = |kind, device: Device| {
            let number = rustix::fs::makedev(device.major, device.minor);
            rustix::fs::mknodat(&dir, base, kind, mode, number)
        };
        let made = match kind {
            MakeKind::File => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                openat(&dir, base, flags, mode).map(drop)
            }
            MakeKind::Directory => rustix::fs::mkdirat(&dir, base, mode),
            MakeKind::Symlink => rustix::fs::symlinkat(TARGET, &dir, base),
            MakeKind::Fifo => node(FileType::Fifo, Device::default()),
            MakeKind::Socket => node(FileType::Socket, Device::default()),
            MakeKind::CharDevice(device) => node(FileType::CharacterDevice, *device),
        };
        set_thread_res_uid(None, Uid::from_raw(0), None).expect("back");
        set_thread_res_gid(None, Gid::from_raw(0), None).expect("back");
        umask(before);
        made.map_err(errno)?;
        if *kind == MakeKind::Directory {
            // mkdir(2) leaves the set-user-id bit out.
            let made = self.find(path)?;
            let made = through(&made);
            let now = made.metadata().expect("stat").mode() & 0o7777;
            let mode = now | mode.as_raw_mode() & 0o6000;
            fs::set_permissions(&made, fs::Permissions::from_mode(mode)).expect("chmod");
        }
        Ok(())
    }

    fn change(&self, file: &OwnedFd, change: Change) -> Result<()> {
        let path = through(file);
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode));
        match change {
            Change::Mode(bits) => mode(bits.into()).map_err(io),
            Change::Owner(uid, gid) => {
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                rustix::fs::chownat(file, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
                    .map_err(errno)
            }
            Change::Size(size) => open_file(file, true)?.set_len(size).map_err(io),
            Change::Mtime(to) => {
                let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
                let to = Timespec { tv_sec: to.secs, tv_nsec: to.nanos.into() };
                let times = Timestamps { last_access: omit, last_modification: to };
                rustix::fs::utimensat(file, "", &times, AtFlags::EMPTY_PATH).map_err(errno)
            }
        }
    }

    /// Everything but what is the mount's, and listings: what of those the kernel keeps is not the
    /// filesystem's.
    pub(crate) fn carry_out(&mut self, op: &Op) -> Result<Returned> {
        match op {
            Op::Make { .. } => self.make(op)?,
            Op::Read { at } => {
                return bytes(&open_file(&self.target(at)?, false)?).map(Returned::Bytes);
            }
            Op::Write { at, offset, data } => {
                open_file(&self.target(at)?, true)?.write_all_at(data, *offset).map_err(io)?;
            }
            Op::Change { at, change } => self.change(&self.target(at)?, *change)?,
            Op::CopyRange { from, to, from_offset, to_offset, len } => {
                let (from, to) = (self.target(from)?, self.target(to)?);
                let (from, to) = (open_file(&from, false)?, open_file(&to, true)?);
                let (mut from_offset, mut to_offset) = (*from_offset, *to_offset);
                let len = usize::try_from(*len).expect("small");
                let copied = rustix::fs::copy_file_range(
                    from,
                    Some(&mut from_offset),
                    to,
                    Some(&mut to_offset),
                    len,
                );
                return copied.map_err(errno).map(|n| Returned::Count(n as u64));
            }
            Op::SetXattr { at, name, value, set } => {
                let flags = match set {
                    Set::Any => XattrFlags::empty(),
                    Set::Create => XattrFlags::CREATE,
                    Set::Replace => XattrFlags::REPLACE,
                };
                let file = self.target(at)?;
                rustix::fs::setxattr(through(&file), *name, value, flags).map_err(errno)?;
            }
            Op::RemoveXattr { at, name } => {
                let file = self.target(at)?;
                rustix::fs::removexattr(through(&file), *name).map_err(errno)?;
            }
            _ => self.change_names(op)?,
        }
        Ok(Returned::Done)
    }

    fn change_names(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::Unlink(path) => {
                let (dir, base) = self.parent(path)?;
                rustix::fs::unlinkat(dir, base, AtFlags::empty()).map_err(errno)?;
            }
            Op::Rmdir(path) => {
                let (dir, base) = self.parent(path)?;
                rustix::fs::unlinkat(dir, base, AtFlags::REMOVEDIR).map_err(errno)?;
            }
            Op::Rename { from, to, how } => {
                let (from, to) = (self.parent(from)?, self.parent(to)?);
                let flags = match how {
                    Rename::Replace => RenameFlags::empty(),
                    Rename::NoReplace => RenameFlags::NOREPLACE,
                    Rename::Exchange => RenameFlags::EXCHANGE,
                };
                rustix::fs::renameat_with(from.0, from.1, to.0, to.1, flags).map_err(errno)?;
            }
            Op::Link { from, to } => {
                let (file, (dir, base)) = (self.target(from)?, self.parent(to)?);
                rustix::fs::linkat(file, "", dir, base, AtFlags::EMPTY_PATH).map_err(errno)?;
            }
            Op::Open { slot, path } => {
                self.slots[*slot] = None;
                self.slots[*slot] = Some(self.find(path)?);
            }
            Op::Close { slot } => self.slots[*slot] = None,
            other => panic!("{other:?} is not for a mount"),
        }
        Ok(())
    }

    fn shown(&self, file: &OwnedFd) -> Shown {
        let stat = rustix::fs::fstat(file).expect("stat");
        let kind = kind(stat.st_mode);
        let bytes = (kind == Kind::File)
            .then(|| open_file(file, false).and_then(|file| bytes(&file)).expect("bytes"));
        let target = (kind == Kind::Symlink)
            .then(|| rustix::fs::readlinkat(file, "", Vec::new()).expect("target").into_bytes());
        // The attributes that are used are only ever those of files and directories.
        let names = if matches!(kind, Kind::File | Kind::Directory) { &XATTRS[..] } else { &[] };
        let value = |name: &str| {
            let mut value = [0; 100];
            match rustix::fs::getxattr(through(file), name, &mut value[..]) {
                Ok(len) => Some((name.as_bytes().to_vec(), value[..len].to_vec())),
                Err(rustix::io::Errno::NODATA) => None,
                Err(error) => panic!("{name}: {error}"),
            }
        };
        let nanos = u32::try_from(stat.st_mtime_nsec).expect("nanoseconds");
        Shown {
            ino: stat.st_ino,
            kind,
            mode: u16::try_from(stat.st_mode & 0o7777).expect("twelve bits"),
            owner: (stat.st_uid, stat.st_gid),
            mtime: Time { secs: stat.st_mtime, nanos },
            nlink: u32::try_from(stat.st_nlink).expect("few"),
            device: Device {
                major: rustix::fs::major(stat.st_rdev),
                minor: rustix::fs::minor(stat.st_rdev),
            },
            size: u64::try_from(stat.st_size).expect("a size"),
            bytes,
            target,
            xattrs: names.iter().filter_map(|name| value(name)).collect(),
        }
    }

    /// All files by path, the root included.
    pub(crate) fn walk(&self) -> BTreeMap<Path, Shown> {
        let mut all = BTreeMap::new();
        let mut paths = vec![Path::new()];
        while let Some(path) = paths.pop() {
            let file = self.find(&path).expect("a file that is listed");
            let shown = self.shown(&file);
            if shown.kind == Kind::Directory {
                for name in listed(&file).expect("a directory") {
                    let known = NAMES.iter().find(|known| known.as_bytes() == name);
                    paths.push([&path[..], &[*known.expect("a name of the model")]].concat());
                }
            }
            all.insert(path, shown);
        }
        all
    }

    /// The file that is open as a slot.
    pub(crate) fn slot(&self, slot: usize) -> Shown {
        self.shown(self.slots[slot].as_ref().expect("open"))
    }

    /// The names in the directory that is open as a slot; a directory that is deleted has none.
    pub(crate) fn names(&self, slot: usize) -> Vec<Vec<u8>> {
        match listed(self.slots[slot].as_ref().expect("open")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            names => names.expect("a directory"),
        }
    }

    pub(crate) fn close_all(&mut self) {
        self.slots = [const { None }; SLOTS];
    }
}

fn listed(dir: &OwnedFd) -> std::io::Result<Vec<Vec<u8>>> {
    fs::read_dir(through(dir))?.map(|e| e.map(|e| e.file_name().into_encoded_bytes())).collect()
}

/// A path that leads to an open file, whatever names it has.
fn through(file: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Opens a file that is found; the error is that of a filesystem which is asked to read from or
/// write to what is no file.
fn open_file(file: &OwnedFd, write: bool) -> Result<File> {
    match kind(rustix::fs::fstat(file).map_err(errno)?.st_mode) {
        Kind::File => File::options().read(true).write(write).open(through(file)).map_err(io),
        Kind::Directory => Err(Errno::EISDIR),
        _ => Err(Errno::EINVAL),
    }
}

fn bytes(mut file: &File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut bytes).map_err(io)?;
    Ok(bytes)
}

fn kind(mode: u32) -> Kind {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Unknown => panic!("mode {mode:o}"),
    }
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn io(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().expect("an error of the system"))
}
