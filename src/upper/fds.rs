//! Open files of the layers on disk, bounded.

use std::fmt;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::sys::at::{Access, FileType};
use crate::sys::limits;
use crate::tree::NodeId;

/// The least and the most files that are kept open.
const FEWEST: u64 = 16;
const MOST: u64 = 4096;

/// An open file.
#[derive(Debug)]
pub(super) struct Open {
    fd: OwnedFd,
    /// What it is open for.
    pub(super) access: Access,
    /// What kind of file it is.
    pub(super) kind: FileType,
}

impl Open {
    pub(super) fn new(fd: OwnedFd, access: Access, kind: FileType) -> Arc<Self> {
        Arc::new(Self { fd, access, kind })
    }
}

impl AsFd for Open {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

type Cached = LruCache<(u64, NodeId), Arc<Open>>;

/// Open files that were used last, of all layers that share it.
///
/// By default it holds at most a quarter of the files that the process may have open, and at most
/// 4,096. Cloning shares it.
#[derive(Clone)]
pub struct FdCache {
    shared: Arc<Shared>,
}

struct Shared {
    open: Mutex<Cached>,
    layers: AtomicU64,
}

impl Default for FdCache {
    fn default() -> Self {
        let limit = limits::open_files_limit().unwrap_or(u64::MAX);
        let room = (limit / 4).clamp(FEWEST, MOST);
        let room = usize::try_from(room).ok().and_then(NonZeroUsize::new);
        Self::new(room.unwrap_or(NonZeroUsize::MIN))
    }
}

impl fmt::Debug for FdCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FdCache").field("open", &self.lock().len()).finish_non_exhaustive()
    }
}

impl FdCache {
    /// Keeps at most `room` files open.
    #[must_use]
    pub fn new(room: NonZeroUsize) -> Self {
        let open = Mutex::new(LruCache::new(room));
        Self { shared: Arc::new(Shared { open, layers: AtomicU64::new(0) }) }
    }

    /// A number for one more layer that shares the cache.
    pub(super) fn register(&self) -> u64 {
        self.shared.layers.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Cached> {
        self.shared.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, layer: u64, node: NodeId) -> Option<Arc<Open>> {
        self.lock().get(&(layer, node)).map(Arc::clone)
    }

    /// Keeps `open` in place of what is kept for the same file, unless that is open for more.
    pub(super) fn put(&self, layer: u64, node: NodeId, open: &Arc<Open>) {
        let key = (layer, node);
        let closed = {
            let mut cached = self.lock();
            match cached.get(&key) {
                Some(kept) if kept.access >= open.access => None,
                _ => cached.push(key, Arc::clone(open)),
            }
        };
        // Closing a file may take long: not under the lock.
        drop(closed);
    }

    pub(super) fn remove(&self, layer: u64, node: NodeId) {
        let closed = self.lock().pop(&(layer, node));
        drop(closed);
    }
}
