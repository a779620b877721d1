//! The stored bytes of a layer, decoded once from the first to the last.
//!
//! Everything that needs to see all bytes happens on the way: the digests of the chunks of the
//! stored bytes, the digest of the archive (the diff id), and the seek points.

use std::io::{self, Read};

use super::error::{Error, Result};
use super::limits::Limits;
use super::seek::{Compression, FRAME_SPAN, SPAN, SeekWriter, Start};
use crate::blob::ChunkHasher;
use crate::oci::{Digest, Hasher};
use crate::sys::zlib::{Inflate, InflateError, Stop, Wrap};

/// Bytes that are asked for at once of the source, and decoded at once.
const BUFFER: usize = 256 << 10;

/// The largest window of a zstd frame: 128 MiB, the most that the zstd program takes unasked.
const ZSTD_WINDOW_LOG: u32 = 27;

/// The stored bytes as they come.
struct Input<'a> {
    source: &'a mut dyn Read,
    buf: Vec<u8>,
    start: usize,
    end: usize,
    /// Where `start` stands in the stored bytes.
    offset: u64,
    chunks: ChunkHasher,
}

impl Input<'_> {
    /// What can be had without waiting longer than needed for `least` bytes, which are at most 4;
    /// fewer only at the end.
    fn fill(&mut self, least: usize) -> Result<&[u8]> {
        while self.end - self.start < least {
            self.buf.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let room = self.buf.get_mut(self.end..).unwrap_or_default();
            let count = match self.source.read(room) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    let came = (self.end - self.start) as u64;
                    return Err(Error::Source { offset: self.offset + came, source });
                }
            };
            self.chunks.update(room.get(..count).unwrap_or_default());
            self.end = (self.end + count).min(self.buf.len());
        }
        Ok(self.buf.get(self.start..self.end).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset += count as u64;
    }

    fn damaged(&self, why: impl Into<String>) -> Error {
        Error::Compressed { offset: self.offset, why: why.into() }
    }
}

/// What is between the stored bytes and the archive.
enum Codec {
    Plain,
    Gzip { inflate: Inflate, member: bool },
    Zstd { decoder: zstd::stream::raw::Decoder<'static>, frame: Frame },
}

/// Where in the frames of zstd the stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    Between,
    /// Within one that has given nothing yet, as skippable frames never do.
    Silent,
    Speaking,
}

/// The archive as it is decoded.
pub(super) struct Unpacker<'a> {
    input: Input<'a>,
    codec: Codec,
    out: Vec<u8>,
    start: usize,
    end: usize,
    /// Where `start` stands in the archive.
    offset: u64,
    hasher: Hasher,
    seek: SeekWriter,
    limits: &'a Limits,
}

/// What was learnt of all bytes when there are no more.
pub(super) struct Unpacked {
    pub(super) digest: Digest,
    pub(super) chunks: Vec<Digest>,
    pub(super) stored: u64,
    pub(super) unpacked: u64,
    pub(super) compression: Compression,
    pub(super) seek: SeekWriter,
}

impl<'a> Unpacker<'a> {
    /// Looks at the first bytes to know the compression; what a media type says does not count.
    pub(super) fn new(
        source: &'a mut dyn Read,
        seek: SeekWriter,
        limits: &'a Limits,
    ) -> Result<Self> {
        let chunks = ChunkHasher::new();
        let buf = vec![0; BUFFER];
        let mut input = Input { source, buf, start: 0, end: 0, offset: 0, chunks };
        let codec = match input.fill(4)? {
            [0x1f, 0x8b, ..] => {
                let inflate = Inflate::new(Wrap::Gzip).map_err(|e| input.damaged(e.to_string()))?;
                Codec::Gzip { inflate, member: false }
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                let decoder = zstd_decoder().map_err(|e| input.damaged(e.to_string()))?;
                Codec::Zstd { decoder, frame: Frame::Between }
            }
            _ => Codec::Plain,
        };
        let (out, hasher) = (vec![0; BUFFER], Hasher::new());
        Ok(Self { input, codec, out, start: 0, end: 0, offset: 0, hasher, seek, limits })
    }

    /// Where the bytes that [`Unpacker::fill`] gives stand in the archive.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes of the archive; none at its end only.
    pub(super) fn fill(&mut self) -> Result<&[u8]> {
        if self.start == self.end {
            self.start = 0;
            self.end = match &mut self.codec {
                Codec::Plain => plain(&mut self.input, &mut self.out)?,
                Codec::Gzip { inflate, member } => {
                    gunzip(&mut self.input, inflate, member, &mut self.out, &mut self.seek)?
                }
                Codec::Zstd { decoder, frame } => {
                    unzstd(&mut self.input, decoder, frame, &mut self.out, &mut self.seek)?
                }
            };
            self.hasher.update(self.out.get(..self.end).unwrap_or_default());
            self.check_limits()?;
        }
        Ok(self.out.get(self.start..self.end).unwrap_or_default())
    }

