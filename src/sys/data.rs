//! The bytes of open files.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use super::{Error, Result};

fn fail(call: &'static str, fd: BorrowedFd<'_>, offset: u64, len: u64, errno: Errno) -> Error {
    let args = format!("{}, {len} bytes at {offset}", fd.as_raw_fd());
    Error::new(call, args, errno.raw_os_error())
}

/// Length of a slice for messages.
fn len_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Reads into `buf` from byte `offset`; fewer bytes than asked for at the end of the file only.
///
/// # Errors
/// Those of pread(2), but for `EINTR`.
pub fn read_at(fd: BorrowedFd<'_>, offset: u64, buf: &mut [u8]) -> Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
        let len = len_of(rest);
        match rustix::io::pread(fd, rest, at) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(fail("pread", fd, at, len, errno)),
        }
    }
    Ok(done)
}

/// Writes all of `data` at byte `offset`.
///
/// # Errors
/// Those of pwrite(2), but for `EINTR`.
pub fn write_at(fd: BorrowedFd<'_>, offset: u64, data: &[u8]) -> Result<()> {
    let (mut rest, mut at) = (data, offset);
    while !rest.is_empty() {
        match rustix::io::pwrite(fd, rest, at) {
            Ok(0) => return Err(fail("pwrite", fd, at, len_of(rest), Errno::IO)),
            Ok(n) => {
                rest = rest.get(n..).unwrap_or_default();
                at = at.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(fail("pwrite", fd, at, len_of(rest), errno)),
        }
    }
    Ok(())
}

/// ftruncate(2).
///
/// # Errors
/// Those of ftruncate(2).
pub fn truncate(fd: BorrowedFd<'_>, len: u64) -> Result<()> {
    rustix::fs::ftruncate(fd, len).map_err(|errno| fail("ftruncate", fd, 0, len, errno))
}

/// fallocate(2) with `mode` as the kernel defines it.
///
/// # Errors
/// Those of fallocate(2); bits that no kernel knows lead to `EOPNOTSUPP`.
pub fn allocate(fd: BorrowedFd<'_>, offset: u64, len: u64, mode: i32) -> Result<()> {
    let mode = FallocateFlags::from_bits_retain(mode.cast_unsigned());
    rustix::fs::fallocate(fd, mode, offset, len)
        .map_err(|errno| fail("fallocate", fd, offset, len, errno))
}

/// What [`seek`] looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whence {
    /// The next byte that is stored.
    Data,
    /// The next byte that is not stored.
    Hole,
}

/// lseek(2) for data and holes. Moves the file offset, which nothing here uses.
///
/// # Errors
/// Those of lseek(2): `ENXIO` at or past the end.
pub fn seek(fd: BorrowedFd<'_>, offset: u64, whence: Whence) -> Result<u64> {
    let position = match whence {
        Whence::Data => SeekFrom::Data(offset),
        Whence::Hole => SeekFrom::Hole(offset),
    };
    rustix::fs::seek(fd, position).map_err(|errno| fail("lseek", fd, offset, 0, errno))
}

/// copy_file_range(2); returns how many bytes were copied.
///
/// # Errors
/// Those of copy_file_range(2).
pub fn copy_range(from: (BorrowedFd<'_>, u64), to: (BorrowedFd<'_>, u64), len: u64) -> Result<u64> {
    let (mut from_at, mut to_at) = (from.1, to.1);
    let max = usize::try_from(len).unwrap_or(usize::MAX);
    rustix::fs::copy_file_range(from.0, Some(&mut from_at), to.0, Some(&mut to_at), max)
        .map(|n| u64::try_from(n).unwrap_or(u64::MAX))
        .map_err(|errno| fail("copy_file_range", from.0, from.1, len, errno))
}

/// fdatasync(2).
///
/// # Errors
/// Those of fdatasync(2).
pub fn sync_data(fd: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::fdatasync(fd).map_err(|errno| fail("fdatasync", fd, 0, 0, errno))
}

/// fsync(2).
///
/// # Errors
/// Those of fsync(2).
pub fn sync_all(fd: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::fsync(fd).map_err(|errno| fail("fsync", fd, 0, 0, errno))
}

/// Sizes of a filesystem.
#[derive(Debug, Clone, Copy)]
pub struct FsSizes {
    /// Bytes to a block.
    pub block_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub free: u64,
    /// Blocks that are free for anyone.
    pub available: u64,
    /// Files in all.
    pub files: u64,
    /// Files that can still be made.
    pub files_free: u64,
}

/// fstatvfs(3).
///
/// # Errors
/// Those of fstatvfs(3).
pub fn sizes(fd: BorrowedFd<'_>) -> Result<FsSizes> {
    let vfs = rustix::fs::fstatvfs(fd).map_err(|errno| fail("fstatvfs", fd, 0, 0, errno))?;
    Ok(FsSizes {
        block_size: vfs.f_frsize,
        blocks: vfs.f_blocks,
        free: vfs.f_bfree,
        available: vfs.f_bavail,
        files: vfs.f_files,
        files_free: vfs.f_ffree,
    })
}
