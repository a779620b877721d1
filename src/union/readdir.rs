//! Listing directories, with cookies that outlive changes.
//!
//! There is no handle for an open directory, so a reader comes back with nothing but the cookie
//! of the last name it saw. A name's cookie is
//!
//! ```text
//! bits 62..47                              bits 46..0
//! level of the lowest layer that knows     the name's position
//! the name, from bottom, plus 1            there
//! ```
//!
//! The lowest layer that knows a name, be it by a whiteout, does not change when the name is
//! copied up, deleted or made again, so its cookie does not either. Names that only the upper
//! layer knows come last. Before all of them are `.` with 1 and `..` with 2.

use std::collections::HashMap;
use std::sync::Arc;

use lru::LruCache;

use super::inode::{DirView, Inode};
use super::lock::{lock, read};
use super::merge::{Level, Merged, merge_slots};
use super::{Dirent, Entry, Union};
use crate::tree::{Errno, Ino, Kind, Listed, Name, Result, Slot};

const DOT: u64 = 1;
const DOT_DOT: u64 = 2;
const POSITION_BITS: u32 = 47;

/// How many names are kept in listings, all together: some 16 MiB.
const KEPT_NAMES: usize = 1 << 16;

/// A merged directory as it was at one moment.
#[derive(Debug)]
pub(super) struct Listing {
    /// The directory's version before it was listed.
    version: u64,
    /// In ascending order of cookie.
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    cookie: u64,
    name: Name,
    merged: Merged,
}

/// Listings that were used last.
#[derive(Debug)]
pub(super) struct Listings {
    recent: LruCache<Ino, Arc<Listing>>,
    names: usize,
}

impl Default for Listings {
    fn default() -> Self {
        Self { recent: LruCache::unbounded(), names: 0 }
    }
}

impl Listings {
    fn get(&mut self, dir: Ino) -> Option<Arc<Listing>> {
        self.recent.get(&dir).cloned()
    }

    /// Keeps a listing, at the cost of those not used for longest; the newest stays whatever its
    /// size, as its reader will come back for the rest.
    fn put(&mut self, dir: Ino, listing: Arc<Listing>) {
        self.remove(dir);
        self.names += listing.rows.len();
        self.recent.put(dir, listing);
        while self.names > KEPT_NAMES && self.recent.len() > 1 {
            let Some((_, old)) = self.recent.pop_lru() else { break };
            self.names -= old.rows.len();
        }
    }

    pub(super) fn remove(&mut self, dir: Ino) {
        if let Some(old) = self.recent.pop(&dir) {
            self.names -= old.rows.len();
        }
    }
}

