//! The files in use, their names, and who keeps them in use. No call to a layer is made here.

use std::collections::HashMap;
use std::sync::Arc;

use super::inode::{Inode, Links};
use super::merge::Level;
use crate::tree::{Errno, Error, Ino, Name, NodeId, Result};

#[derive(Debug)]
struct Known {
    inode: Arc<Inode>,
    /// What lookups gave out and forgets did not take back yet.
    lookups: u64,
    /// How many names of files in use are in this directory.
    children: u64,
    /// The names it was found under, a directory's at most one, each with the directory it is in,
    /// which is in the table for as long as this is.
    names: Vec<(Ino, Name)>,
}

/// A file in use, as seen from one name.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) inode: Arc<Inode>,
    /// Whether it is known under that name.
    pub(super) named: bool,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    known: HashMap<Ino, Known>,
    /// Lower files with several names of which some came or went: how many are left. Kept when
    /// the file is forgotten, since no layer knows it.
    links: HashMap<Ino, u32>,
    /// Numbers for what has no room in [`Ino::lower`] or [`Ino::upper`].
    overflow: HashMap<(Level, NodeId), Ino>,
}

impl Table {
    /// The file with this number, if it is in use.
    pub(super) fn get(&self, ino: Ino) -> Option<&Arc<Inode>> {
        self.known.get(&ino).map(|known| &known.inode)
    }

    /// The file with this number, as seen from `name` in `dir`.
    pub(super) fn find(&self, ino: Ino, dir: Ino, name: &Name) -> Option<Live> {
        let known = self.known.get(&ino)?;
        let named = known.names.iter().any(|(at, known)| *at == dir && known == name);
        Some(Live { inode: Arc::clone(&known.inode), named })
    }

    /// Counts a lookup; `false` when the file is not in use.
    pub(super) fn count(&mut self, ino: Ino) -> bool {
        let Some(known) = self.known.get_mut(&ino) else { return false };
        known.lookups = known.lookups.saturating_add(1);
        true
    }

    /// Puts a file in use, with no lookup and no name yet. What is in use stays as it is.
    pub(super) fn insert(&mut self, inode: Arc<Inode>) {
        let fresh = Known { inode, lookups: 0, children: 0, names: Vec::new() };
        self.known.entry(fresh.inode.ino).or_insert(fresh);
    }

    /// Adds a name, once.
    pub(super) fn add_name(&mut self, ino: Ino, dir: Ino, name: &Name) {
        if !self.known.contains_key(&dir) {
            return;
        }
        let Some(known) = self.known.get_mut(&ino) else { return };
        if known.names.iter().any(|(at, known)| *at == dir && known == name) {
            return;
        }
        known.names.push((dir, name.clone()));
        if let Some(parent) = self.known.get_mut(&dir) {
            parent.children = parent.children.saturating_add(1);
        }
    }

    /// Removes a name. Returns what is not in use any more, to be dropped without the lock.
    pub(super) fn remove_name(&mut self, ino: Ino, dir: Ino, name: &Name) -> Vec<Arc<Inode>> {
        let Some(known) = self.known.get_mut(&ino) else { return Vec::new() };
        let before = known.names.len();
        known.names.retain(|(at, known)| !(*at == dir && known == name));
        if known.names.len() < before {
            if let Some(parent) = self.known.get_mut(&dir) {
                parent.children = parent.children.saturating_sub(1);
            }
            return self.release(dir);
        }
        Vec::new()
    }

    /// Takes back lookups. Returns what is not in use any more, to be dropped without the lock.
    pub(super) fn forget(&mut self, ino: Ino, count: u64) -> Vec<Arc<Inode>> {
        let Some(known) = self.known.get_mut(&ino) else { return Vec::new() };
        known.lookups = known.lookups.saturating_sub(count);
        self.release(ino)
    }

    /// Takes out `ino` and, above it, each directory that nothing keeps in use any more.
    fn release(&mut self, ino: Ino) -> Vec<Arc<Inode>> {
        let mut unused = Vec::new();
        let mut doubtful = vec![ino];
        while let Some(ino) = doubtful.pop() {
            let idle = |known: &Known| known.lookups == 0 && known.children == 0;
            if ino == Ino::ROOT || !self.known.get(&ino).is_some_and(idle) {
                continue;
            }
            let Some(known) = self.known.remove(&ino) else { continue };
            for (dir, _) in known.names {
                if let Some(parent) = self.known.get_mut(&dir) {
                    parent.children = parent.children.saturating_sub(1);
                    doubtful.push(dir);
                }
            }
            if known.inode.links() == Links::Counted(0) {
                self.links.remove(&ino);
            }
            unused.push(known.inode);
        }
        unused
    }

    /// A name of the file, with its directory, if it has one.
    pub(super) fn name(&self, ino: Ino) -> Option<(Arc<Inode>, Name)> {
        let (dir, name) = self.known.get(&ino)?.names.first()?;
        Some((Arc::clone(self.get(*dir)?), name.clone()))
    }

    /// The directory that holds the directory `ino`; the root holds itself.
    pub(super) fn parent(&self, ino: Ino) -> Option<Ino> {
        if ino == Ino::ROOT {
            return Some(ino);
        }
        self.known.get(&ino)?.names.first().map(|(dir, _)| *dir)
    }

    /// Whether `ancestor` is `dir` or holds it, directly or further up.
    pub(super) fn is_within(&self, dir: Ino, ancestor: Ino) -> bool {
        let mut at = dir;
        while at != ancestor {
            match self.parent(at) {
                Some(parent) if parent != at => at = parent,
                _ => return false,
            }
        }
        true
    }

    /// How many names a lower file has left, if some came or went.
    pub(super) fn links(&self, ino: Ino) -> Option<u32> {
        self.links.get(&ino).copied()
    }

    /// Remembers how many names a lower file has left.
    pub(super) fn set_links(&mut self, ino: Ino, count: u32) {
        self.links.insert(ino, count);
    }

    /// A number for a file that has none of its own, the same one until the view ends.
    pub(super) fn number(&mut self, level: Level, node: NodeId) -> Result<Ino> {
        let used = u64::try_from(self.overflow.len()).unwrap_or(u64::MAX);
        if let Some(&ino) = self.overflow.get(&(level, node)) {
            return Ok(ino);
        }
        let Some(ino) = Ino::overflow(used) else {
            return Err(Error::new(Errno::EOVERFLOW, "no inode numbers are left"));
        };
        self.overflow.insert((level, node), ino);
        Ok(ino)
    }
}
