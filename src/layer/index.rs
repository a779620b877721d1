//! The index of a layer: its tree, in one flat file.
//!
//! `docs/FORMATS.md`, "Layer index", has it byte by byte. Nothing is parsed when it is opened;
//! records are read where they lie. Every offset that the file holds is checked before it is
//! followed, and every block before a byte of it is used, so that a damaged index is an error.

use std::path::Path;

use super::checked::{Checked, Fields, Format};
use super::error::{Error, Result};
use crate::oci::{DiffId, Digest};
use crate::tree::{Device, Kind, Time};

pub(super) static FORMAT: Format = Format { magic: b"mica-idx", version: 1, sections: 6 };

/// The sections, in the order of the file.
pub(super) mod section {
    pub(crate) const ABOUT: usize = 0;
    pub(crate) const NODES: usize = 1;
    pub(crate) const DIRENTS: usize = 2;
    pub(crate) const EXTENTS: usize = 3;
    pub(crate) const STRINGS: usize = 4;
    pub(crate) const XATTRS: usize = 5;
}

/// Bytes of the section that says what the index is of.
pub(super) const ABOUT_LEN: usize = 64;
/// Bytes of a node.
pub(super) const NODE_LEN: usize = 64;
/// Bytes of a directory entry.
pub(super) const DIRENT_LEN: usize = 16;
/// Bytes of an extent.
pub(super) const EXTENT_LEN: usize = 24;

/// What the index is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct About {
    pub(super) diff_id: DiffId,
    /// Bytes of the uncompressed archive.
    pub(super) unpacked: u64,
    /// Bytes of all files, without holes.
    pub(super) stored: u64,
    /// Entries of the archive.
    pub(super) entries: u64,
}

/// A file, as the index holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeRecord {
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
    pub(super) nlink: u32,
    /// Where in the section of extended attributes its set begins, plus 1; 0 for none.
    pub(super) xattrs: u32,
    pub(super) body: Body,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Directory {
        /// Its first record in the section of directory entries.
        first: u64,
        count: u32,
        opaque: bool,
        /// The archive has no entry for it, only for something in it.
        implied: bool,
    },
    /// A file that is stored in one piece.
    Dense {
        /// Where in the uncompressed archive.
        at: u64,
        size: u64,
    },
    /// A file with holes.
    Sparse {
        /// Its first record in the section of extents.
        first: u64,
        count: u32,
        size: u64,
        /// Bytes of its extents.
        stored: u64,
    },
    Symlink {
        /// Where its target stands in the section of strings.
        at: u64,
        len: u64,
    },
    CharDevice(Device),
    BlockDevice(Device),
    Fifo,
}

const OPAQUE: u8 = 1;
const IMPLIED: u8 = 2;

/// One name in a directory, as the index holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DirentRecord {
    /// Where the name stands in the section of strings.
    pub(super) name_at: u32,
    pub(super) name_len: u8,
    /// The number of the file; 0 for a whiteout.
    pub(super) node: u32,
    pub(super) position: u32,
}

/// A part of a sparse file that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Where in the file.
    pub(super) offset: u64,
    /// Where in the uncompressed archive.
    pub(super) at: u64,
    pub(super) len: u64,
}

impl About {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ABOUT_LEN);
        bytes.extend(self.diff_id.digest().as_bytes());
        for number in [self.unpacked, self.stored, self.entries, 0] {
            bytes.extend(number.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8; ABOUT_LEN]) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(Self {
            diff_id: DiffId::new(Digest::from_bytes(fields.array()?)),
            unpacked: fields.u64()?,
            stored: fields.u64()?,
            entries: fields.u64()?,
        })
    }
}

impl NodeRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let device = |d: Device| u64::from(d.major) << 32 | u64::from(d.minor);
        let (kind, flags, a, b, size, stored) = match self.body {
            Body::Dense { at, size } => (0, 0, at, 0, size, size),
            Body::Directory { first, count, opaque, implied } => {
                let flags = if opaque { OPAQUE } else { 0 } | if implied { IMPLIED } else { 0 };
                (1, flags, first, count, 0, 0)
            }
            Body::Symlink { at, len } => (2, 0, at, 0, len, 0),
            Body::CharDevice(d) => (3, 0, device(d), 0, 0, 0),
            Body::BlockDevice(d) => (4, 0, device(d), 0, 0, 0),
            Body::Fifo => (5, 0, 0, 0, 0, 0),
            Body::Sparse { first, count, size, stored } => (6, 0, first, count, size, stored),
        };
        let mut bytes = Vec::with_capacity(NODE_LEN);
        bytes.extend(self.mtime.secs.to_le_bytes());
        for number in [size, a, stored] {
            bytes.extend(number.to_le_bytes());
        }
        for number in [b, self.uid, self.gid, self.nlink, self.mtime.nanos, self.xattrs] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.mode.to_le_bytes());
        bytes.extend([kind, flags]);
        bytes.resize(NODE_LEN, 0);
        bytes
    }

    fn decode(bytes: &[u8; NODE_LEN]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let secs = fields.i64()?;
        let (size, a, stored) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (b, uid, gid, nlink) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
        let (nanos, xattrs) = (fields.u32()?, fields.u32()?);
        let (mode, kind, flags) = (fields.u16()?, fields.u8()?, fields.u8()?);
        let device = || {
            let (major, minor) = (u32::try_from(a >> 32).ok()?, u32::try_from(a & 0xffff_ffff));
            Some(Device { major, minor: minor.ok()? })
        };
        let body = match kind {
            0 => Body::Dense { at: a, size },
            1 => Body::Directory {
                first: a,
                count: b,
                opaque: flags & OPAQUE != 0,
                implied: flags & IMPLIED != 0,
            },
            2 => Body::Symlink { at: a, len: size },
            3 => Body::CharDevice(device()?),
            4 => Body::BlockDevice(device()?),
            5 => Body::Fifo,
            6 => Body::Sparse { first: a, count: b, size, stored },
            _ => return None,
        };
        Some(Self { mode, uid, gid, mtime: Time { secs, nanos }, nlink, xattrs, body })
    }

    pub(super) fn kind(&self) -> Kind {
        match self.body {
            Body::Directory { .. } => Kind::Directory,
            Body::Dense { .. } | Body::Sparse { .. } => Kind::File,
            Body::Symlink { .. } => Kind::Symlink,
            Body::CharDevice(_) => Kind::CharDevice,
            Body::BlockDevice(_) => Kind::BlockDevice,
            Body::Fifo => Kind::Fifo,
        }
    }
}

