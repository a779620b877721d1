//! The names in a directory.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::fs::RawDir;
use rustix::io::Errno;

use super::{Error, Result};

/// Bytes that are asked of the kernel at once: enough for about a thousand names.
const BUFFER: usize = 32 * 1024;

/// One name of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its bytes.
    pub name: Box<[u8]>,
    /// The inode number of what it names.
    pub ino: u64,
}

/// The names in a directory that is open for reading and was not read before, but for `.` and
/// `..`, in the order of the filesystem. A directory that is removed has none.
///
/// # Errors
/// Those of getdents64(2).
pub fn entries(dir: BorrowedFd<'_>) -> Result<Vec<Entry>> {
    let mut buf = vec![MaybeUninit::uninit(); BUFFER];
    let mut raw = RawDir::new(dir, &mut buf);
    let mut entries = Vec::new();
    while let Some(entry) = raw.next() {
        match entry {
            Ok(entry) => {
                let name = entry.file_name().to_bytes();
                if name != b"." && name != b".." {
                    entries.push(Entry { name: name.into(), ino: entry.ino() });
                }
            }
            Err(Errno::NOENT) => break,
            Err(errno) => {
                let args = dir.as_raw_fd().to_string();
                return Err(Error::new("getdents64", args, errno.raw_os_error()));
            }
        }
    }
    Ok(entries)
}
