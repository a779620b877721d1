//! Random access to the uncompressed archive of a layer.
//!
//! A read of any size costs, for each span it lies in: one lookup in the cache of spans, which is
//! the only lock, and one copy into the caller's buffer. A span that is not cached costs one read
//! of the stored bytes, their verification, and decoding; two allocations.

use std::path::Path;
use std::sync::Arc;

use super::build::{DATA, SEEK};
use super::error::{Error, Result};
use super::seek::{Compression, KeptChunks, PointKind, SeekIndex, StoredChunks};
use super::seek::{MAX_SPAN, Point};
use super::span_cache::{Span, SpanCache};
use crate::blob::{FileBlob, ReadAt, Verified};
use crate::oci::{DiffId, Digest};
use crate::sys::zlib::{Inflate, InflateError, Stop, WINDOW, Wrap};

/// Bytes of the trailer of a gzip member.
const TRAILER: usize = 8;

/// The uncompressed archive of a layer.
#[derive(Debug)]
pub(super) struct Archive {
    stored: Verified<Arc<dyn ReadAt>, StoredChunks>,
    kept: Option<Verified<FileBlob, KeptChunks>>,
    seek: Arc<SeekIndex>,
    cache: Arc<SpanCache>,
    /// The layer's number in the cache.
    layer: u64,
}

impl Archive {
    pub(super) fn open(
        digest: Digest,
        diff_id: DiffId,
        blob: Arc<dyn ReadAt>,
        dir: &Path,
        cache: &Arc<SpanCache>,
    ) -> Result<Self> {
        let seek = Arc::new(SeekIndex::open(&dir.join(SEEK), diff_id)?);
        if blob.len() != seek.about().stored {
            let (has, stored) = (blob.len(), seek.about().stored);
            return Err(seek.damaged(format!("it is of {stored} bytes, but the layer has {has}")));
        }
        let stored = Verified::new(blob, digest, StoredChunks(Arc::clone(&seek)));
        let kept = match seek.kept() {
            0 => None,
            len => {
                let file = FileBlob::open(&dir.join(DATA))?;
                if file.len() != len {
                    return Err(seek.damaged(format!("the file beside it has not {len} bytes")));
                }
                Some(Verified::new(file, digest, KeptChunks(Arc::clone(&seek))))
            }
        };
        let (layer, cache) = (cache.layer(), Arc::clone(cache));
        Ok(Self { stored, kept, seek, cache, layer })
    }

    pub(super) fn compression(&self) -> Compression {
        self.seek.about().compression
    }

    /// Fills `buf` from byte `offset` of the archive.
    pub(super) fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let (number, point, end) = self.seek.span(at)?;
            let span: Span =
                self.cache.get((self.layer, number), || self.decode(&point, end - point.at))?;
            let skip = usize::try_from(at - point.at).unwrap_or(usize::MAX);
            let bytes = span.get(skip..).unwrap_or_default();
            let count = bytes.len().min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            match bytes.get(..count) {
                Some(bytes) if count > 0 => now.copy_from_slice(bytes),
                _ => return Err(self.seek.damaged(format!("span {number} is too short"))),
            }
            at = at.saturating_add(count as u64);
            rest = later;
        }
        Ok(())
    }

    /// Decodes the span of `len` bytes at `point`.
    fn decode(&self, point: &Point, len: u64) -> Result<Vec<u8>> {
        let len = usize::try_from(len).ok().filter(|&len| len <= MAX_SPAN);
        let len = len.ok_or_else(|| self.wrong(point, "it is too long"))?;
        // A block that begins within a byte needs that byte too.
        let before = match point.kind {
            PointKind::Block { bits, .. } if bits > 0 => 1,
            _ => 0,
        };
        let count = u64::from(point.stored_len).saturating_add(before);
        let mut stored = vec![0; usize::try_from(count).unwrap_or(0)];
        let from = point.from.checked_sub(before);
        let from = from.ok_or_else(|| self.wrong(point, "it begins before the first byte"))?;
        match (&point.kind, &self.kept) {
            (PointKind::Kept, Some(kept)) => kept.read_exact_at(from, &mut stored)?,
            (PointKind::Kept, None) => return Err(self.wrong(point, "there is no file beside")),
            _ => self.stored.read_exact_at(from, &mut stored)?,
        }
        let span = match point.kind {
            PointKind::Plain => stored,
            PointKind::Frame | PointKind::Kept => zstd::bulk::decompress(&stored, len)
                .map_err(|error| self.wrong(point, &error.to_string()))?,
            PointKind::Block { bits, window, len: packed } => {
                let window = self.seek.window(window, packed)?;
                let window = zstd::bulk::decompress(window, WINDOW)
                    .map_err(|error| self.wrong(point, &error.to_string()))?;
                inflate(&stored, bits, &window, len)
                    .map_err(|error| self.wrong(point, &error.to_string()))?
            }
        };
        if span.len() != len {
            return Err(self.wrong(point, &format!("it gives {} bytes, not {len}", span.len())));
        }
        Ok(span)
    }

    fn wrong(&self, point: &Point, why: &str) -> Error {
        self.seek.damaged(format!("the span at byte {} cannot be decoded: {why}", point.at))
    }
}

/// Inflates `len` bytes from a block boundary on, through the ends of gzip members. The first
/// byte of `stored` holds the first `bits` bits, if there are any.
fn inflate(
    mut stored: &[u8],
    bits: u8,
    window: &[u8],
    len: usize,
) -> std::result::Result<Vec<u8>, InflateError> {
    let mut inflate = Inflate::new(Wrap::Raw)?;
    if bits > 0
        && let Some((&first, rest)) = stored.split_first()
    {
        inflate.prime(bits, first)?;
        stored = rest;
    }
    inflate.set_window(window)?;
    let mut wrap = Wrap::Raw;
    let mut span = vec![0; len];
    let mut made = 0;
    while let Some(room) = span.get_mut(made..).filter(|room| !room.is_empty()) {
        let step = inflate.step(stored, room)?;
        stored = stored.get(step.consumed..).unwrap_or_default();
        made += step.produced;
        match step.stop {
            Stop::End => {
                let trailer = if wrap == Wrap::Raw { TRAILER } else { 0 };
                stored = stored.get(trailer..).unwrap_or_default();
                let zeros = stored.iter().take_while(|&&byte| byte == 0).count();
                stored = stored.get(zeros..).unwrap_or_default();
                wrap = Wrap::Gzip;
                inflate.reset(wrap)?;
            }
            Stop::Buffers if step.produced == 0 && step.consumed == 0 => break,
            Stop::Buffers | Stop::Block { .. } => {}
        }
    }
    span.truncate(made);
    Ok(span)
}
