//! A file of the view that is in use, and where its content is at the moment.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use super::create::Inherit;
use super::lock::lock;
use super::merge::{Level, Part};
use crate::tree::{Errno, Ino, Kind, Name, NodeId, Result, Upper};

/// A file of a layer that is only read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LowerNode {
    pub(super) level: usize,
    pub(super) node: NodeId,
}

/// The layer that answers for a file at the moment, and the file there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Lower(LowerNode),
    Upper(NodeId),
}

impl From<&Part> for At {
    fn from(part: &Part) -> Self {
        match part.level {
            Level::Upper => Self::Upper(part.node.id),
            Level::Lower(level) => Self::Lower(LowerNode { level, node: part.node.id }),
        }
    }
}

/// A use of a node of the upper layer; the layer is told when it ends.
///
/// Dropping it calls into the layer, so it is not dropped while a lock of the table or of an
/// inode's state is held.
pub(super) struct Held {
    upper: Arc<dyn Upper>,
    node: NodeId,
    count: u64,
}

impl Held {
    /// Uses `node`, found as `name` in `dir`.
    pub(super) fn found(upper: &Arc<dyn Upper>, node: NodeId, dir: NodeId, name: &Name) -> Self {
        upper.hold(node, dir, name);
        Self { upper: Arc::clone(upper), node, count: 1 }
    }

    /// Uses `node`, which has no name, or none that is known.
    pub(super) fn nameless(upper: &Arc<dyn Upper>, node: NodeId) -> Self {
        upper.hold_nameless(node);
        Self { upper: Arc::clone(upper), node, count: 1 }
    }

    /// The root, which is held from the start.
    pub(super) fn root(upper: &Arc<dyn Upper>, node: NodeId) -> Self {
        Self { upper: Arc::clone(upper), node, count: 0 }
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    /// Takes another use of the same node in; one of another node is handed back.
    fn join(&mut self, mut other: Self) -> Option<Self> {
        if other.node != self.node {
            return Some(other);
        }
        self.count = self.count.saturating_add(std::mem::take(&mut other.count));
        None
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.count > 0 {
            self.upper.forget(self.node, self.count);
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({:?} x {})", self.node, self.count)
    }
}

/// Where the content of a file is.
#[derive(Debug)]
pub(super) enum Backing {
    /// In a layer that is only read.
    Lower(LowerNode),
    /// In the upper layer.
    Upper(Held),
    /// A directory.
    Directory(Directory),
}

impl Backing {
    pub(super) fn into_held(self) -> Option<Held> {
        match self {
            Self::Lower(_) => None,
            Self::Upper(held) => Some(held),
            Self::Directory(dir) => dir.upper,
        }
    }
}

/// The parts of a directory.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) upper: Option<Held>,
    /// Top first.
    pub(super) lowers: Arc<[LowerNode]>,
    /// The one of them that says what the directory is like.
    pub(super) speaker: Option<LowerNode>,
    /// The directory is deleted, and only its users still know it.
    pub(super) removed: bool,
}

/// The parts of a directory at one moment.
#[derive(Debug, Clone)]
pub(super) struct DirView {
    pub(super) upper: Option<NodeId>,
    /// Top first.
    pub(super) lowers: Arc<[LowerNode]>,
    pub(super) removed: bool,
}

/// How many names a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// As many as its layer says.
    AsLayer,
    /// This many: names are left in lower layers, or there are none any more.
    Counted(u32),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) backing: Backing,
    pub(super) links: Links,
    /// Of a directory: what new files in it inherit, if that is known.
    pub(super) inherit: Option<Arc<Inherit>>,
}

/// A file of the view that is in use.
///
/// Lock order, of all locks of the union, first to last; those of one rank are taken in
/// ascending order of inode number:
///
/// 1. `Union::moves`
/// 2. `copying`
/// 3. `entries`
/// 4. the table, then `state`; the listings. Never held across a call into a layer.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) ino: Ino,
    pub(super) kind: Kind,
    /// Held while the file is copied up and while a name of it is added or removed, so that a
    /// copy never lands under a name that is gone. Reading does not take it.
    pub(super) copying: Mutex<()>,
    /// Of a directory: held shared while a name is resolved and put to use, and exclusively while
    /// names in it change.
    pub(super) entries: RwLock<()>,
    state: Mutex<State>,
    /// Of a directory: differs from every value before whenever a name in it has come, gone, or
    /// changed its layer.
    version: AtomicU64,
}

