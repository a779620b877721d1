//! Files by directory and name, and by descriptor: the calls of the `*at` family.
//!
//! No call follows a symbolic link in `name`. Every descriptor is closed at exec.

use std::ffi::{CStr, OsStr};
use std::fmt::Write as _;
use std::fs::File;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, RenameFlags, Statx, StatxFlags, Timespec, Timestamps, Uid,
};
use rustix::io::Errno;

use super::{Error, Result};

pub use rustix::fs::FileType;

/// A device: major and minor number.
pub type Device = (u32, u32);

/// Seconds since 1970, rounded down, and nanoseconds.
pub type Time = (i64, u32);

/// What statx(2) says of a file.
#[derive(Debug, Clone, Copy)]
pub struct Stat {
    /// Inode number.
    pub ino: u64,
    /// The device that holds the file.
    pub dev: Device,
    /// Type of file.
    pub kind: FileType,
    /// Permission bits, `0..=0o7777`.
    pub mode: u16,
    /// Number of names.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Space taken, in units of 512 bytes.
    pub blocks: u64,
    /// The device that the file stands for.
    pub rdev: Device,
    /// Last read.
    pub atime: Time,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of content or attributes.
    pub ctime: Time,
}

impl From<Statx> for Stat {
    fn from(x: Statx) -> Self {
        Self {
            ino: x.stx_ino,
            dev: (x.stx_dev_major, x.stx_dev_minor),
            kind: FileType::from_raw_mode(x.stx_mode.into()),
            mode: x.stx_mode & 0o7777,
            nlink: x.stx_nlink,
            uid: x.stx_uid,
            gid: x.stx_gid,
            size: x.stx_size,
            blocks: x.stx_blocks,
            rdev: (x.stx_rdev_major, x.stx_rdev_minor),
            atime: (x.stx_atime.tv_sec, x.stx_atime.tv_nsec),
            mtime: (x.stx_mtime.tv_sec, x.stx_mtime.tv_nsec),
            ctime: (x.stx_ctime.tv_sec, x.stx_ctime.tv_nsec),
        }
    }
}

/// What an open file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// To be named only: `O_PATH`.
    Path,
    /// To be read, without a trace in its time of last read where that is permitted.
    Read,
    /// To be read and written.
    Write,
}

/// How renameat2(2) treats what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rename {
    /// The target is replaced.
    Replace,
    /// `EEXIST` when there is a target.
    NoReplace,
    /// Source and target change places.
    Exchange,
    /// The target is replaced, and a character device 0:0 stays at the source.
    Whiteout,
}

/// A new value for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewTime {
    /// Not changed.
    Omit,
    /// The present.
    Now,
    /// This moment.
    To(Time),
}

/// The path of an open file under `/proc/self/fd`, with a name in it or without one, on the
/// stack.
pub(super) struct ProcPath {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl ProcPath {
    /// `/proc/self/fd/`, ten digits, `/`, a name, NUL.
    const MAX: usize = 14 + 10 + 1 + 255 + 1;

    pub(super) fn new(fd: BorrowedFd<'_>, name: Option<&OsStr>) -> Self {
        let mut path = Self { bytes: [0; Self::MAX], len: 0 };
        // It cannot fail: the longest number fits.
        if write!(path, "/proc/self/fd/{}", fd.as_raw_fd()).is_ok()
            && let Some(name) = name
        {
            path.push(b"/");
            path.push(name.as_encoded_bytes());
        }
        path
    }

    fn push(&mut self, more: &[u8]) {
        // A name that is too long is cut to one that the kernel refuses as too long.
        for (to, &byte) in self.bytes.iter_mut().take(Self::MAX - 1).skip(self.len).zip(more) {
            *to = byte;
            self.len += 1;
        }
    }

    pub(super) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

impl std::fmt::Write for ProcPath {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        self.push(s.as_bytes());
        Ok(())
    }
}

/// How an error shows a name in a directory.
fn shown(dir: BorrowedFd<'_>, name: &OsStr) -> String {
    format!("{}, {:?}", dir.as_raw_fd(), name)
}

fn fail(call: &'static str, dir: BorrowedFd<'_>, name: &OsStr, errno: Errno) -> Error {
    Error::new(call, shown(dir, name), errno.raw_os_error())
}

fn fail_fd(call: &'static str, fd: BorrowedFd<'_>, errno: Errno) -> Error {
    Error::new(call, fd.as_raw_fd().to_string(), errno.raw_os_error())
}

/// `None` instead of `ENOENT`.
fn found<T>(
    call: &'static str,
    dir: BorrowedFd<'_>,
    name: &OsStr,
    result: rustix::io::Result<T>,
) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(fail(call, dir, name, errno)),
    }
}

