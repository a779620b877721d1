//! The index of hard links: a second name, out of sight, for each file that was copied up from a
//! lower file with several names.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::{Error, Result};
use crate::sys::{at, dirent};
use crate::tree::{Errno, LayerId, NodeId, Origin};

#[derive(Debug, Default)]
struct Maps {
    nodes: HashMap<Origin, NodeId>,
    origins: HashMap<NodeId, Origin>,
}

/// Which files of the upper layer were copied up from which lower files with several names.
///
/// A directory of hard links on disk, one for each, named by its origin; and the same in memory,
/// so that to ask costs no system call.
#[derive(Debug, Default)]
pub(super) struct Index {
    dir: Option<File>,
    maps: Mutex<Maps>,
}

impl Index {
    /// Reads the index in `dir`: one pass over its names.
    pub(super) fn load(dir: File) -> Result<Self> {
        let mut maps = Maps::default();
        let readable = at::reopen_dir(dir.as_fd())?;
        for entry in dirent::entries(readable.as_fd())? {
            match parse(&entry.name) {
                Some(origin) => {
                    maps.nodes.insert(origin, NodeId(entry.ino));
                    maps.origins.insert(NodeId(entry.ino), origin);
                }
                None => log::warn!("index: {} is no origin", entry.name.escape_ascii()),
            }
        }
        Ok(Self { dir: Some(dir), maps: Mutex::new(maps) })
    }

    fn lock(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one of the names of `node` is here.
    pub(super) fn has(&self, node: NodeId) -> bool {
        self.dir.is_some() && self.lock().origins.contains_key(&node)
    }

    /// The file that was copied up from `origin`.
    pub(super) fn node(&self, origin: Origin) -> Option<NodeId> {
        self.lock().nodes.get(&origin).copied()
    }

    /// Where `node` can be opened.
    pub(super) fn place(&self, node: NodeId) -> Option<(BorrowedFd<'_>, Vec<u8>)> {
        let dir = self.dir.as_ref()?;
        let origin = *self.lock().origins.get(&node)?;
        Some((dir.as_fd(), spell(origin)))
    }

    /// Adds the file `name` in `dir`, which is `node`.
    ///
    /// # Errors
    /// `EEXIST` when another file was copied up from `origin`.
    pub(super) fn add(
        &self,
        origin: Origin,
        node: NodeId,
        dir: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<()> {
        let index = self.dir.as_ref().ok_or(Error::Refused(Errno::ENOTSUP))?;
        let to = spell(origin);
        at::link((dir, name), (index.as_fd(), OsStr::from_bytes(&to)))?;
        let mut maps = self.lock();
        maps.nodes.insert(origin, node);
        maps.origins.insert(node, origin);
        Ok(())
    }

    /// Takes back [`Index::add`].
    pub(super) fn remove(&self, origin: Origin) -> Result<()> {
        let Some(index) = self.dir.as_ref() else { return Ok(()) };
        let name = spell(origin);
        at::unlink(index.as_fd(), OsStr::from_bytes(&name))?;
        let mut maps = self.lock();
        if let Some(node) = maps.nodes.remove(&origin) {
            maps.origins.remove(&node);
        }
        Ok(())
    }
}

/// 32 hexadecimal digits: the layer, then the node.
fn spell(origin: Origin) -> Vec<u8> {
    let layer = u64::from_be_bytes(origin.layer.0);
    format!("{layer:016x}{:016x}", origin.node.0).into_bytes()
}

fn parse(name: &[u8]) -> Option<Origin> {
    let text = std::str::from_utf8(name).ok().filter(|text| text.len() == 32)?;
    if !text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let (layer, node) = text.split_at_checked(16)?;
    let layer = u64::from_str_radix(layer, 16).ok()?;
    let node = u64::from_str_radix(node, 16).ok()?;
    Some(Origin { layer: LayerId(layer.to_be_bytes()), node: NodeId(node) })
}

#[cfg(test)]
mod tests {
    use super::{parse, spell};
    use crate::tree::{LayerId, NodeId, Origin};

    #[test]
    fn an_origin_is_read_as_it_is_spelled_and_nothing_else_is_one() {
        let origin = Origin { layer: LayerId(*b"\0\xffabcdef"), node: NodeId(0x1_2345) };
        assert_eq!(spell(origin), b"00ff6162636465660000000000012345");
        assert_eq!(parse(&spell(origin)), Some(origin));
        for name in [&b""[..], b"x", &[b'0'; 31], &[b'0'; 33], &[b'A'; 32], &[b'+'; 32]] {
            assert_eq!(parse(name), None);
        }
    }
}
