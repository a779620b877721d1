//! One immutable layer of an image, alone: archive, index, random access.
//!
//! A layer stays what it is in the registry, an archive that is mostly compressed. [`build`] reads
//! it once and writes an index of its tree and points from which its compression can be decoded;
//! [`Layer`] answers from those, and reads the stored bytes for the bytes of files only. What a
//! layer says of other layers, whiteouts and opaque directories, is data here: nothing in this
//! room sees a second layer or a network.
//!
//! The files are described in `docs/FORMATS.md`. They are checked block by block when they are
//! first touched, and the stored bytes chunk by chunk each time they are read: a byte that changed
//! is an error, never other bytes.

mod archive;
mod build;
mod checked;
mod draft;
mod error;
mod index;
mod index_writer;
mod limits;
mod pax;
mod reader;
mod seek;
mod span_cache;
mod sparse;
mod unpack;

pub use build::{DATA, INDEX, SEEK, Summary, build};
pub use error::{Error, Problem, Result};
pub use limits::Limits;
pub use seek::Compression;
pub use span_cache::SpanCache;

use std::path::Path;
use std::sync::Arc;

use crate::blob::ReadAt;
use crate::oci::{DiffId, Digest};
use crate::tree::{
    self, Attr, Device, Errno, FsStats, LayerId, Listed, Lower, Name, Node, NodeId, Seek, Slot,
    Xattr,
};
use index::{Body, DirentRecord, Index, NodeRecord};
use reader::Archive;

/// Unit of [`Attr::blocks`].
const SECTOR: u64 = 512;

/// A layer that was indexed by [`build`].
///
/// Looking up and listing read the index, which is mapped: no lock, no system call, and for
/// [`Lower::slot`] and [`Lower::attr`] no allocation.
#[derive(Debug)]
pub struct Layer {
    id: LayerId,
    index: Index,
    archive: Archive,
}

impl Layer {
    /// Opens the layer whose stored bytes, of digest `digest`, are `blob`, and whose index is in
    /// `dir`. What `blob` reads is verified here. Decoded bytes are kept in `cache`, which all
    /// layers of a process should share.
    ///
    /// The time it takes does not depend on the size of the layer, but for a thousandth of the
    /// index that is hashed.
    ///
    /// # Errors
    /// When the index is missing, damaged, of another layer or of a newer version, or when `blob`
    /// does not have the length it was indexed with.
    pub fn open(
        digest: Digest,
        diff_id: DiffId,
        blob: Arc<dyn ReadAt>,
        dir: &Path,
        cache: &Arc<SpanCache>,
    ) -> Result<Self> {
        let index = Index::open(&dir.join(INDEX), diff_id)?;
        let archive = Archive::open(digest, diff_id, blob, dir, cache)?;
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(diff_id.digest().as_bytes()) {
            *to = *from;
        }
        Ok(Self { id: LayerId(id), index, archive })
    }

    /// How the stored bytes are compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.archive.compression()
    }

    fn record(&self, node: NodeId) -> tree::Result<NodeRecord> {
        if node.0 == 0 || node.0 > self.index.nodes() {
            return Err(Errno::ESTALE.into());
        }
        Ok(self.index.node(node.0)?)
    }

    fn node(&self, id: u64) -> tree::Result<Node> {
        let id = NodeId(id);
        let record = self.record(id)?;
        let (opaque, implied) = match record.body {
            Body::Directory { opaque, implied, .. } => (opaque, implied),
            _ => (false, false),
        };
        Ok(Node { id, attr: attr(&record), opaque, implied, origin: None })
    }

    fn directory(&self, dir: NodeId) -> tree::Result<(u64, u32)> {
        match self.record(dir)?.body {
            Body::Directory { first, count, .. } => Ok((first, count)),
            _ => Err(Errno::ENOTDIR.into()),
        }
    }

    fn slot_of(&self, entry: &DirentRecord) -> tree::Result<Slot> {
        match entry.node {
            0 => Ok(Slot::Whiteout),
            node => Ok(Slot::Node(self.node(node.into())?)),
        }
    }

    /// Fills `buf` from byte `offset` of a file with holes, whose end is not before that of `buf`.
    fn read_sparse(&self, first: u64, count: u32, offset: u64, buf: &mut [u8]) -> Result<()> {
        let (mut at, mut rest) = (offset, buf);
        let mut next = self.index.extent_after(first, count, offset)?;
        while !rest.is_empty() {
            let Some((number, extent)) = next else {
                rest.fill(0);
                break;
            };
            let hole = usize::try_from(extent.offset.saturating_sub(at)).unwrap_or(usize::MAX);
            let (zeros, data) = rest.split_at_mut(hole.min(rest.len()));
            zeros.fill(0);
            at = at.saturating_add(zeros.len() as u64);
            let skip = at.saturating_sub(extent.offset);
            let left = usize::try_from(extent.len.saturating_sub(skip)).unwrap_or(usize::MAX);
            let (now, later) = data.split_at_mut(left.min(data.len()));
            self.archive.read_exact_at(extent.at.saturating_add(skip), now)?;
            at = at.saturating_add(now.len() as u64);
            rest = later;
            let following = number.checked_add(1).filter(|&number| number < count);
            next = match following {
                Some(number) => Some((number, self.index.extent(first, number)?)),
                None => None,
            };
        }
        Ok(())
    }
}

