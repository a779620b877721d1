//! Extended attributes, of open files (also those open with `O_PATH`) and of names in open
//! directories. Needs `/proc`. No call follows a symbolic link.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::at::ProcPath;
use super::{Error, Result};

/// The most bytes that the kernel allows for a value, and for a list of names.
const MAX: usize = 64 * 1024;

/// Enough for nearly all values and lists, so that one call does.
const USUAL: usize = 1024;

/// Whose attributes.
#[derive(Debug, Clone, Copy)]
pub enum Of<'a> {
    /// Those of an open file.
    Fd(BorrowedFd<'a>),
    /// Those of this name in an open directory.
    Name(BorrowedFd<'a>, &'a OsStr),
}

/// What [`set`] may find in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// Anything.
    Any,
    /// Nothing, else `EEXIST`.
    Create,
    /// A value, else `ENODATA`.
    Replace,
}

impl Of<'_> {
    fn path(&self) -> ProcPath {
        match *self {
            Of::Fd(fd) => ProcPath::new(fd, None),
            Of::Name(dir, name) => ProcPath::new(dir, Some(name)),
        }
    }

    fn fail(&self, call: &'static str, name: &[u8], errno: Errno) -> Error {
        let name = name.escape_ascii();
        let args = match *self {
            Of::Fd(fd) => format!("{}, {name}", fd.as_raw_fd()),
            Of::Name(dir, base) => format!("{}, {base:?}, {name}", dir.as_raw_fd()),
        };
        Error::new(call, args, errno.raw_os_error())
    }
}

/// Calls `read` with a buffer that is large enough.
fn grown(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut usual = [0; USUAL];
    match read(&mut usual) {
        Ok(n) => return Ok(usual.get(..n).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {}
        Err(errno) => return Err(errno),
    }
    let mut buf = vec![0; MAX];
    let n = read(&mut buf)?;
    buf.truncate(n);
    Ok(buf)
}

/// The value of the attribute `name`; `None` when there is none, or the filesystem has none at
/// all.
///
/// # Errors
/// Those of getxattr(2).
pub fn get(of: Of<'_>, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let path = of.path();
    let attr = OsStr::from_bytes(name);
    let result = match of {
        Of::Fd(_) => grown(|buf| rustix::fs::getxattr(path.as_c_str(), attr, buf)),
        Of::Name(..) => grown(|buf| rustix::fs::lgetxattr(path.as_c_str(), attr, buf)),
    };
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(of.fail("getxattr", name, errno)),
    }
}

/// The names of all attributes, each followed by a NUL byte; empty when the filesystem has none
/// at all.
///
/// # Errors
/// Those of listxattr(2).
pub fn list(of: Of<'_>) -> Result<Vec<u8>> {
    let path = of.path();
    let result = match of {
        Of::Fd(_) => grown(|buf| rustix::fs::listxattr(path.as_c_str(), buf)),
        Of::Name(..) => grown(|buf| rustix::fs::llistxattr(path.as_c_str(), buf)),
    };
    match result {
        Ok(names) => Ok(names),
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(errno) => Err(of.fail("listxattr", b"", errno)),
    }
}

/// Sets the attribute `name`.
///
/// # Errors
/// Those of setxattr(2).
pub fn set(of: Of<'_>, name: &[u8], value: &[u8], how: Set) -> Result<()> {
    let path = of.path();
    let attr = OsStr::from_bytes(name);
    let flags = match how {
        Set::Any => XattrFlags::empty(),
        Set::Create => XattrFlags::CREATE,
        Set::Replace => XattrFlags::REPLACE,
    };
    let result = match of {
        Of::Fd(_) => rustix::fs::setxattr(path.as_c_str(), attr, value, flags),
        Of::Name(..) => rustix::fs::lsetxattr(path.as_c_str(), attr, value, flags),
    };
    result.map_err(|errno| of.fail("setxattr", name, errno))
}

/// Removes the attribute `name`.
///
/// # Errors
/// Those of removexattr(2).
pub fn remove(of: Of<'_>, name: &[u8]) -> Result<()> {
    let path = of.path();
    let attr = OsStr::from_bytes(name);
    let result = match of {
        Of::Fd(_) => rustix::fs::removexattr(path.as_c_str(), attr),
        Of::Name(..) => rustix::fs::lremovexattr(path.as_c_str(), attr),
    };
    result.map_err(|errno| of.fail("removexattr", name, errno))
}