/// statx(2) of `name` in `dir`; `None` when there is no such name.
///
/// # Errors
/// Those of statx(2).
pub fn stat(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Stat>> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let result = rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS);
    Ok(found("statx", dir, name, result)?.map(Stat::from))
}

/// statx(2) of an open file.
///
/// # Errors
/// Those of statx(2).
pub fn fstat(fd: BorrowedFd<'_>) -> Result<Stat> {
    rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
        .map(Stat::from)
        .map_err(|errno| fail_fd("statx", fd, errno))
}

/// Opens a directory by path, to be read and locked.
///
/// # Errors
/// Those of open(2).
pub fn open_dir(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map(File::from)
        .map_err(|errno| Error::new("open", format!("{path:?}"), errno.raw_os_error()))
}

/// Opens `name` in `dir` with `O_PATH`, whatever it is; `None` when there is no such name.
///
/// # Errors
/// Those of openat(2).
pub fn open_path(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    found("openat", dir, name, rustix::fs::openat(dir, name, flags, Mode::empty()))
}

/// Opens an open directory once more, to list or sync it.
///
/// # Errors
/// Those of openat(2).
pub fn reopen_dir(dir: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, c".", flags, Mode::empty())
        .map_err(|errno| fail("openat", dir, OsStr::new("."), errno))
}

/// Opens an open regular file once more, for other access. Needs `/proc`.
///
/// # Errors
/// Those of open(2).
pub fn reopen(fd: BorrowedFd<'_>, access: Access) -> Result<OwnedFd> {
    let path = ProcPath::new(fd, None);
    let open = |flags| {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        rustix::fs::openat(CWD, path.as_c_str(), flags, Mode::empty())
    };
    let result = match access {
        Access::Path => open(OFlags::PATH),
        Access::Write => open(OFlags::RDWR),
        Access::Read => match open(OFlags::RDONLY | OFlags::NOATIME) {
            // Only the owner may leave no trace.
            Err(Errno::PERM) => open(OFlags::RDONLY),
            other => other,
        },
    };
    result.map_err(|errno| fail_fd("open", fd, errno))
}

/// Makes a regular file that is not there yet, and opens it to be read and written.
///
/// # Errors
/// Those of openat(2).
pub fn create(dir: BorrowedFd<'_>, name: &OsStr, mode: u16) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, bits(mode))
        .map_err(|errno| fail("openat", dir, name, errno))
}

fn bits(mode: u16) -> Mode {
    Mode::from_raw_mode(mode.into())
}

/// mkdirat(2).
///
/// # Errors
/// Those of mkdirat(2).
pub fn mkdir(dir: BorrowedFd<'_>, name: &OsStr, mode: u16) -> Result<()> {
    rustix::fs::mkdirat(dir, name, bits(mode)).map_err(|errno| fail("mkdirat", dir, name, errno))
}

/// mknodat(2); `device` is for devices.
///
/// # Errors
/// Those of mknodat(2).
pub fn mknod(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    kind: FileType,
    mode: u16,
    device: Device,
) -> Result<()> {
    let device = rustix::fs::makedev(device.0, device.1);
    rustix::fs::mknodat(dir, name, kind, bits(mode), device)
        .map_err(|errno| fail("mknodat", dir, name, errno))
}

/// symlinkat(2).
///
/// # Errors
/// Those of symlinkat(2).
pub fn symlink(target: &OsStr, dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    rustix::fs::symlinkat(target, dir, name).map_err(|errno| fail("symlinkat", dir, name, errno))
}

/// The target of a symbolic link that is open with `O_PATH`.
///
/// # Errors
/// Those of readlinkat(2); `ENOENT` when it is no symbolic link.
pub fn readlink(fd: BorrowedFd<'_>) -> Result<Vec<u8>> {
    rustix::fs::readlinkat(fd, c"", Vec::new())
        .map(std::ffi::CString::into_bytes)
        .map_err(|errno| fail_fd("readlinkat", fd, errno))
}

/// Removes a name that is no directory's.
///
/// # Errors
/// Those of unlinkat(2).
pub fn unlink(dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    rustix::fs::unlinkat(dir, name, AtFlags::empty())
        .map_err(|errno| fail("unlinkat", dir, name, errno))
}

/// Removes an empty directory.
///
/// # Errors
/// Those of unlinkat(2).
pub fn rmdir(dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
        .map_err(|errno| fail("unlinkat", dir, name, errno))
}