/// The source of versions, for all directories: one that is forgotten and found again does not
/// start over, so no old listing passes for a new one.
static VERSIONS: AtomicU64 = AtomicU64::new(0);

fn next_version() -> u64 {
    VERSIONS.fetch_add(1, Ordering::Relaxed)
}

impl Inode {
    pub(super) fn new(ino: Ino, kind: Kind, backing: Backing, links: Links) -> Self {
        Self {
            ino,
            kind,
            copying: Mutex::new(()),
            entries: RwLock::new(()),
            state: Mutex::new(State { backing, links, inherit: None }),
            version: AtomicU64::new(next_version()),
        }
    }

    /// Calls `f` with the state locked; `f` calls no layer.
    pub(super) fn with_state<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut lock(&self.state))
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Says that a name in this directory has come, gone, or changed its layer. To be called
    /// after the change, so that nothing read before it passes for current.
    pub(super) fn touch(&self) {
        self.version.store(next_version(), Ordering::Release);
    }

    /// Who answers for the content and attributes.
    pub(super) fn at(&self) -> Result<At> {
        self.with_state(|state| match &state.backing {
            Backing::Lower(lower) => Ok(At::Lower(*lower)),
            Backing::Upper(held) => Ok(At::Upper(held.node)),
            Backing::Directory(dir) => match (&dir.upper, dir.speaker) {
                (Some(held), _) => Ok(At::Upper(held.node)),
                (None, Some(lower)) => Ok(At::Lower(lower)),
                (None, None) => Err(Errno::ESTALE.into()),
            },
        })
    }

    /// The node in the upper layer, if there is one.
    pub(super) fn upper(&self) -> Option<NodeId> {
        self.with_state(|state| match &state.backing {
            Backing::Upper(held) => Some(held.node),
            Backing::Directory(dir) => dir.upper.as_ref().map(Held::node),
            Backing::Lower(_) => None,
        })
    }

    /// The parts of a directory; `ENOTDIR` when it is none.
    pub(super) fn dir(&self) -> Result<DirView> {
        self.with_state(|state| match &state.backing {
            Backing::Directory(dir) => Ok(DirView {
                upper: dir.upper.as_ref().map(Held::node),
                lowers: Arc::clone(&dir.lowers),
                removed: dir.removed,
            }),
            Backing::Lower(_) | Backing::Upper(_) => Err(Errno::ENOTDIR.into()),
        })
    }

    /// Takes in another use of the node in the upper layer. What is of no use is handed back, to
    /// be dropped when no lock is held.
    pub(super) fn join(&self, more: Held) -> Option<Held> {
        self.with_state(|state| match &mut state.backing {
            Backing::Upper(held) => held.join(more),
            Backing::Directory(Directory { upper: Some(held), .. }) => held.join(more),
            Backing::Lower(_) | Backing::Directory(_) => Some(more),
        })
    }

    /// From now on the file is in the upper layer.
    pub(super) fn copied(&self, to: Held) {
        let replaced = self.with_state(|state| match &mut state.backing {
            Backing::Directory(dir) => dir.upper.replace(to),
            file => match std::mem::replace(file, Backing::Upper(to)) {
                Backing::Upper(held) => Some(held),
                Backing::Lower(_) | Backing::Directory(_) => None,
            },
        });
        drop(replaced);
    }

    /// Changes the number of names after one has come or gone.
    pub(super) fn relink(&self, change: impl FnOnce(u32) -> u32) -> Links {
        self.with_state(|state| {
            state.links = match (state.links, &state.backing) {
                (Links::Counted(count), _) => Links::Counted(change(count)),
                (Links::AsLayer, Backing::Lower(_)) => Links::Counted(change(1)),
                (Links::AsLayer, Backing::Upper(_) | Backing::Directory(_)) => Links::AsLayer,
            };
            state.links
        })
    }

    pub(super) fn links(&self) -> Links {
        self.with_state(|state| state.links)
    }
}
