//! The words of FUSE and those of `tree`, one into the other.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, SystemTime};

use fuser::{FileAttr, FileType, INodeNo, RenameFlags, TimeOrNow};

use crate::tree::{
    Attr, Device, Errno, FsStats, Ino, Kind, Name, NameError, NewKind, Result, Seek, SetAttr, Time,
    TimeChange, Xattr, XattrMode,
};
use crate::union::{Caller, Entry, RenameMode};

/// What stat(2) calls the preferred block size, in bytes.
const BLOCK_SIZE: u32 = 4096;

/// The longest name, for statfs(2), in bytes.
pub(super) const NAME_MAX: u32 = 255;

// inode(7): the kind of file in a mode.
const S_IFMT: u32 = 0o170_000;
const S_IFIFO: u32 = 0o010_000;
const S_IFCHR: u32 = 0o020_000;
const S_IFBLK: u32 = 0o060_000;
const S_IFREG: u32 = 0o100_000;
const S_IFSOCK: u32 = 0o140_000;

// lseek(2).
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

// setxattr(2).
const XATTR_CREATE: i32 = 1;
const XATTR_REPLACE: i32 = 2;

pub(super) fn ino(number: INodeNo) -> Ino {
    Ino::from_raw(number.0)
}

pub(super) fn number(ino: Ino) -> INodeNo {
    INodeNo(ino.raw())
}

/// The name of a request. The kernel sends names of up to 4,095 bytes.
pub(super) fn name(bytes: &OsStr) -> Result<Name> {
    Name::new(bytes.as_bytes()).map_err(|why| match why {
        NameError::TooLong => Errno::ENAMETOOLONG.into(),
        NameError::Empty | NameError::Dot | NameError::Separator => Errno::EINVAL.into(),
    })
}

pub(super) fn errno(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno.raw())
}

pub(super) fn kind(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
    }
}

pub(super) fn entry(entry: &Entry) -> FileAttr {
    attr(entry.ino, &entry.attr)
}