    /// Goes on after `count` of the bytes that [`Unpacker::fill`] gave.
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset += count as u64;
    }

    /// Decodes what is left, to the very last stored byte.
    pub(super) fn finish(mut self) -> Result<Unpacked> {
        loop {
            let count = self.fill()?.len();
            if count == 0 {
                break;
            }
            self.consume(count);
        }
        Ok(Unpacked {
            unpacked: self.hasher.len(),
            digest: self.hasher.finish(),
            stored: self.input.offset,
            chunks: self.input.chunks.finish(),
            compression: match self.codec {
                Codec::Plain => Compression::None,
                Codec::Gzip { .. } => Compression::Gzip,
                Codec::Zstd { .. } => Compression::Zstd,
            },
            seek: self.seek,
        })
    }

    fn check_limits(&self) -> Result<()> {
        let (unpacked, limits) = (self.hasher.len(), self.limits);
        if unpacked > limits.unpacked {
            return Err(Error::Limit { limit: limits.unpacked, of: "bytes when unpacked" });
        }
        let fair = self.input.offset.saturating_mul(limits.ratio);
        if unpacked > limits.free && unpacked > fair {
            return Err(Error::Limit { limit: limits.ratio, of: "unpacked bytes to a stored one" });
        }
        Ok(())
    }
}

fn plain(input: &mut Input<'_>, out: &mut [u8]) -> Result<usize> {
    let bytes = input.fill(1)?;
    let count = bytes.len().min(out.len());
    if let Some((to, from)) = out.get_mut(..count).zip(bytes.get(..count)) {
        to.copy_from_slice(from);
    }
    input.consume(count);
    Ok(count)
}

/// Fills `out`. `member` says whether the stream stands within a gzip member. Between members and
/// after the last there may be zeros, as tapes leave them; anything else is an error.
fn gunzip(
    input: &mut Input<'_>,
    inflate: &mut Inflate,
    member: &mut bool,
    out: &mut [u8],
    seek: &mut SeekWriter,
) -> Result<usize> {
    let mut made = 0;
    while made < out.len() {
        if !*member {
            match input.fill(1)?.first() {
                None => break,
                Some(0) => input.consume(1),
                Some(_) => {
                    inflate.reset(Wrap::Gzip).map_err(|e| input.damaged(e.to_string()))?;
                    *member = true;
                }
            }
            continue;
        }
        let room = out.get_mut(made..).unwrap_or_default();
        let bytes = input.fill(1)?;
        let ended = bytes.is_empty();
        let step = match inflate.step(bytes, room) {
            Ok(step) => step,
            Err(error) => return Err(input.damaged(error.to_string())),
        };
        input.consume(step.consumed);
        seek.bytes(room.get(..step.produced).unwrap_or_default(), input.offset)?;
        made += step.produced;
        match step.stop {
            Stop::End => *member = false,
            Stop::Block { unused_bits: bits } => {
                let window = || inflate.window().map(|window| Start::Block { bits, window });
                let start = || window().map_err(|e: InflateError| input.damaged(e.to_string()));
                seek.boundary(input.offset, SPAN, start)?;
            }
            Stop::Buffers if ended && step.produced == 0 => {
                return Err(input.damaged("it ends within a gzip member"));
            }
            Stop::Buffers => {}
        }
    }
    Ok(made)
}

fn zstd_decoder() -> io::Result<zstd::stream::raw::Decoder<'static>> {
    let mut decoder = zstd::stream::raw::Decoder::new()?;
    let limit = zstd::stream::raw::DParameter::WindowLogMax(ZSTD_WINDOW_LOG);
    decoder.set_parameter(limit)?;
    Ok(decoder)
}

/// Fills `out`, through as many frames as it takes.
fn unzstd(
    input: &mut Input<'_>,
    decoder: &mut zstd::stream::raw::Decoder<'static>,
    frame: &mut Frame,
    out: &mut [u8],
    seek: &mut SeekWriter,
) -> Result<usize> {
    use zstd::stream::raw::{InBuffer, Operation as _, OutBuffer};
    let mut made = 0;
    while made < out.len() {
        let bytes = input.fill(1)?;
        let ended = bytes.is_empty();
        if *frame == Frame::Between {
            if ended {
                break;
            }
            *frame = Frame::Silent;
            seek.boundary(input.offset, FRAME_SPAN, || Ok(Start::Frame))?;
            continue;
        }
        let room = out.get_mut(made..).unwrap_or_default();
        let (mut from, mut to) = (InBuffer::around(bytes), OutBuffer::around(room));
        let left = match decoder.run(&mut from, &mut to) {
            Ok(left) => left,
            Err(error) => return Err(input.damaged(error.to_string())),
        };
        let (consumed, produced) = (from.pos(), to.pos());
        input.consume(consumed);
        if produced > 0 {
            *frame = Frame::Speaking;
            seek.bytes(room.get(..produced).unwrap_or_default(), input.offset)?;
        }
        made += produced;
        if left == 0 {
            if *frame == Frame::Speaking {
                seek.frame_end(input.offset);
            }
            *frame = Frame::Between;
        } else if ended && produced == 0 {
            return Err(input.damaged("it ends within a zstd frame"));
        }
    }
    Ok(made)
}
