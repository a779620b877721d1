//! How content comes in: written unseen, checked, published.

use std::io::{self, Write};
use std::path::Path;

use super::error::failed;
use super::temp::{TempDir, TempFile};
use super::{Error, Result, Session};
use crate::oci::{Digest, Hasher};

/// A blob that is being written. Dropped without [`BlobWriter::commit`], it leaves nothing.
///
/// Each call of `write` is one system call: write in large pieces.
#[derive(Debug)]
pub struct BlobWriter<'s> {
    session: &'s Session,
    temp: TempFile,
    hasher: Hasher,
}

/// What is made of a layer, being written. Dropped without [`LayerWriter::commit`], it leaves
/// nothing.
#[derive(Debug)]
pub struct LayerWriter<'s> {
    session: &'s Session,
    temp: TempDir,
    blob: Digest,
}

impl Session {
    /// Starts a blob.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_blob(&self) -> Result<BlobWriter<'_>> {
        Ok(BlobWriter { session: self, temp: TempFile::new(self)?, hasher: Hasher::new() })
    }

    /// Stores `bytes` as a blob, which must be `digest`.
    ///
    /// # Errors
    /// As [`BlobWriter::commit`].
    pub fn put_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let mut writer = self.write_blob()?;
        writer.write_all(bytes).map_err(failed("write", writer.temp.path()))?;
        writer.commit(digest, bytes.len() as u64)
    }

    /// Starts what is made of the layer blob `blob`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_layer(&self, blob: &Digest) -> Result<LayerWriter<'_>> {
        Ok(LayerWriter { session: self, temp: TempDir::new(self)?, blob: *blob })
    }
}

impl BlobWriter<'_> {
    /// Where the bytes go until they are published: what has been written can be read back from
    /// there.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.temp.path()
    }

    /// How many bytes were written.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.hasher.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hasher.is_empty()
    }

    /// Whether what was written so far has `len` bytes and the digest `digest`.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Mismatch`].
    pub fn check(&self, digest: &Digest, len: u64) -> Result<()> {
        if self.hasher.len() != len {
            let found = self.hasher.len();
            return Err(Error::Length { digest: *digest, expected: len, found });
        }
        let found = self.hasher.clone().finish();
        if found != *digest {
            return Err(Error::Mismatch { expected: *digest, found });
        }
        Ok(())
    }

    /// Publishes the blob, if what was written has `len` bytes and the digest `digest`. When this
    /// returns, the blob is on the disk.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Mismatch`], [`Error::Io`]; the store is then as it was.
    pub fn commit(self, digest: &Digest, len: u64) -> Result<()> {
        self.check(digest, len)?;
        self.temp.publish(&self.session.blob_path(digest))
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.temp.file().write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LayerWriter<'_> {
    /// The directory to write the files to.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.temp.path()
    }

    /// Publishes the directory. When this returns, it is on the disk.
    ///
    /// # Errors
    /// [`Error::Missing`] when the blob is not published: what is made of a blob comes after it;
    /// [`Error::Io`]. Nothing is visible then.
    pub fn commit(self) -> Result<()> {
        if self.session.blob_len(&self.blob)?.is_none() {
            return Err(Error::Missing(self.blob));
        }
        self.temp.publish(&self.session.layer_path(&self.blob))
    }
}
