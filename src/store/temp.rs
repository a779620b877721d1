//! What is not visible yet: files and directories under `tmp/`.
//!
//! Each is locked by the process that writes it, for as long as that lives. Whoever can lock one
//! that is not its own has found what a dead process left behind.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::BuildHasher as _;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{failed, lock_failed};
use super::{Error, Result, Store, make_read_only, sync_directory};
use crate::sys::flock::{Share, try_lock};

/// How often a new name is tried before giving up. Each failure needs another process that swept
/// in the moment between making and locking.
const TRIES: u32 = 100;

/// A new name under `tmp/`, not used by anyone now.
fn new_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let random = RandomState::new().hash_one(number);
    format!("{}.{number}.{random:016x}", std::process::id())
}

/// Makes something under `tmp/` with `make` and locks it.
fn make_locked(store: &Store, make: impl Fn(&Path) -> io::Result<File>) -> Result<(PathBuf, File)> {
    let directory = store.root().join("tmp");
    for _ in 0..TRIES {
        let path = directory.join(new_name());
        let file = match make(&path) {
            // A directory is made and then opened: it may be swept in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound && directory.is_dir() => continue,
            made => made.map_err(failed("make", &path))?,
        };
        // Between the two calls another process may have taken it for a leftover.
        if try_lock(&file, Share::Exclusive, &path.to_string_lossy()).map_err(lock_failed(&path))?
            && is_at(&file, &path)?
        {
            return Ok((path, file));
        }
    }
    Err(Error::Busy(store.root().to_owned()))
}

/// Whether `file` is what stands at `path`.
pub(super) fn is_at(file: &File, path: &Path) -> Result<bool> {
    let open = file.metadata().map_err(failed("examine", path))?;
    match path.symlink_metadata() {
        Ok(named) => Ok((open.dev(), open.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("examine", path)(error)),
    }
}

/// A file that is being written. It is removed unless it is published.
#[derive(Debug)]
pub(super) struct TempFile {
    path: PathBuf,
    file: File,
    published: bool,
}

impl TempFile {
    pub(super) fn new(store: &Store) -> Result<Self> {
        let (path, file) = make_locked(store, |path| {
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
        })?;
        Ok(Self { path, file, published: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Makes the file durable and moves it to `target`, in place of what is there.
    pub(super) fn publish(mut self, target: &Path) -> Result<()> {
        make_read_only(&self.file, &self.path)?;
        self.file.sync_all().map_err(failed("sync", &self.path))?;
        fs::rename(&self.path, target).map_err(failed("publish", target))?;
        self.published = true;
        target.parent().map_or(Ok(()), sync_directory)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// A directory that is being filled. It is removed unless it is published.
#[derive(Debug)]
pub(super) struct TempDir {
    path: PathBuf,
    directory: File,
    published: bool,
}

impl TempDir {
    pub(super) fn new(store: &Store) -> Result<Self> {
        let (path, directory) = make_locked(store, |path| {
            DirBuilder::new().mode(0o700).create(path)?;
            File::open(path)
        })?;
        Ok(Self { path, directory, published: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the files in it and itself durable and moves it to `target`. What stands there
    /// already, whole as all that is visible, is replaced.
    pub(super) fn publish(mut self, target: &Path) -> Result<()> {
        for entry in self.path.read_dir().map_err(failed("list", &self.path))? {
            let path = entry.map_err(failed("list", &self.path))?.path();
            let file = File::open(&path).map_err(failed("open", &path))?;
            make_read_only(&file, &path)?;
            file.sync_all().map_err(failed("sync", &path))?;
        }
        self.directory.sync_all().map_err(failed("sync", &self.path))?;
        let replaced = match fs::rename(&self.path, target) {
            Ok(()) => None,
            Err(error) if is_occupied(&error) => {
                let aside = self.path.with_file_name(new_name());
                fs::rename(target, &aside).map_err(failed("replace", target))?;
                fs::rename(&self.path, target).map_err(failed("publish", target))?;
                Some(aside)
            }
            Err(error) => return Err(failed("publish", target)(error)),
        };
        self.published = true;
        target.parent().map_or(Ok(()), sync_directory)?;
        if let Some(aside) = replaced {
            sweep_one(&aside).map_err(failed("remove", &aside))?;
        }
        Ok(())
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Whether a rename failed because a directory with files in it stands at the target.
fn is_occupied(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists)
}

/// Removes the directory at `path`: first out of sight, then file by file, so that no half of it
/// is ever visible. Returns how many bytes that freed.
pub(super) fn remove_directory(store: &Store, path: &Path) -> Result<u64> {
    let aside = store.root().join("tmp").join(new_name());
    fs::rename(path, &aside).map_err(failed("remove", path))?;
    sweep_one(&aside).map_err(failed("remove", &aside))
}

/// Removes what dead processes left under `tmp/`. Returns how many bytes that freed.
///
/// What cannot be removed is logged and left: it is in nobody's way.
pub(super) fn sweep(store: &Store) -> Result<u64> {
    let directory = store.root().join("tmp");
    let mut freed = 0_u64;
    for entry in directory.read_dir().map_err(failed("list", &directory))? {
        let path = entry.map_err(failed("list", &directory))?.path();
        match sweep_one(&path) {
            Ok(bytes) => freed = freed.saturating_add(bytes),
            Err(error) => log::warn!("cannot clear {}: {error}", path.display()),
        }
    }
    Ok(freed)
}

fn sweep_one(path: &Path) -> io::Result<u64> {
    let gone = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(0),
        _ => Err(error),
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return gone(error),
    };
    if !try_lock(&file, Share::Exclusive, &path.to_string_lossy())? {
        return Ok(0);
    }
    let bytes = disk_usage(path);
    let removed = match file.metadata()?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    match removed {
        Ok(()) => {
            log::debug!("removed {}, left behind by a process that died", path.display());
            Ok(bytes)
        }
        Err(error) => gone(error),
    }
}

/// How many bytes of the disk a file takes, or a directory and the files directly in it. What
/// cannot be examined counts nothing.
pub(super) fn disk_usage(path: &Path) -> u64 {
    let own = |path: &Path| path.symlink_metadata().map_or(0, |found| found.blocks() * 512);
    let inside = match path.read_dir() {
        Ok(entries) => entries.flatten().map(|entry| own(&entry.path())).sum(),
        Err(_not_a_directory) => 0,
    };
    own(path) + inside
}
