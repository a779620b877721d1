//! Which inode number a file has, and the way into the table.

use std::sync::Arc;

use super::Union;
use super::inode::{At, Backing, Directory, Held, Inode, Links, LowerNode};
use super::lock::lock;
use super::merge::{Level, Merged, Part, speaker};
use super::table::Live;
use crate::tree::{Attr, Errno, Error, Ino, Kind, Name, NodeId, Result};

/// How often a name is looked at again when it is being changed meanwhile.
const ATTEMPTS: usize = 16;

/// Who a file is.
#[derive(Debug, Clone, Copy)]
struct Identity {
    ino: Ino,
    /// The lower file it is, or was copied up from, with its number of names there.
    lower: Option<(LowerNode, u32)>,
}

/// A file in use, for as long as this lives.
#[derive(Debug)]
pub(super) struct Pin<'a> {
    union: &'a Union,
    inode: Arc<Inode>,
    kept: bool,
}

impl Pin<'_> {
    /// Leaves the lookup to the caller of the union, who will forget it.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl std::ops::Deref for Pin<'_> {
    type Target = Arc<Inode>;

    fn deref(&self) -> &Arc<Inode> {
        &self.inode
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.union.forget(self.inode.ino, 1);
        }
    }
}

impl Union {
    /// The inode number to show for what `name` in `dir` stands for; `None` for nothing.
    pub(super) fn number(&self, dir: &Inode, name: &Name, merged: &Merged) -> Result<Option<Ino>> {
        let Some(identity) = self.identify(merged)? else { return Ok(None) };
        let live = lock(&self.table).find(identity.ino, dir.ino, name);
        match live {
            Some(live) if !live.is(merged, &identity) => self.own_number(merged).map(Some),
            _ => Ok(Some(identity.ino)),
        }
    }