/// renameat2(2).
///
/// # Errors
/// Those of renameat2(2).
pub fn rename(
    from: (BorrowedFd<'_>, &OsStr),
    to: (BorrowedFd<'_>, &OsStr),
    how: Rename,
) -> Result<()> {
    let flags = match how {
        Rename::Replace => RenameFlags::empty(),
        Rename::NoReplace => RenameFlags::NOREPLACE,
        Rename::Exchange => RenameFlags::EXCHANGE,
        Rename::Whiteout => RenameFlags::WHITEOUT,
    };
    rustix::fs::renameat_with(from.0, from.1, to.0, to.1, flags).map_err(|errno| {
        let args = format!("{}, {}, {how:?}", shown(from.0, from.1), shown(to.0, to.1));
        Error::new("renameat2", args, errno.raw_os_error())
    })
}

/// Gives the file at `from` another name.
///
/// # Errors
/// Those of linkat(2).
pub fn link(from: (BorrowedFd<'_>, &OsStr), to: (BorrowedFd<'_>, &OsStr)) -> Result<()> {
    rustix::fs::linkat(from.0, from.1, to.0, to.1, AtFlags::empty())
        .map_err(|errno| fail("linkat", to.0, to.1, errno))
}

/// Gives an open file another name. Needs `/proc`.
///
/// # Errors
/// Those of linkat(2).
pub fn link_fd(fd: BorrowedFd<'_>, to: (BorrowedFd<'_>, &OsStr)) -> Result<()> {
    let path = ProcPath::new(fd, None);
    rustix::fs::linkat(CWD, path.as_c_str(), to.0, to.1, AtFlags::SYMLINK_FOLLOW)
        .map_err(|errno| fail("linkat", to.0, to.1, errno))
}

/// Changes owner and group of `name` in `dir`.
///
/// # Errors
/// Those of fchownat(2).
pub fn chown(dir: BorrowedFd<'_>, name: &OsStr, uid: u32, gid: u32) -> Result<()> {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| fail("fchownat", dir, name, errno))
}

/// Changes owner, group or both of an open file.
///
/// # Errors
/// Those of fchownat(2).
pub fn fchown(fd: BorrowedFd<'_>, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    rustix::fs::chownat(fd, c"", uid, gid, AtFlags::EMPTY_PATH)
        .map_err(|errno| fail_fd("fchownat", fd, errno))
}

/// Changes the permission bits of an open file, which may be open with `O_PATH`. Needs `/proc`.
///
/// # Errors
/// Those of chmod(2).
pub fn fchmod(fd: BorrowedFd<'_>, mode: u16) -> Result<()> {
    let path = ProcPath::new(fd, None);
    rustix::fs::chmodat(CWD, path.as_c_str(), bits(mode), AtFlags::empty())
        .map_err(|errno| fail_fd("chmod", fd, errno))
}

/// Changes the permission bits of `name` in `dir`, which must not be a symbolic link.
///
/// # Errors
/// Those of fchmodat(2).
pub fn chmod(dir: BorrowedFd<'_>, name: &OsStr, mode: u16) -> Result<()> {
    rustix::fs::chmodat(dir, name, bits(mode), AtFlags::empty())
        .map_err(|errno| fail("fchmodat", dir, name, errno))
}

fn spec(time: NewTime) -> Timespec {
    let (tv_sec, tv_nsec) = match time {
        NewTime::Omit => (0, rustix::fs::UTIME_OMIT),
        NewTime::Now => (0, rustix::fs::UTIME_NOW),
        NewTime::To((secs, nanos)) => (secs, nanos.into()),
    };
    Timespec { tv_sec, tv_nsec }
}

/// Changes the times of `name` in `dir`.
///
/// # Errors
/// Those of utimensat(2).
pub fn utimens(dir: BorrowedFd<'_>, name: &OsStr, atime: NewTime, mtime: NewTime) -> Result<()> {
    let times = Timestamps { last_access: spec(atime), last_modification: spec(mtime) };
    rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| fail("utimensat", dir, name, errno))
}

/// Changes the times of an open file.
///
/// # Errors
/// Those of utimensat(2).
pub fn futimens(fd: BorrowedFd<'_>, atime: NewTime, mtime: NewTime) -> Result<()> {
    let times = Timestamps { last_access: spec(atime), last_modification: spec(mtime) };
    rustix::fs::utimensat(fd, c"", &times, AtFlags::EMPTY_PATH)
        .map_err(|errno| fail_fd("utimensat", fd, errno))
}
