//! The bytes of files.

use std::sync::Arc;

use super::Union;
use super::inode::{At, Inode};
use crate::tree::{Errno, FsStats, Ino, Kind, NodeId, Result, Seek, SyncMode};

/// How much is copied at a time from a lower file to another file.
const COPY_CHUNK: usize = 128 << 10;

/// How much one copy_file_range(2) copies at most from a lower file: it may be cut short, and the
/// caller comes back for the rest.
const COPY_MOST: u64 = 16 << 20;

/// The block size in which the sizes of a read-only view are given.
const BLOCK_SIZE: u32 = 4096;

impl Union {
    /// The target of a symbolic link.
    ///
    /// # Errors
    /// `EINVAL` when the file is none.
    pub fn readlink(&self, ino: Ino) -> Result<Box<[u8]>> {
        let inode = self.inode(ino)?;
        if inode.kind != Kind::Symlink {
            return Err(Errno::EINVAL.into());
        }
        let (layer, node) = self.layers.at(inode.at()?)?;
        layer.readlink(node)
    }

    /// Reads from a regular file. Fewer bytes than asked for at the end only.
    ///
    /// # Errors
    /// `EISDIR`, `EINVAL` for what is no regular file; `EIO` when the bytes cannot be had or do
    /// not pass verification.
    pub fn read(&self, ino: Ino, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let inode = self.regular(ino)?;
        let (layer, node) = self.layers.at(inode.at()?)?;
        layer.read_at(node, offset, buf)
    }

    /// Writes all of `data` to a regular file, copying it up first.
    ///
    /// # Errors
    /// Those of [`Union::read`] and of pwrite(2); `EROFS`.
    pub fn write(&self, ino: Ino, offset: u64, data: &[u8]) -> Result<()> {
        let upper = self.layers.upper()?;
        let inode = self.regular(ino)?;
        upper.write_at(self.copy_up(&inode, u64::MAX)?, offset, data)
    }

    /// fallocate(2), with `mode` as the kernel defines it.
    ///
    /// # Errors
    /// Those of [`Union::read`] and of fallocate(2); `EROFS`.
    pub fn allocate(&self, ino: Ino, offset: u64, len: u64, mode: i32) -> Result<()> {
        let upper = self.layers.upper()?;
        let inode = self.regular(ino)?;
        upper.allocate(self.copy_up(&inode, u64::MAX)?, offset, len, mode)
    }

    /// lseek(2) for data and holes.
    ///
    /// # Errors
    /// `ENXIO` when `offset` is at or past the end, or when there is no more data.
    pub fn seek(&self, ino: Ino, offset: u64, seek: Seek) -> Result<u64> {
        let inode = self.regular(ino)?;
        let (layer, node) = self.layers.at(inode.at()?)?;
        layer.seek(node, offset, seek)
    }

    /// copy_file_range(2); returns how many bytes were copied.
    ///
    /// # Errors
    /// Those of copy_file_range(2); `EROFS`.
    pub fn copy_range(&self, from: (Ino, u64), to: (Ino, u64), len: u64) -> Result<u64> {
        let upper = self.layers.upper()?;
        let ((from, from_offset), (to, to_offset)) = (from, to);
        let (source, target) = (self.regular(from)?, self.regular(to)?);
        let ends = (from_offset.checked_add(len), to_offset.checked_add(len));
        let (Some(from_end), Some(to_end)) = ends else { return Err(Errno::EOVERFLOW.into()) };
        if from == to && from_offset < to_end && to_offset < from_end {
            return Err(Errno::EINVAL.into());
        }
        let target = self.copy_up(&target, u64::MAX)?;
        match source.at()? {
            At::Upper(source) => upper.copy_range((source, from_offset), (target, to_offset), len),
            At::Lower(_) => {
                let len = len.min(COPY_MOST);
                self.copy_from_lower((&source, from_offset), (target, to_offset), len)
            }
        }
    }

    fn copy_from_lower(
        &self,
        (source, mut from): (&Inode, u64),
        (target, mut to): (NodeId, u64),
        len: u64,
    ) -> Result<u64> {
        let upper = self.layers.upper()?;
        let mut left = len;
        let mut buf = vec![0; COPY_CHUNK];
        while left > 0 {
            let want = usize::try_from(left).map_or(COPY_CHUNK, |left| left.min(COPY_CHUNK));
            let chunk = buf.get_mut(..want).unwrap_or_default();
            let (layer, node) = self.layers.at(source.at()?)?;
            let step = layer.read_at(node, from, chunk).and_then(|count| {
                let data = chunk.get(..count).unwrap_or_default();
                if !data.is_empty() {
                    upper.write_at(target, to, data)?;
                }
                Ok(u64::try_from(count).unwrap_or(0))
            });
            match step {
                Ok(0) => break,
                Ok(count) => {
                    left = left.saturating_sub(count);
                    from = from.saturating_add(count);
                    to = to.saturating_add(count);
                }
                // What was copied counts; the caller meets the error when it comes back.
                Err(error) if left < len => {
                    log::debug!("copy_file_range was cut short: {error}");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(len.saturating_sub(left))
    }

    /// fsync(2) or fdatasync(2) of a file or directory; what was never written is durable.
    ///
    /// # Errors
    /// Those of fsync(2).
    pub fn sync(&self, ino: Ino, mode: SyncMode) -> Result<()> {
        match self.inode(ino)?.upper() {
            Some(node) => self.layers.upper()?.sync(node, mode),
            None => Ok(()),
        }
    }

    /// Sizes: the upper layer's, or without one the sum of the layers' and nothing free.
    ///
    /// # Errors
    /// `EIO` when they cannot be had.
    pub fn stats(&self) -> Result<FsStats> {
        if let Ok(upper) = self.layers.upper() {
            return upper.stats();
        }
        let mut sum = FsStats { block_size: BLOCK_SIZE, ..FsStats::default() };
        for lower in self.layers.lowers() {
            let stats = lower.stats()?;
            let bytes = stats.blocks.saturating_mul(u64::from(stats.block_size));
            let blocks = bytes.div_ceil(u64::from(BLOCK_SIZE));
            sum.blocks = sum.blocks.saturating_add(blocks);
            sum.files = sum.files.saturating_add(stats.files);
        }
        Ok(sum)
    }

    fn regular(&self, ino: Ino) -> Result<Arc<Inode>> {
        let inode = self.inode(ino)?;
        match inode.kind {
            Kind::File => Ok(inode),
            Kind::Directory => Err(Errno::EISDIR.into()),
            _ => Err(Errno::EINVAL.into()),
        }
    }
}