impl Lower for Layer {
    fn id(&self) -> LayerId {
        self.id
    }

    fn root(&self) -> tree::Result<Node> {
        self.node(1)
    }

    fn slot(&self, dir: NodeId, name: &Name) -> tree::Result<Slot> {
        let (first, count) = self.directory(dir)?;
        match self.index.find(first, count, name.as_bytes())? {
            Some(entry) => self.slot_of(&entry),
            None => Ok(Slot::Absent),
        }
    }

    fn list(&self, dir: NodeId) -> tree::Result<Vec<Listed>> {
        let (first, count) = self.directory(dir)?;
        let mut list = Vec::new();
        for number in 0..u64::from(count) {
            let entry = self.index.dirent(first.saturating_add(number))?;
            let name = Name::new(self.index.name(&entry)?).map_err(|_| self.index.wrong("a name"));
            let slot = self.slot_of(&entry)?;
            list.push(Listed { name: name?, position: entry.position.into(), slot });
        }
        list.sort_unstable_by_key(|listed| listed.position);
        Ok(list)
    }

    fn attr(&self, node: NodeId) -> tree::Result<Attr> {
        Ok(attr(&self.record(node)?))
    }

    fn readlink(&self, node: NodeId) -> tree::Result<Box<[u8]>> {
        match self.record(node)?.body {
            Body::Symlink { at, len } => Ok(self.index.string(at, len)?.into()),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    fn xattr(&self, node: NodeId, name: &[u8]) -> tree::Result<Box<[u8]>> {
        let mut found = None;
        self.index.xattrs(self.record(node)?.xattrs, |known, value| {
            if known == name {
                found = Some(value.into());
            }
            found.is_none()
        })?;
        found.ok_or_else(|| Errno::ENODATA.into())
    }

    fn xattrs(&self, node: NodeId) -> tree::Result<Vec<Xattr>> {
        let mut all = Vec::new();
        self.index.xattrs(self.record(node)?.xattrs, |name, value| {
            all.push((name.into(), value.into()));
            true
        })?;
        Ok(all)
    }

    fn read_at(&self, node: NodeId, offset: u64, buf: &mut [u8]) -> tree::Result<usize> {
        let record = self.record(node)?;
        let size = file_size(&record)?;
        let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = left.min(buf.len());
        let buf = buf.get_mut(..count).unwrap_or_default();
        match record.body {
            Body::Sparse { first, count, .. } => self.read_sparse(first, count, offset, buf)?,
            Body::Dense { at, .. } => {
                self.archive.read_exact_at(at.saturating_add(offset), buf)?;
            }
            _ => return Err(Errno::EINVAL.into()),
        }
        Ok(count)
    }

    fn seek(&self, node: NodeId, offset: u64, seek: Seek) -> tree::Result<u64> {
        let record = self.record(node)?;
        let size = file_size(&record)?;
        if offset >= size {
            return Err(Errno::ENXIO.into());
        }
        let Body::Sparse { first, count, .. } = record.body else {
            return Ok(if seek == Seek::Data { offset } else { size });
        };
        let mut next = self.index.extent_after(first, count, offset)?;
        if seek == Seek::Data {
            let (_, extent) = next.ok_or(Errno::ENXIO)?;
            return Ok(extent.offset.max(offset));
        }
        let mut at = offset;
        while let Some((number, extent)) = next.filter(|(_, extent)| extent.offset <= at) {
            at = extent.offset.saturating_add(extent.len);
            next = match number.checked_add(1).filter(|&number| number < count) {
                Some(number) => Some((number, self.index.extent(first, number)?)),
                None => None,
            };
        }
        Ok(at.min(size))
    }

    fn stats(&self) -> tree::Result<FsStats> {
        let about = self.index.about();
        let block_size = 4096;
        Ok(FsStats {
            block_size,
            blocks: about.stored.div_ceil(block_size.into()),
            files: self.index.nodes(),
            ..FsStats::default()
        })
    }
}

/// The size of a regular file.
fn file_size(record: &NodeRecord) -> tree::Result<u64> {
    match record.body {
        Body::Dense { size, .. } | Body::Sparse { size, .. } => Ok(size),
        Body::Directory { .. } => Err(Errno::EISDIR.into()),
        _ => Err(Errno::EINVAL.into()),
    }
}

fn attr(record: &NodeRecord) -> Attr {
    let (size, stored, device) = match record.body {
        Body::Dense { size, .. } => (size, size, Device::default()),
        Body::Sparse { size, stored, .. } => (size, stored, Device::default()),
        Body::Symlink { len, .. } => (len, 0, Device::default()),
        Body::CharDevice(device) | Body::BlockDevice(device) => (0, 0, device),
        Body::Directory { .. } | Body::Fifo => (0, 0, Device::default()),
    };
    Attr {
        kind: record.kind(),
        mode: record.mode,
        uid: record.uid,
        gid: record.gid,
        size,
        blocks: stored.div_ceil(SECTOR),
        nlink: record.nlink,
        device,
        atime: record.mtime,
        mtime: record.mtime,
        ctime: record.mtime,
    }
}
