//! Paths within a directory tree that somebody else made: no symbolic link, `..` or magic link
//! leads out of it (openat2(2), `RESOLVE_IN_ROOT`).

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Error, Result};

/// The most symbolic links that are followed for one path, as the kernel has it.
const MAX_LINKS: usize = 40;

/// The root of a tree.
#[derive(Debug)]
pub struct Root(OwnedFd);

/// What [`Root::make`] leaves at a path where there was nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// A directory.
    Directory,
    /// An empty file.
    File,
}

impl Root {
    /// Opens the tree at `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
            .map(Self)
            .map_err(|e| Error::new("open", path.display().to_string(), e.raw_os_error()))
    }

    /// The file at `path`, to name it, not to read it. Links are followed within the tree.
    pub fn find(&self, path: &Path) -> Result<OwnedFd> {
        self.open_at(path, OFlags::PATH)
    }

    /// Whether there is something at `path`.
    pub fn find_if_any(&self, path: &Path) -> Result<Option<OwnedFd>> {
        match self.find(path) {
            Ok(found) => Ok(Some(found)),
            Err(e) if matches!(e.errno(), libc::ENOENT | libc::ENOTDIR) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The content of the regular file at `path`, of at most `max` bytes; `None` when there is
    /// nothing.
    ///
    /// # Errors
    /// `EINVAL` for what is no regular file, `EFBIG` for one that is larger.
    pub fn read(&self, path: &Path, max: u64) -> Result<Option<Vec<u8>>> {
        let failed = |call, errno| Error::new(call, path.display().to_string(), errno);
        // Not waiting, should it be a named pipe.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match self.open_at(path, flags) {
            Ok(file) => file,
            Err(e) if matches!(e.errno(), libc::ENOENT | libc::ENOTDIR) => return Ok(None),
            Err(e) => return Err(e),
        };
        let stat = rustix::fs::fstat(&file).map_err(|e| failed("fstat", e.raw_os_error()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(failed("read", libc::EINVAL));
        }
        let mut content = Vec::new();
        File::from(file)
            .take(max.saturating_add(1))
            .read_to_end(&mut content)
            .map_err(|e| Error::from_io("read", path.display().to_string(), &e))?;
        if content.len() as u64 > max {
            return Err(failed("read", libc::EFBIG));
        }
        Ok(Some(content))
    }

    /// The file at `path`, made with its parent directories when there is nothing. A dangling
    /// link is followed, and what it names is made.
    pub fn make(&self, path: &Path, last: Make) -> Result<OwnedFd> {
        let failed = |call, errno| Error::new(call, path.display().to_string(), errno);
        let mut todo: VecDeque<OsString> = names(path);
        let mut done = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                done.pop();
                continue;
            }
            let next = done.join(&name);
            let make = if todo.is_empty() { last } else { Make::Directory };
            if self.find_if_any(&next)?.is_some() {
                done = next;
                continue;
            }
            let parent = self.find(&done)?;
            if on_proc(parent.as_fd()).map_err(|e| failed("fstatfs", e.raw_os_error()))? {
                // Nothing can be made there, and links may lead anywhere.
                return Err(failed("openat2", libc::ELOOP));
            }
            match rustix::fs::readlinkat(&parent, name.as_os_str(), Vec::new()) {
                Ok(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(failed("openat2", libc::ELOOP));
                    }
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    if target.is_absolute() {
                        done = PathBuf::from("/");
                    }
                    for name in names(&target).into_iter().rev() {
                        todo.push_front(name);
                    }
                }
                Err(Errno::NOENT) => {
                    create(parent.as_fd(), &name, make)
                        .map_err(|(call, e)| failed(call, e.raw_os_error()))?;
                    done = next;
                }
                Err(e) => return Err(failed("readlinkat", e.raw_os_error())),
            }
        }
        self.find(&done)
    }

    fn open_at(&self, path: &Path, flags: OFlags) -> Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        // A rename elsewhere during the walk asks for another try (openat2(2), EAGAIN).
        let mut tries = 0;
        loop {
            match rustix::fs::openat2(&self.0, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) if tries < 100 => tries += 1,
                Ok(file) => return Ok(file),
                Err(e) => {
                    let args = format!("{}, RESOLVE_IN_ROOT", path.display());
                    return Err(Error::new("openat2", args, e.raw_os_error()));
                }
            }
        }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn on_proc(file: BorrowedFd<'_>) -> std::result::Result<bool, Errno> {
    Ok(rustix::fs::fstatfs(file)?.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

fn names(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::from_bytes(b"..").to_owned()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().filter_map(name).collect()
}

fn create(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    make: Make,
) -> std::result::Result<(), (&'static str, Errno)> {
    match make {
        Make::Directory => match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(("mkdirat", e)),
        },
        Make::File => {
            let flags =
                OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)) {
                Ok(_) | Err(Errno::EXIST) => Ok(()),
                Err(e) => Err(("openat", e)),
            }
        }
    }
}

/// Whether an open file is a directory.
pub fn is_directory(file: BorrowedFd<'_>) -> Result<bool> {
    let stat = rustix::fs::fstat(file).map_err(|e| Error::new("fstat", "", e.raw_os_error()))?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Makes a directory in an open one.
pub fn make_dir(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    create(parent, OsStr::new(name), Make::Directory)
        .map_err(|(call, e)| Error::new(call, name, e.raw_os_error()))?;
    open_child(parent, name, OFlags::PATH)
}

/// Makes an empty file in an open directory.
pub fn make_file(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    create(parent, OsStr::new(name), Make::File)
        .map_err(|(call, e)| Error::new(call, name, e.raw_os_error()))?;
    open_child(parent, name, OFlags::PATH)
}

/// Makes a symbolic link in an open directory.
pub fn make_link(parent: BorrowedFd<'_>, name: &str, target: &str) -> Result<()> {
    rustix::fs::symlinkat(target, parent, name)
        .map_err(|e| Error::new("symlinkat", format!("{target}, {name}"), e.raw_os_error()))
}

/// Opens a file in an open directory by its one name, to name it; a link is not followed.
pub fn child(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    open_child(parent, name, OFlags::PATH)
}

/// Opens a device in an open directory to read and write, without taking it as a terminal.
pub fn open_device(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    open_child(parent, name, OFlags::RDWR | OFlags::NOCTTY)
}

fn open_child(parent: BorrowedFd<'_>, name: &str, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
        .map_err(|e| Error::new("openat", name, e.raw_os_error()))
}
