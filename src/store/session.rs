//! Who uses the store, and who must wait for whom.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

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
    path: PathBuf,
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
    /// The right to fetch the layer blob `digest`, or `None` while another one fetches it.
    /// Whoever gets it looks first whether the layer is there now.
    ///
    /// # Errors
    /// [`super::Error::Io`].
    pub fn try_lock_layer(&self, digest: &Digest) -> Result<Option<LayerLock>> {
        self.lock_with(digest, |file, what| try_lock(file, Share::Exclusive, what))
    }

    /// As [`Session::try_lock_layer`], but waits until nobody else fetches the layer. Who did has
    /// done the work, or failed.
    ///
    /// # Errors
    /// [`super::Error::Io`].
    pub fn lock_layer(&self, digest: &Digest) -> Result<LayerLock> {
        loop {
            let wait = |file: &File, what: &str| lock(file, Share::Exclusive, what).map(|()| true);
            if let Some(lock) = self.lock_with(digest, wait)? {
                return Ok(lock);
            }
        }
    }

    fn lock_with(
        &self,
        digest: &Digest,
        lock: impl Fn(&File, &str) -> crate::sys::Result<bool>,
    ) -> Result<Option<LayerLock>> {
        let path = self.root().join("locks").join(digest.hex());
        loop {
            let file = open_lock(&path)?;
            if !lock(&file, &path.to_string_lossy()).map_err(lock_failed(&path))? {
                return Ok(None);
            }
            // Whoever had it before has removed the file: then this lock is of no use.
            if temp::is_at(&file, &path)? {
                return Ok(Some(LayerLock { path, _exclusive: file }));
            }
        }
    }
}

impl Drop for LayerLock {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

impl Deref for Session {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// Makes the file that sessions lock.
pub(super) fn make_lock(store: &Store) -> Result<()> {
    open_lock(&store.root().join("lock")).map(drop)
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