impl DirentRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(DIRENT_LEN);
        for number in [self.name_at, self.node, self.position, self.name_len.into()] {
            bytes.extend(number.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8; DIRENT_LEN]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (name_at, node, position) = (fields.u32()?, fields.u32()?, fields.u32()?);
        Some(Self { name_at, name_len: u8::try_from(fields.u32()?).ok()?, node, position })
    }
}

impl Extent {
    pub(super) fn encode(&self) -> Vec<u8> {
        [self.offset, self.at, self.len].into_iter().flat_map(u64::to_le_bytes).collect()
    }

    fn decode(bytes: &[u8; EXTENT_LEN]) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(Self { offset: fields.u64()?, at: fields.u64()?, len: fields.u64()? })
    }
}

/// An index that is read.
#[derive(Debug)]
pub(super) struct Index {
    file: Checked,
    about: About,
    nodes: u64,
}

impl Index {
    /// Opens the index at `path`, which must be of the layer `diff_id`.
    pub(super) fn open(path: &Path, diff_id: DiffId) -> Result<Self> {
        let file = Checked::open(path, &FORMAT)?;
        let about = About::decode(file.record(section::ABOUT, 0)?)
            .filter(|about| about.diff_id == diff_id)
            .ok_or_else(|| file.damaged(format!("it is not of layer {diff_id}")))?;
        let nodes = file.section_len(section::NODES) / NODE_LEN as u64;
        Ok(Self { file, about, nodes })
    }

    pub(super) fn about(&self) -> &About {
        &self.about
    }

    /// How many files there are. They are numbered from 1, the root.
    pub(super) fn nodes(&self) -> u64 {
        self.nodes
    }

    /// File number `node`, which is 1 to [`Index::nodes`].
    pub(super) fn node(&self, node: u64) -> Result<NodeRecord> {
        let at = node.checked_sub(1).ok_or_else(|| self.wrong("a node"))?;
        NodeRecord::decode(self.file.record(section::NODES, at)?)
            .ok_or_else(|| self.wrong("a node"))
    }

    /// Record number `at` of the directory entries.
    pub(super) fn dirent(&self, at: u64) -> Result<DirentRecord> {
        DirentRecord::decode(self.file.record(section::DIRENTS, at)?)
            .ok_or_else(|| self.wrong("a directory entry"))
    }

    /// The name of a directory entry.
    pub(super) fn name(&self, entry: &DirentRecord) -> Result<&[u8]> {
        self.string(entry.name_at.into(), entry.name_len.into())
    }

    /// A name or the target of a symbolic link.
    pub(super) fn string(&self, at: u64, len: u64) -> Result<&[u8]> {
        self.file.bytes(section::STRINGS, at, len)
    }

    /// The entry `name` among the `count` entries from `first` on, which are sorted.
    pub(super) fn find(&self, first: u64, count: u32, name: &[u8]) -> Result<Option<DirentRecord>> {
        let (mut low, mut high) = (first, first.saturating_add(count.into()));
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.dirent(middle)?;
            match self.name(&entry)?.cmp(name) {
                std::cmp::Ordering::Equal => return Ok(Some(entry)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    /// The first of the `count` extents from `first` on that ends after `offset`, with its number
    /// among them.
    pub(super) fn extent_after(
        &self,
        first: u64,
        count: u32,
        offset: u64,
    ) -> Result<Option<(u32, Extent)>> {
        let (mut low, mut high) = (0, count);
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let extent = self.extent(first, middle)?;
            if extent.offset.saturating_add(extent.len) > offset {
                found = Some((middle, extent));
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(found)
    }

    /// Extent number `number` of the file whose first extent is record `first`.
    pub(super) fn extent(&self, first: u64, number: u32) -> Result<Extent> {
        let at = first.saturating_add(number.into());
        Extent::decode(self.file.record(section::EXTENTS, at)?)
            .ok_or_else(|| self.wrong("an extent"))
    }

    /// Gives `sink` each name and value of the set of extended attributes `xattrs` of a node,
    /// until it returns `false`.
    pub(super) fn xattrs(
        &self,
        xattrs: u32,
        mut sink: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        let Some(mut at) = xattrs.checked_sub(1).map(u64::from) else { return Ok(()) };
        let mut next = |len: u64| {
            let bytes = self.file.bytes(section::XATTRS, at, len);
            at = at.saturating_add(len);
            bytes
        };
        let mut count = next(2).map(Fields)?.u16().unwrap_or(0);
        while count > 0 {
            let mut fields = Fields(next(5)?);
            let (name_len, len) = (fields.u8().unwrap_or(0), fields.u32().unwrap_or(0));
            if !sink(next(name_len.into())?, next(len.into())?) {
                break;
            }
            count -= 1;
        }
        Ok(())
    }

    /// The error for something that cannot be in an index.
    pub(super) fn wrong(&self, what: &str) -> Error {
        self.file.damaged(format!("{what} in it is malformed"))
    }
}