    /// Puts the file that `name` in `dir` stands for in use. The caller holds `dir.entries`.
    ///
    /// `merged` is what the name was found to stand for. `ENOENT` when that is nothing.
    pub(super) fn intern(&self, dir: &Inode, name: &Name, merged: &mut Merged) -> Result<Pin<'_>> {
        for attempt in 0..ATTEMPTS {
            let Some(mut identity) = self.identify(merged)? else {
                return Err(Errno::ENOENT.into());
            };
            let live = {
                let mut table = lock(&self.table);
                let live = table.find(identity.ino, dir.ino, name);
                if let Some(live) = live.as_ref().filter(|live| live.named)
                    && live.is(merged, &identity)
                {
                    table.count(identity.ino);
                    let inode = Arc::clone(&live.inode);
                    return Ok(Pin { union: self, inode, kept: false });
                }
                live
            };
            if live.is_some_and(|live| !live.is(merged, &identity)) {
                // Copied up after it was looked at; or two files claim to be one.
                if attempt == 0 {
                    *merged = self.layers.merge(&dir.dir()?, name)?;
                    continue;
                }
                identity = Identity { ino: self.own_number(merged)?, lower: None };
            }
            if let Some(pin) = self.admit(dir, name, merged, &identity)? {
                return Ok(pin);
            }
        }
        Err(Error::new(Errno::EAGAIN, format!("{name} changes all the time")))
    }

    /// Enters a file, or another name of one. `None` when the number went to another file
    /// meanwhile.
    fn admit(
        &self,
        dir: &Inode,
        name: &Name,
        merged: &Merged,
        identity: &Identity,
    ) -> Result<Option<Pin<'_>>> {
        let Some(top) = merged.top() else { return Err(Errno::ENOENT.into()) };
        let backing = self.backing(dir, name, merged, identity)?;
        let count = match identity.lower {
            Some((_, lower_links)) if lower_links > 1 => {
                Some(self.link_count(top, &backing, lower_links)?)
            }
            _ => None,
        };
        let ino = identity.ino;
        let mut unused = None;
        let inode = {
            let mut table = lock(&self.table);
            if let Some(live) = table.find(ino, dir.ino, name) {
                if !live.is(merged, identity) {
                    drop(table);
                    return Ok(None);
                }
                unused = backing.into_held().and_then(|held| live.inode.join(held));
            } else {
                let links = match count {
                    Some(count) => Links::Counted(table.links(ino).unwrap_or(count)),
                    None => Links::AsLayer,
                };
                table.insert(Arc::new(Inode::new(ino, top.node.attr.kind, backing, links)));
            }
            table.add_name(ino, dir.ino, name);
            table.count(ino);
            table.get(ino).cloned()
        };
        drop(unused);
        match inode {
            Some(inode) => Ok(Some(Pin { union: self, inode, kept: false })),
            None => Err(Errno::ESTALE.into()),
        }
    }

    /// How many names to show for a lower file of `lower_links` names.
    ///
    /// Of a file that an earlier mount copied up it is not recorded which lower names are left:
    /// at least two are shown at first, so that nobody takes it for a file of one name.
    fn link_count(&self, top: &Part, backing: &Backing, lower_links: u32) -> Result<u32> {
        let upper_links = match (top.level, backing) {
            (Level::Upper, _) => top.node.attr.nlink,
            (_, Backing::Upper(held)) => self.layers.upper()?.attr(held.node())?.nlink,
            (_, Backing::Lower(_) | Backing::Directory(_)) => 0,
        };
        Ok(upper_links.max(lower_links))
    }

    /// Where the content is, with the use of the upper layer's node that goes with it.
    fn backing(
        &self,
        dir: &Inode,
        name: &Name,
        merged: &Merged,
        identity: &Identity,
    ) -> Result<Backing> {
        let found = |node: NodeId| -> Result<Held> {
            let Some(dir) = dir.upper() else { return Err(Errno::ESTALE.into()) };
            Ok(Held::found(self.layers.upper()?, node, dir, name))
        };
        match merged {
            Merged::Nothing => Err(Errno::ENOENT.into()),
            Merged::Directory(parts) => {
                let upper = match parts.first().map(At::from) {
                    Some(At::Upper(node)) => Some(found(node)?),
                    _ => None,
                };
                Ok(Backing::Directory(directory(upper, parts)))
            }
            Merged::File(part) => match (At::from(part), identity.lower) {
                (At::Upper(node), _) => Ok(Backing::Upper(found(node)?)),
                (At::Lower(lower), Some((_, links))) if links > 1 => {
                    let Some(node) = self.indexed(lower)? else {
                        return Ok(Backing::Lower(lower));
                    };
                    Ok(Backing::Upper(Held::nameless(self.layers.upper()?, node)))
                }
                (At::Lower(lower), _) => Ok(Backing::Lower(lower)),
            },
        }
    }

    /// The copy of a lower file that has several names, made under another name or earlier.
    fn indexed(&self, lower: LowerNode) -> Result<Option<NodeId>> {
        let Ok(upper) = self.layers.upper() else { return Ok(None) };
        let copy = upper.indexed(self.layers.origin(lower)?)?;
        Ok(copy.map(|node| node.id))
    }

    fn identify(&self, merged: &Merged) -> Result<Option<Identity>> {
        match merged {
            Merged::Nothing => Ok(None),
            Merged::Directory(parts) => match parts.iter().find_map(lower) {
                Some(lower) => {
                    let ino = self.lower_number(lower)?;
                    Ok(Some(Identity { ino, lower: Some((lower, 1)) }))
                }
                None => Ok(Some(Identity { ino: self.own_number(merged)?, lower: None })),
            },
            Merged::File(part) => match At::from(part) {
                At::Lower(lower) => Ok(Some(Identity {
                    ino: self.lower_number(lower)?,
                    lower: Some((lower, part.node.attr.nlink)),
                })),
                At::Upper(node) => match self.source(part, node)? {
                    Some((lower, attr)) => Ok(Some(Identity {
                        ino: self.lower_number(lower)?,
                        lower: Some((lower, attr.nlink)),
                    })),
                    None => Ok(Some(Identity { ino: self.own_number(merged)?, lower: None })),
                },
            },
        }
    }

    /// The lower file whose identity a file of the upper layer has.
    ///
    /// A copy of a file of several names has it only if it stands for all of them.
    fn source(&self, part: &Part, node: NodeId) -> Result<Option<(LowerNode, Attr)>> {
        let Some(origin) = part.node.origin else { return Ok(None) };
        let Some((lower, attr)) = self.layers.resolve(origin) else { return Ok(None) };
        if attr.kind != part.node.attr.kind {
            return Ok(None);
        }
        if attr.nlink > 1 && self.indexed(lower)? != Some(node) {
            return Ok(None);
        }
        Ok(Some((lower, attr)))
    }

    fn lower_number(&self, lower: LowerNode) -> Result<Ino> {
        let level = self.layers.first_level(lower.level);
        match Ino::lower(level, lower.node).filter(|&ino| ino != Ino::ROOT) {
            Some(ino) => Ok(ino),
            None => lock(&self.table).number(Level::Lower(level), lower.node),
        }
    }

    /// A number that no other file can have, for one whose origin is not known or not its own.
    fn own_number(&self, merged: &Merged) -> Result<Ino> {
        let Some(top) = merged.top() else { return Err(Errno::ENOENT.into()) };
        match top.level {
            Level::Upper => match Ino::upper(top.node.id) {
                Some(ino) => Ok(ino),
                None => lock(&self.table).number(top.level, top.node.id),
            },
            Level::Lower(_) => lock(&self.table).number(top.level, top.node.id),
        }
    }

    /// The root directory, which is in use from the start.
    pub(super) fn enter_root(&self) -> Result<()> {
        let Merged::Directory(parts) = self.layers.root()? else {
            return Err(Error::new(Errno::EIO, "the root of a layer is no directory"));
        };
        let upper = match parts.first().map(At::from) {
            Some(At::Upper(node)) => Some(Held::root(self.layers.upper()?, node)),
            _ => None,
        };
        let backing = Backing::Directory(directory(upper, &parts));
        let root = Inode::new(Ino::ROOT, Kind::Directory, backing, Links::AsLayer);
        lock(&self.table).insert(Arc::new(root));
        Ok(())
    }
}

