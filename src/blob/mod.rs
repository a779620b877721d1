//! Bytes by digest and range.
//!
//! Everything that can be read at an offset is a [`ReadAt`]: a file, the verification of another
//! reader, a cache in front of one, a range of a registry. They compose as wrappers. No byte
//! leaves this room unverified. Nothing here knows of archives, files of an image, or HTTP.

mod error;
mod file;
mod verify;

pub use error::{Error, Result};
pub use file::FileBlob;
pub use verify::{CHUNK, ChunkDigests, ChunkHasher, Verified};

use std::fmt;

/// Bytes of known length that can be read at any offset, by many threads at once.
pub trait ReadAt: fmt::Debug + Send + Sync {
    /// The length in bytes. It never changes.
    fn len(&self) -> u64;

    /// Whether there are no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` from byte `offset`.
    ///
    /// # Errors
    /// [`Error::PastEnd`] when the range is not within the length; else when the bytes cannot be
    /// had or do not match what they were verified against. `buf` then holds nothing of use.
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;
}

impl<R: ReadAt + ?Sized> ReadAt for std::sync::Arc<R> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        (**self).read_exact_at(offset, buf)
    }
}

/// Checks that `count` bytes from `offset` lie within `len` bytes.
fn check_range(len: u64, offset: u64, count: usize) -> Result<()> {
    let end = offset.saturating_add(count as u64);
    if end > len { Err(Error::PastEnd { offset, end, len }) } else { Ok(()) }
}
