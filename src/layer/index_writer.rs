//! Writing the index of a layer from the tree that its archive gave.

use std::path::Path;

use super::checked::Writer;
use super::draft::{Draft, DraftBody, DraftId, DraftNode};
use super::error::{Error, Result};
use super::index::{About, Body, DirentRecord, Extent, FORMAT, NodeRecord};

/// Writes the index at `path`; `about` is completed from the tree.
pub(super) fn write(draft: &Draft, path: &Path, mut about: About) -> Result<()> {
    let mut tables = Tables { names: count_names(draft), ..Tables::default() };
    tables.number();
    let mut nodes = Vec::new();
    for (id, node) in draft.nodes().iter().enumerate() {
        if tables.node(id) == 0 {
            continue;
        }
        let record = tables.record(id, node)?;
        about.stored = about.stored.saturating_add(match record.body {
            Body::Dense { size, .. } => size,
            Body::Sparse { stored, .. } => stored,
            _ => 0,
        });
        nodes.extend(record.encode());
    }
    let mut writer = Writer::create(path, &FORMAT)?;
    let about = about.encode();
    let sections: [&[u8]; 6] =
        [&about, &nodes, &tables.dirents, &tables.extents, &tables.strings, draft.xattr_bytes()];
    for section in sections {
        writer.write(section)?;
        writer.end_section();
    }
    writer.finish()
}

/// What the records of the nodes point into.
#[derive(Debug, Default)]
struct Tables {
    /// Of each file of the draft.
    names: Vec<Names>,
    dirents: Vec<u8>,
    dirent_count: u64,
    extents: Vec<u8>,
    extent_count: u64,
    strings: Vec<u8>,
}

/// How a file of the draft is reached.
#[derive(Debug, Clone, Copy, Default)]
struct Names {
    /// How many names it has.
    count: u32,
    /// The layer deletes lower layers' file of that name too.
    whiteout: bool,
    /// Its number in the index, from 1; 0 when nothing leads to it any more.
    number: u32,
}

/// Counts the names of the files that the root leads to.
fn count_names(draft: &Draft) -> Vec<Names> {
    let mut names = vec![Names::default(); draft.nodes().len()];
    if let Some(root) = names.first_mut() {
        root.count = 1;
    }
    let mut open = vec![0];
    while let Some(id) = open.pop() {
        let Some(DraftBody::Directory(directory)) = draft.nodes().get(id).map(|node| &node.body)
        else {
            continue;
        };
        for child in directory.children.values() {
            let Some(id) = child.node else { continue };
            if let Some(names) = names.get_mut(id) {
                names.count = names.count.saturating_add(1);
                names.whiteout |= child.whiteout;
                open.push(id);
            }
        }
    }
    names
}

impl Tables {
    /// Numbers the files in the order of appearance, so that those next to each other in the
    /// archive are next to each other in the index.
    fn number(&mut self) {
        let mut next = 0;
        for names in self.names.iter_mut().filter(|names| names.count > 0) {
            next += 1;
            names.number = next;
        }
    }

    fn names(&self, id: DraftId) -> Names {
        self.names.get(id).copied().unwrap_or_default()
    }

    fn node(&self, id: DraftId) -> u32 {
        self.names(id).number
    }

    fn record(&mut self, id: DraftId, node: &DraftNode) -> Result<NodeRecord> {
        let body = match &node.body {
            DraftBody::Directory(directory) => {
                let first = self.dirent_count;
                for (name, child) in &directory.children {
                    let node = child.node.map_or(0, |child| self.node(child));
                    let name_at = u32::try_from(self.strings.len()).map_err(|_| too_long())?;
                    self.strings.extend_from_slice(name.as_bytes());
                    let name_len = u8::try_from(name.as_bytes().len()).map_err(|_| too_long())?;
                    let position = child.position;
                    self.dirents
                        .extend(DirentRecord { name_at, name_len, node, position }.encode());
                    self.dirent_count += 1;
                }
                let count = u32::try_from(directory.children.len()).map_err(|_| too_long())?;
                // A directory in the place of a deleted file or directory shares nothing with it.
                let opaque = directory.opaque || self.names(id).whiteout;
                let implied = directory.implied;
                Body::Directory { first, count, opaque, implied }
            }
            DraftBody::Dense { at, size } => Body::Dense { at: *at, size: *size },
            DraftBody::Sparse { size, extents } => self.sparse(*size, extents)?,
            DraftBody::Symlink(target) => {
                let at = self.strings.len() as u64;
                self.strings.extend_from_slice(target);
                Body::Symlink { at, len: target.len() as u64 }
            }
            DraftBody::CharDevice(device) => Body::CharDevice(*device),
            DraftBody::BlockDevice(device) => Body::BlockDevice(*device),
            DraftBody::Fifo => Body::Fifo,
        };
        let nlink = match body {
            Body::Directory { .. } => 1,
            _ => self.names(id).count,
        };
        let meta = &node.meta;
        Ok(NodeRecord {
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            mtime: meta.mtime,
            nlink,
            xattrs: meta.xattrs,
            body,
        })
    }

    fn sparse(&mut self, size: u64, extents: &[Extent]) -> Result<Body> {
        let first = self.extent_count;
        let mut stored = 0_u64;
        for extent in extents {
            self.extents.extend(extent.encode());
            stored = stored.saturating_add(extent.len);
        }
        self.extent_count += extents.len() as u64;
        let count = u32::try_from(extents.len()).map_err(|_| too_long())?;
        Ok(Body::Sparse { first, count, size, stored })
    }
}

fn too_long() -> Error {
    Error::Limit { limit: u32::MAX.into(), of: "bytes of names" }
}