fn lower(part: &Part) -> Option<LowerNode> {
    match At::from(part) {
        At::Lower(lower) => Some(lower),
        At::Upper(_) => None,
    }
}

fn directory(upper: Option<Held>, parts: &[Part]) -> Directory {
    let lowers = parts.iter().filter_map(lower).collect();
    Directory { upper, lowers, speaker: speaker(parts).and_then(lower), removed: false }
}

impl Live {
    /// Whether this is the file that the name was found to stand for.
    fn is(&self, merged: &Merged, identity: &Identity) -> bool {
        match merged {
            Merged::Nothing => false,
            Merged::Directory(_) => self.inode.kind == Kind::Directory,
            Merged::File(part) if self.inode.kind != part.node.attr.kind => false,
            Merged::File(part) => match (At::from(part), self.inode.at()) {
                (At::Upper(found), Ok(At::Upper(node))) => found == node,
                // It is being copied up at this moment, which happens under a name that is known.
                (At::Upper(_), Ok(At::Lower(lower))) => {
                    self.named && identity.lower.is_some_and(|(from, _)| from.node == lower.node)
                }
                (At::Lower(found), Ok(At::Lower(lower))) => found.node == lower.node,
                // Another name of it led to the copy. A file of one name is not in the upper layer
                // as long as that name shows the lower file.
                (At::Lower(_), Ok(At::Upper(_))) => {
                    identity.lower.is_some_and(|(_, links)| links > 1)
                }
                (_, Err(_)) => false,
            },
        }
    }
}
