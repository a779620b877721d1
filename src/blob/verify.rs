//! Verification of ranges.
//!
//! The digest of a whole blob can only be checked by reading all of it. While it is read for the
//! first time, and that digest is checked, a [`ChunkHasher`] takes the digest of every [`CHUNK`]
//! bytes; from then on [`Verified`] checks each range by the chunks it lies in.

use std::fmt;

use super::{Error, ReadAt, Result};
use crate::oci::{Digest, Hasher};

/// How many bytes one chunk has; the last one of a blob may have fewer.
pub const CHUNK: u64 = 64 * 1024;

/// The digests of the chunks of a blob, in order.
pub trait ChunkDigests: fmt::Debug + Send + Sync {
    /// The digest of chunk number `chunk`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be had.
    fn digest(&self, chunk: u64) -> Result<Digest>;
}

/// Takes the digests of the chunks of a blob as its bytes pass.
#[derive(Debug, Default)]
pub struct ChunkHasher {
    current: Hasher,
    done: Vec<Digest>,
}

impl ChunkHasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = CHUNK.saturating_sub(self.current.len());
            let take = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(take);
            self.current.update(now);
            if self.current.len() == CHUNK {
                self.done.push(std::mem::take(&mut self.current).finish());
            }
            bytes = later;
        }
    }

    /// The digests of all chunks: 32 bytes of memory for every 64 KiB that passed.
    #[must_use]
    pub fn finish(mut self) -> Vec<Digest> {
        if !self.current.is_empty() {
            self.done.push(self.current.finish());
        }
        self.done
    }
}

impl ChunkDigests for Vec<Digest> {
    fn digest(&self, chunk: u64) -> Result<Digest> {
        let found = usize::try_from(chunk).ok().and_then(|chunk| self.get(chunk));
        found.copied().ok_or_else(|| Error::Io {
            what: format!("the digest of chunk {chunk}"),
            source: std::io::ErrorKind::NotFound.into(),
        })
    }
}

/// Another reader, whose bytes are checked before anyone sees them.
///
/// A read fetches the chunks it lies in: whole ones straight into the caller's buffer, the ones
/// at either end, where the caller wants less, into a buffer of their own.
#[derive(Debug)]
pub struct Verified<R, C> {
    inner: R,
    blob: Digest,
    chunks: C,
}

impl<R: ReadAt, C: ChunkDigests> Verified<R, C> {
    /// Checks what `inner` reads against `chunks`; `blob` is named when they differ.
    pub fn new(inner: R, blob: Digest, chunks: C) -> Self {
        Self { inner, blob, chunks }
    }

    /// Reads chunk number `chunk`, which begins at `start`, into `buf`, which is as long as it.
    fn read_chunk(&self, chunk: u64, start: u64, buf: &mut [u8]) -> Result<()> {
        self.inner.read_exact_at(start, buf)?;
        let (expected, found) = (self.chunks.digest(chunk)?, Digest::of(buf));
        if expected != found {
            let (blob, end) = (self.blob, start.saturating_add(buf.len() as u64));
            // The bytes must not be taken for good by a caller who overlooks the error.
            buf.fill(0);
            return Err(Error::Mismatch { blob, offset: start, end, expected, found });
        }
        Ok(())
    }
}

impl<R: ReadAt, C: ChunkDigests> ReadAt for Verified<R, C> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        super::check_range(self.len(), offset, buf.len())?;
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let chunk = at / CHUNK;
            let start = chunk * CHUNK;
            let len = usize::try_from(CHUNK.min(self.len() - start)).unwrap_or(usize::MAX);
            let skip = usize::try_from(at - start).unwrap_or(usize::MAX);
            let count = (len - skip).min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            if count == len {
                self.read_chunk(chunk, start, now)?;
            } else {
                let mut whole = vec![0; len];
                self.read_chunk(chunk, start, &mut whole)?;
                if let Some(part) = whole.get(skip..skip + count) {
                    now.copy_from_slice(part);
                }
            }
            at += count as u64;
            rest = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{CHUNK, ChunkHasher, Verified};
    use crate::blob::{Error, ReadAt, Result};
    use crate::oci::Digest;

    #[derive(Debug)]
    struct Bytes(Vec<u8>);

    impl ReadAt for Bytes {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
            let at = usize::try_from(offset).unwrap();
            buf.copy_from_slice(&self.0[at..at + buf.len()]);
            Ok(())
        }
    }

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect()
    }

    fn verified(good: &[u8], stored: Vec<u8>) -> Verified<Bytes, Vec<Digest>> {
        let mut hasher = ChunkHasher::new();
        good.chunks(1000).for_each(|part| hasher.update(part));
        Verified::new(Bytes(stored), Digest::of(good), hasher.finish())
    }

    proptest! {
        #[test]
        fn every_range_reads_as_it_was_and_a_flipped_byte_in_its_chunks_is_an_error(
            len in 1_usize..300_000, from in any::<prop::sample::Index>(),
            to in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(),
        ) {
            let good = bytes(len);
            let (a, b) = (from.index(len + 1), to.index(len + 1));
            let range = a.min(b)..a.max(b);
            let mut buf = vec![0; range.len()];
            verified(&good, good.clone()).read_exact_at(range.start as u64, &mut buf).unwrap();
            prop_assert_eq!(&buf, &good[range.clone()]);

            let mut bad = good.clone();
            let flip = flip.index(len);
            bad[flip] ^= 1;
            let chunk = |at: usize| at / usize::try_from(CHUNK).unwrap();
            let touched = !range.is_empty()
                && (chunk(range.start)..=chunk(range.end - 1)).contains(&chunk(flip));
            let read = verified(&good, bad).read_exact_at(range.start as u64, &mut buf);
            if touched {
                let mismatch = matches!(read, Err(Error::Mismatch { .. }));
                prop_assert!(mismatch, "{:?}", read);
            } else {
                read.unwrap();
                prop_assert_eq!(&buf, &good[range]);
            }
        }
    }

    #[test]
    fn a_blob_with_fewer_digests_than_chunks_is_an_error() {
        let good = bytes(200_000);
        let longer = verified(&good[..100_000], good.clone());
        let read = longer.read_exact_at(150_000, &mut [0; 10]);
        assert!(matches!(read, Err(Error::Io { .. })), "{read:?}");
    }
}
