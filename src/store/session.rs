//! Who uses the store, and who must wait for whom.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::error::{failed, lock_failed};
use super::{Result, Store, temp};
use crate::oci::Digest;
use crate::sys::flock::{Share, lock, try_lock};

/// The right to write to the store, and the promise that what is in it stays.
///
/// Any number of processes and threads have sessions at a time. While there is one, nothing is
/// collected. It ends when it is dropped, or with the process.
#[derive(Debug)]
pub struct Session {
    store: Store,
    _shared: File,
}

/// The right to fetch one layer.
#[derive(Debug)]
pub struct LayerLock {
    _exclusive: File,
}

impl Store {
    /// Starts a session, and clears away what processes that died in theirs left behind. Waits
    /// while content is being collected, which takes as long as removing files takes.
    ///
    /// # Errors
    /// [`super::Error::Io`].
    pub fn enter(&self) -> Result<Session> {
        let path = self.root().join("lock");
        let file = open_lock(&path)?;
        lock(&file, Share::Shared, &path.to_string_lossy()).map_err(lock_failed(&path))?;
        temp::sweep(self)?;
        Ok(Session { store: self.clone(), _shared: file })
    }

    /// The lock that no session can be had beside, or `None` while there are sessions.
    pub(super) fn try_lock_alone(&self) -> Result<Option<File>> {
        let path = self.root().join("lock");
        let file = open_lock(&path)?;
        let alone = try_lock(&file, Share::Exclusive, &path.to_string_lossy());
        Ok(alone.map_err(lock_failed(&path))?.then_some(file))
    }
}

impl Session {
    /// Waits until nobody else fetches the layer blob `digest`. Whoever has the lock looks first
    /// whether the layer is there now: then another one did the work.
    ///
    /// # Errors
    /// [`super::Error::Io`].
    pub fn lock_layer(&self, digest: &Digest) -> Result<LayerLock> {
        let path = self.root().join("locks").join(digest.hex());
        let file = open_lock(&path)?;
        lock(&file, Share::Exclusive, &path.to_string_lossy()).map_err(lock_failed(&path))?;
        Ok(LayerLock { _exclusive: file })
    }
}

impl Deref for Session {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// Opens the file of a lock, making it when there is none.
fn open_lock(path: &Path) -> Result<File> {
    let open = || -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
    };
    open().map_err(failed("open", path))
}