pub(super) fn attr(ino: Ino, attr: &Attr) -> FileAttr {
    FileAttr {
        ino: number(ino),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: SystemTime::UNIX_EPOCH,
        kind: kind(attr.kind),
        perm: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: device_number(attr.device),
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// Inode number 0 means that there is no such file, and may be cached.
pub(super) fn absent() -> FileAttr {
    FileAttr { ino: INodeNo(0), ..plain_file(0, 0, 0) }
}

/// An empty regular file.
pub(super) fn plain_file(ino: u64, uid: u32, gid: u32) -> FileAttr {
    FileAttr {
        ino: INodeNo(ino),
        size: 0,
        blocks: 0,
        atime: SystemTime::UNIX_EPOCH,
        mtime: SystemTime::UNIX_EPOCH,
        ctime: SystemTime::UNIX_EPOCH,
        crtime: SystemTime::UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0o444,
        nlink: 1,
        uid,
        gid,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

fn system_time(time: Time) -> SystemTime {
    let epoch = SystemTime::UNIX_EPOCH;
    let whole = Duration::from_secs(time.secs.unsigned_abs());
    let second = if time.secs < 0 { epoch.checked_sub(whole) } else { epoch.checked_add(whole) };
    second
        .and_then(|second| second.checked_add(Duration::from_nanos(u64::from(time.nanos))))
        .unwrap_or(epoch)
}

/// A time of a request.
///
/// The kernel counts nanoseconds forward from a second, also before 1970; fuser 0.18 counts them
/// backward there when it makes a [`SystemTime`] of the two. This takes the two apart again.
fn time(time: SystemTime) -> Time {
    let seconds = |of: Duration| i64::try_from(of.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => Time { secs: seconds(after), nanos: after.subsec_nanos() },
        Err(e) => Time { secs: -seconds(e.duration()), nanos: e.duration().subsec_nanos() },
    }
}

pub(super) fn time_change(time_or_now: TimeOrNow) -> TimeChange {
    match time_or_now {
        TimeOrNow::Now => TimeChange::Now,
        TimeOrNow::SpecificTime(to) => TimeChange::To(time(to)),
    }
}

/// The permission bits of a mode.
pub(super) fn permissions(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or(0)
}

/// The attributes to change: mode, owner, group, size, time of last read and of last change.
pub(super) fn set_attr(
    mode: Option<u32>,
    owner: (Option<u32>, Option<u32>),
    size: Option<u64>,
    times: (Option<TimeOrNow>, Option<TimeOrNow>),
) -> SetAttr {
    SetAttr {
        mode: mode.map(permissions),
        uid: owner.0,
        gid: owner.1,
        size,
        atime: times.0.map(time_change),
        mtime: times.1.map(time_change),
    }
}

/// A device in the kernel's 32 bits: 12 of the major and 20 of the minor number.
pub(super) fn device_number(device: Device) -> u32 {
    (device.minor & 0xff) | (device.major & 0xfff) << 8 | (device.minor & 0xf_ff00) << 12
}

fn device(number: u32) -> Device {
    Device { major: number >> 8 & 0xfff, minor: number & 0xff | number >> 12 & 0xf_ff00 }
}

/// What mknod(2) is to make.
pub(super) fn node_kind(mode: u32, rdev: u32) -> Result<NewKind<'static>> {
    match mode & S_IFMT {
        S_IFREG => Ok(NewKind::File),
        S_IFIFO => Ok(NewKind::Fifo),
        S_IFSOCK => Ok(NewKind::Socket),
        S_IFCHR => Ok(NewKind::CharDevice(device(rdev))),
        S_IFBLK => Ok(NewKind::BlockDevice(device(rdev))),
        _ => Err(Errno::EINVAL.into()),
    }
}

pub(super) fn caller(request: &fuser::Request, umask: u32) -> Caller {
    Caller { uid: request.uid(), gid: request.gid(), umask: permissions(umask) }
}

/// `RENAME_WHITEOUT` is for filesystems that lie below a union, not for users of one.
pub(super) fn rename_mode(flags: RenameFlags) -> Result<RenameMode> {
    if flags.is_empty() {
        Ok(RenameMode::Replace)
    } else if flags == RenameFlags::RENAME_NOREPLACE {
        Ok(RenameMode::NoReplace)
    } else if flags == RenameFlags::RENAME_EXCHANGE {
        Ok(RenameMode::Exchange)
    } else {
        Err(Errno::EINVAL.into())
    }
}

pub(super) fn xattr_mode(flags: i32) -> Result<XattrMode> {
    match flags {
        0 => Ok(XattrMode::Any),
        XATTR_CREATE => Ok(XattrMode::Create),
        XATTR_REPLACE => Ok(XattrMode::Replace),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// The names of extended attributes as listxattr(2) gives them: each with a NUL behind it.
pub(super) fn xattr_list(all: &[Xattr]) -> Box<[u8]> {
    all.iter().flat_map(|(name, _)| name.iter().chain(&[0])).copied().collect()
}

/// The rest of lseek(2) the kernel does itself.
pub(super) fn seek(whence: i32) -> Result<Seek> {
    match whence {
        SEEK_DATA => Ok(Seek::Data),
        SEEK_HOLE => Ok(Seek::Hole),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// The size of a block for statfs(2), which must not be 0.
pub(super) fn block_size(stats: &FsStats) -> u32 {
    if stats.block_size == 0 { BLOCK_SIZE } else { stats.block_size }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{device, device_number, rename_mode, system_time, time};
    use crate::tree::{Device, Time};
    use fuser::RenameFlags;

    #[test]
    fn moments_before_1970_and_at_the_ends_of_time_are_kept() {
        let epoch = SystemTime::UNIX_EPOCH;
        let at = |secs, nanos| system_time(Time { secs, nanos });
        assert_eq!(at(0, 0), epoch);
        assert_eq!(at(5, 7), epoch + Duration::new(5, 7));
        // A second and a half before 1970: half a second after the second that began two before.
        assert_eq!(at(-2, 500_000_000), epoch - Duration::new(1, 500_000_000));
        assert_eq!(
            at(i64::MIN, 0).duration_since(epoch).unwrap_err().duration().as_secs(),
            1 << 63
        );
        assert_eq!(
            at(i64::MAX, 999_999_999).duration_since(epoch).unwrap().as_secs(),
            (1 << 63) - 1
        );
    }

    #[test]
    fn a_time_of_a_request_is_what_the_kernel_sent() {
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!(time(epoch + Duration::new(5, 7)), Time { secs: 5, nanos: 7 });
        // What fuser makes of -2 s and 0.5 s.
        let before = epoch - Duration::new(2, 500_000_000);
        assert_eq!(time(before), Time { secs: -2, nanos: 500_000_000 });
    }

    #[test]
    fn device_numbers_are_those_of_the_kernel() {
        for (major, minor, number) in
            [(1, 3, 0x103), (8, 0, 0x800), (259, 0x12345, 0x1231_0345), (0xfff, 0xf_ffff, u32::MAX)]
        {
            let known = Device { major, minor };
            assert_eq!(device_number(known), number, "{major}:{minor}");
            assert_eq!(device(number), known);
        }
    }

    #[test]
    fn a_rename_that_leaves_a_whiteout_is_refused() {
        assert!(rename_mode(RenameFlags::RENAME_WHITEOUT).is_err());
        assert!(rename_mode(RenameFlags::RENAME_NOREPLACE | RenameFlags::RENAME_EXCHANGE).is_err());
    }
}
