//! The merged view and all overlay semantics, pure: no disk, no clock, no environment, no threads
//! of its own, no FUSE.
//!
//! The one statement of the semantics is `merge::merge_slots`. What is in use is in `table`, where
//! it is at the moment in `inode`, with the order of all locks. The rest is one file for each
//! thing that can be done.

mod acl;
mod copy_up;
mod create;
mod identity;
mod inode;
mod io;
mod layers;
mod lock;
mod lookup;
mod merge;
mod readdir;
mod remove;
mod rename;
mod setattr;
mod table;
mod xattr;

use std::sync::{Arc, Mutex};

use crate::tree::{Attr, Ino, Kind, Lower, Result, Upper};
use layers::Layers;
use readdir::Listings;
use table::Table;

/// The layers of a view.
#[derive(Debug, Clone)]
pub struct Stack {
    /// The layers that are only read, bottom first. At least one, or an upper layer.
    pub lowers: Vec<Arc<dyn Lower>>,
    /// The layer that is written to; without one the view is read-only (`EROFS`).
    pub upper: Option<Arc<dyn Upper>>,
}

/// Who owns files in the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Owners {
    /// Whoever the layers say.
    #[default]
    Exact,
    /// All files belong to this user and group; a change of owner succeeds and changes nothing.
    /// For one who may use a single id only.
    Squashed {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
}

/// How a view behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Who owns files.
    pub owners: Owners,
}

/// A file of the view as it is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its inode number.
    pub ino: Ino,
    /// Its attributes.
    pub attr: Attr,
}

/// Who asks, as far as it matters for a file that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// File mode creation mask, applied unless the directory has a default ACL.
    pub umask: u16,
}

/// One name of a directory of the view.
#[derive(Debug, Clone, Copy)]
pub struct Dirent<'a> {
    /// The name; `.` and `..` too, hence bytes.
    pub name: &'a [u8],
    /// Its inode number.
    pub ino: Ino,
    /// What kind of file it is.
    pub kind: Kind,
    /// Where to go on after it: greater than 0, strictly ascending within a listing.
    pub next: u64,
}

/// How [`Union::rename`] treats what stands at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameMode {
    /// It is replaced.
    Replace,
    /// `EEXIST`.
    NoReplace,
    /// It goes to the source.
    Exchange,
}

/// A view of a stack of layers.
///
/// All methods may be called from many threads at once. Inode numbers passed in are those that
/// lookups gave out and that are not forgotten since; others give `ESTALE`.
#[derive(Debug)]
pub struct Union {
    layers: Layers,
    owners: Owners,
    table: Mutex<Table>,
    listings: Mutex<Listings>,
    /// Held while a directory moves to another directory: of two such moves each could put one
    /// directory into the other.
    moves: Mutex<()>,
}

impl Union {
    /// The view of `stack`.
    ///
    /// # Errors
    /// `EINVAL` for a stack of no layers, or of more than 65,000; `EIO` when the root of a layer
    /// cannot be read.
    pub fn new(stack: Stack, options: Options) -> Result<Self> {
        let union = Self {
            layers: Layers::new(stack)?,
            owners: options.owners,
            table: Mutex::default(),
            listings: Mutex::default(),
            moves: Mutex::default(),
        };
        union.enter_root()?;
        Ok(union)
    }
}