impl Union {
    /// Gives `sink` the names of `dir` from `offset` (0, or a [`Dirent::next`]) on, until it
    /// returns `false` (the entry was not taken) or the directory ends.
    ///
    /// A name that is there from the first call of a listing to the last is given exactly once,
    /// whatever else comes and goes meanwhile.
    ///
    /// # Errors
    /// `ENOTDIR`; `EIO` when a layer cannot be read.
    pub fn list(
        &self,
        dir: Ino,
        offset: u64,
        sink: &mut dyn FnMut(Dirent<'_>) -> bool,
    ) -> Result<()> {
        let dir = self.inode(dir)?;
        for (name, ino, next) in self.dots(&dir)? {
            let dirent = Dirent { name, ino, kind: Kind::Directory, next };
            if next > offset && !sink(dirent) {
                return Ok(());
            }
        }
        let listing = self.listing(&dir, offset == 0)?;
        for row in listing.after(offset) {
            let Some((ino, kind)) = self.current(&dir, &listing, row)? else {
                continue;
            };
            if !sink(Dirent { name: row.name.as_bytes(), ino, kind, next: row.cookie }) {
                break;
            }
        }
        Ok(())
    }

    /// As [`Union::list`], with what a lookup of each name would give. Every entry that `sink`
    /// takes counts one lookup, but for `.` and `..`.
    ///
    /// # Errors
    /// As [`Union::list`].
    pub fn list_plus(
        &self,
        dir: Ino,
        offset: u64,
        sink: &mut dyn FnMut(Dirent<'_>, &Entry) -> bool,
    ) -> Result<()> {
        let dir = self.inode(dir)?;
        for (name, ino, next) in self.dots(&dir)? {
            if next <= offset {
                continue;
            }
            let entry = Entry { ino, attr: self.attr(ino)? };
            if !sink(Dirent { name, ino, kind: Kind::Directory, next }, &entry) {
                return Ok(());
            }
        }
        let listing = self.listing(&dir, offset == 0)?;
        for row in listing.after(offset) {
            let Some((pin, entry)) = self.enter(&dir, &listing, row)? else { continue };
            let (name, ino, kind) = (row.name.as_bytes(), entry.ino, entry.attr.kind);
            if !sink(Dirent { name, ino, kind, next: row.cookie }, &entry) {
                break;
            }
            pin.keep();
        }
        Ok(())
    }

    fn dots(&self, dir: &Inode) -> Result<[(&'static [u8], Ino, u64); 2]> {
        dir.dir()?;
        let parent = lock(&self.table).parent(dir.ino).unwrap_or(dir.ino);
        Ok([(b".", dir.ino, DOT), (b"..", parent, DOT_DOT)])
    }

    /// The listing of a directory: one that is kept, if nothing changed since or `current` is
    /// not asked for; else a new one.
    fn listing(&self, dir: &Inode, current: bool) -> Result<Arc<Listing>> {
        let kept = lock(&self.listings).get(dir.ino);
        match kept {
            Some(kept) if !current || kept.version == dir.version() => return Ok(kept),
            _ => {}
        }
        let version = dir.version();
        let view = dir.dir()?;
        let rows = if view.removed { Vec::new() } else { self.rows(&view)? };
        let listing = Arc::new(Listing { version, rows });
        lock(&self.listings).put(dir.ino, Arc::clone(&listing));
        Ok(listing)
    }

    /// Whether nothing is visible in a directory. The caller holds its `entries`.
    pub(super) fn is_empty(&self, dir: &Inode) -> Result<bool> {
        Ok(self.listing(dir, true)?.rows.is_empty())
    }

    fn rows(&self, view: &DirView) -> Result<Vec<Row>> {
        /// Slots from top to bottom, and the cookie that the lowest of them makes.
        type Known = (Vec<(Level, Slot)>, u64);
        let mut names: HashMap<Name, Known> = HashMap::new();
        let mut add = |level: Level, rank: u64, listed: Vec<Listed>| {
            for Listed { name, position, slot } in listed {
                let cookie = rank << POSITION_BITS | position;
                let known = names.entry(name).or_default();
                known.0.push((level, slot));
                known.1 = cookie;
            }
        };
        let rank = |level: usize| u64::try_from(level).map_or(u64::MAX >> 48, |level| level + 1);
        if let Some(node) = view.upper {
            let listed = self.layers.upper()?.list(node)?;
            add(Level::Upper, rank(self.layers.lower_count()), listed);
        }
        for lower in view.lowers.iter() {
            let listed = self.layers.lower(lower.level)?.list(lower.node)?;
            add(Level::Lower(lower.level), rank(lower.level), listed);
        }
        let mut rows = Vec::with_capacity(names.len());
        for (name, (slots, cookie)) in names {
            match merge_slots(slots.into_iter().map(Ok))? {
                Merged::Nothing => {}
                merged => rows.push(Row { cookie, name, merged }),
            }
        }
        rows.sort_unstable_by_key(|row| row.cookie);
        Ok(rows)
    }

    /// What a row stands for now; `None` when the name is gone.
    fn current(&self, dir: &Inode, listing: &Listing, row: &Row) -> Result<Option<(Ino, Kind)>> {
        let fresh;
        let merged = if listing.version == dir.version() {
            &row.merged
        } else {
            fresh = self.layers.merge(&dir.dir()?, &row.name)?;
            &fresh
        };
        let Some(kind) = merged.top().map(|top| top.node.attr.kind) else { return Ok(None) };
        Ok(self.number(dir, &row.name, merged)?.map(|ino| (ino, kind)))
    }

    /// Puts the file that a row stands for in use; `None` when the name is gone.
    fn enter(
        &self,
        dir: &Inode,
        listing: &Listing,
        row: &Row,
    ) -> Result<Option<(super::identity::Pin<'_>, Entry)>> {
        let _entries = read(&dir.entries);
        let view = dir.dir()?;
        if view.removed {
            return Ok(None);
        }
        let mut merged = if listing.version == dir.version() {
            row.merged.clone()
        } else {
            self.layers.merge(&view, &row.name)?
        };
        let pin = match self.intern(dir, &row.name, &mut merged) {
            Ok(pin) => pin,
            Err(error) if error.errno() == Errno::ENOENT => return Ok(None),
            Err(error) => return Err(error),
        };
        let entry = match (merged.top(), pin.upper()) {
            // What the listing says of an upper file may be older than its last change.
            (_, Some(_)) => Entry { ino: pin.ino, attr: self.current_attr(&pin)? },
            _ => self.entry(&pin, &merged)?,
        };
        Ok(Some((pin, entry)))
    }
}

impl Listing {
    fn after(&self, offset: u64) -> &[Row] {
        let start = self.rows.partition_point(|row| row.cookie <= offset);
        self.rows.get(start..).unwrap_or_default()
    }
}
