//! Seek points: where in the stored bytes decoding can begin.
//!
//! The archive is cut into spans. Each has a point at its start, from which the span can be
//! decoded alone: a block of a deflate stream, with what came before it (zran; RFC 1951), or a
//! frame of zstd (RFC 8878). Where the next such place is too far away, as in a layer that is one
//! large zstd frame, the span is kept in a file beside, as frames of our own.
//! `docs/FORMATS.md`, "Seek points", has the files byte by byte.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::checked::{Checked, Fields, Format, Writer};
use super::error::{Error, Result};
use crate::blob::{self, ChunkDigests, ChunkHasher};
use crate::oci::{DiffId, Digest};

static FORMAT: Format = Format { magic: b"mica-sek", version: 1, sections: 5 };

mod section {
    pub(super) const WINDOWS: usize = 0;
    pub(super) const ABOUT: usize = 1;
    pub(super) const POINTS: usize = 2;
    pub(super) const CHUNKS: usize = 3;
    pub(super) const DATA_CHUNKS: usize = 4;
}

const ABOUT_LEN: usize = 64;
const POINT_LEN: usize = 40;

/// How many bytes of the archive a span has at least before a new one begins at a block.
pub(super) const SPAN: usize = 1 << 20;
/// The same, for a new one at a frame, which costs no window.
pub(super) const FRAME_SPAN: usize = 256 << 10;
/// The most bytes of the archive in a span that is decoded from the stored bytes.
pub(super) const MAX_SPAN: usize = 4 << 20;
/// The most stored bytes to one span.
const MAX_STORED: u64 = 16 << 20;
/// Bytes of the archive in a span that is kept beside.
const KEPT: usize = 1 << 20;
/// Level of our own frames: as fast as the hashing that goes on beside it.
const KEPT_LEVEL: i32 = 1;
const WINDOW_LEVEL: i32 = 3;
/// Bytes of a span of an archive that is not compressed.
const PLAIN_SPAN: u64 = 128 << 10;

/// How the stored bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// One or more gzip members (RFC 1952).
    Gzip,
    /// One or more zstd frames (RFC 8878).
    Zstd,
}

/// Where decoding can begin.
#[derive(Debug)]
pub(super) enum Start {
    /// At a deflate block.
    Block {
        /// How many bits of the byte before belong to it.
        bits: u8,
        /// The up to 32 KiB before it.
        window: Vec<u8>,
    },
    /// At a frame of zstd.
    Frame,
}

/// Takes the archive as it is decoded, and where decoding could begin, and writes the points.
#[derive(Debug)]
pub(super) struct SeekWriter {
    writer: Writer,
    data: Option<Data>,
    data_path: PathBuf,
    points: Vec<u8>,
    /// Where the current span can be decoded from; `None`: it is to be kept beside.
    start: Option<(u64, Start)>,
    /// The current span: where it begins, its bytes, and the stored byte that ends them.
    at: u64,
    span: Vec<u8>,
    stored_end: u64,
}

/// The file of what is kept beside.
#[derive(Debug)]
struct Data {
    file: BufWriter<File>,
    hasher: ChunkHasher,
    len: u64,
}

/// What the points are of.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    pub(super) diff_id: DiffId,
    pub(super) compression: Compression,
    pub(super) stored: u64,
    pub(super) unpacked: u64,
}

impl SeekWriter {
    pub(super) fn create(path: &Path, data_path: &Path) -> Result<Self> {
        Ok(Self {
            writer: Writer::create(path, &FORMAT)?,
            data: None,
            data_path: data_path.to_owned(),
            points: Vec::new(),
            start: None,
            at: 0,
            span: Vec::new(),
            stored_end: 0,
        })
    }

    /// Takes the next bytes of the archive, decoded from the stored bytes before `stored_end`.
    pub(super) fn bytes(&mut self, bytes: &[u8], stored_end: u64) -> Result<()> {
        self.span.extend_from_slice(bytes);
        self.stored_end = stored_end;
        if self.span.len() > MAX_SPAN {
            self.start = None;
        }
        while self.start.is_none() && self.span.len() >= KEPT {
            self.keep(KEPT)?;
        }
        Ok(())
    }

    /// The frame of zstd that gave the last bytes was complete at stored byte `stored_end`.
    pub(super) fn frame_end(&mut self, stored_end: u64) {
        self.stored_end = stored_end;
    }

    /// Decoding can begin here, at stored byte `stored`, with what `start` gives. A new span
    /// begins if the current one has at least `least` bytes.
    pub(super) fn boundary(
        &mut self,
        stored: u64,
        least: usize,
        start: impl FnOnce() -> Result<Start>,
    ) -> Result<()> {
        let enough = match &self.start {
            None => true,
            Some(_) if self.span.is_empty() => true,
            Some((from, _)) => {
                self.span.len() >= least || stored.saturating_sub(*from) >= MAX_SPAN as u64
            }
        };
        if enough {
            self.end_span()?;
            self.start = Some((stored, start()?));
        }
        Ok(())
    }

    fn end_span(&mut self) -> Result<()> {
        if self.span.is_empty() {
            return Ok(());
        }
        match self.start.take() {
            Some((from, start)) if self.stored_end.saturating_sub(from) <= MAX_STORED => {
                self.point(from, &start)
            }
            _ => {
                while !self.span.is_empty() {
                    self.keep(KEPT.min(self.span.len()))?;
                }
                Ok(())
            }
        }
    }

    /// Writes the point of the current span, and goes on after it.
    fn point(&mut self, from: u64, start: &Start) -> Result<()> {
        let stored_len = u32::try_from(self.stored_end.saturating_sub(from)).unwrap_or(0);
        let mut point = Point { at: self.at, from, stored_len, kind: PointKind::Frame };
        if let Start::Block { bits, window } = start {
            let packed = zstd::bulk::compress(window, WINDOW_LEVEL).map_err(self.failed())?;
            let at = self.writer.section_len();
            self.writer.write(&packed)?;
            let len = u32::try_from(packed.len()).unwrap_or(0);
            point.kind = PointKind::Block { bits: *bits, window: at, len };
        }
        self.points.extend(point.encode());
        self.at += self.span.len() as u64;
        self.span.clear();
        Ok(())
    }

    /// Puts the first `len` bytes of the current span beside.
    fn keep(&mut self, len: usize) -> Result<()> {
        let rest = self.span.split_off(len);
        let packed = zstd::bulk::compress(&self.span, KEPT_LEVEL).map_err(self.failed())?;
        let mut data = match self.data.take() {
            Some(data) => data,
            None => {
                let file = File::create_new(&self.data_path);
                let file = BufWriter::new(file.map_err(Error::file("create", &self.data_path))?);
                Data { file, hasher: ChunkHasher::new(), len: 0 }
            }
        };
        data.file.write_all(&packed).map_err(self.failed())?;
        data.hasher.update(&packed);
        let stored_len = u32::try_from(packed.len()).unwrap_or(0);
        let point = Point { at: self.at, from: data.len, stored_len, kind: PointKind::Kept };
        self.points.extend(point.encode());
        data.len += packed.len() as u64;
        self.data = Some(data);
        self.at += len as u64;
        self.span = rest;
        Ok(())
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> Error + use<> {
        Error::file("write", &self.data_path)
    }

    /// Writes what is left. Nothing is synced.
    pub(super) fn finish(mut self, about: &About, chunks: &[Digest]) -> Result<()> {
        self.end_span()?;
        let (mut kept, mut data_chunks) = (0, Vec::new());
        if let Some(mut data) = self.data.take() {
            data.file.flush().map_err(self.failed())?;
            (kept, data_chunks) = (data.len, data.hasher.finish());
        }
        let mut writer = self.writer;
        writer.end_section();
        writer.write(&about.encode(kept))?;
        writer.end_section();
        writer.write(&self.points)?;
        writer.end_section();
        for digests in [chunks, &data_chunks] {
            for digest in digests {
                writer.write(digest.as_bytes())?;
            }
            writer.end_section();
        }
        writer.finish()
    }
}

/// The start of a span, as the file holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    /// Where the span begins in the archive.
    pub(super) at: u64,
    /// Where its stored bytes begin; for a kept span, in the file beside.
    pub(super) from: u64,
    /// How many stored bytes are needed for it.
    pub(super) stored_len: u32,
    pub(super) kind: PointKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PointKind {
    /// The archive is not compressed: the span is the stored bytes themselves.
    Plain,
    /// A deflate block; its window is compressed in the section of windows.
    Block { bits: u8, window: u64, len: u32 },
    /// One or more whole frames of zstd.
    Frame,
    /// One frame of zstd in the file beside.
    Kept,
}

impl Point {
    fn encode(&self) -> Vec<u8> {
        let (kind, bits, window, len) = match self.kind {
            PointKind::Plain => (0, 0, 0, 0),
            PointKind::Block { bits, window, len } => (1, bits, window, len),
            PointKind::Frame => (2, 0, 0, 0),
            PointKind::Kept => (3, 0, 0, 0),
        };
        let mut bytes = Vec::with_capacity(POINT_LEN);
        for number in [self.at, self.from, window] {
            bytes.extend(number.to_le_bytes());
        }
        for number in [self.stored_len, len, kind, bits.into()] {
            bytes.extend(u32::to_le_bytes(number));
        }
        bytes
    }

    fn decode(bytes: &[u8; POINT_LEN]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (at, from, window) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (stored_len, len) = (fields.u32()?, fields.u32()?);
        let (kind, bits) = (fields.u32()?, u8::try_from(fields.u32()?).ok()?);
        let kind = match kind {
            1 => PointKind::Block { bits, window, len },
            2 => PointKind::Frame,
            3 => PointKind::Kept,
            _ => return None,
        };
        let fits = u64::from(stored_len) <= MAX_STORED;
        fits.then_some(Self { at, from, stored_len, kind })
    }
}

impl About {
    fn encode(&self, kept: u64) -> Vec<u8> {
        let compression = match self.compression {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Zstd => 2,
        };
        let mut bytes = self.diff_id.digest().as_bytes().to_vec();
        for number in [self.stored, self.unpacked, kept, compression] {
            bytes.extend(number.to_le_bytes());
        }
        bytes
    }
}

/// The seek points of a layer, read.
#[derive(Debug)]
pub(super) struct SeekIndex {
    file: Checked,
    about: About,
    kept: u64,
    spans: u64,
}

impl SeekIndex {
    /// Opens the file at `path`, which must be of the layer `diff_id`.
    pub(super) fn open(path: &Path, diff_id: DiffId) -> Result<Self> {
        let file = Checked::open(path, &FORMAT)?;
        let mut fields = Fields(file.bytes(section::ABOUT, 0, ABOUT_LEN as u64)?);
        let of = fields.array().map(|bytes| DiffId::new(Digest::from_bytes(bytes)));
        if of != Some(diff_id) {
            return Err(file.damaged(format!("it is not of layer {diff_id}")));
        }
        let mut number = || fields.u64().unwrap_or(u64::MAX);
        let (stored, unpacked, kept) = (number(), number(), number());
        let compression = match number() {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Zstd,
            _ => return Err(file.damaged("its compression is not known")),
        };
        let spans = match compression {
            Compression::None => unpacked.div_ceil(PLAIN_SPAN),
            _ => file.section_len(section::POINTS) / POINT_LEN as u64,
        };
        let about = About { diff_id, compression, stored, unpacked };
        Ok(Self { file, about, kept, spans })
    }

    pub(super) fn about(&self) -> &About {
        &self.about
    }

    /// Bytes of the file beside; 0 when there is none.
    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    /// The number of the span that byte `offset` of the archive is in, its point, and where it
    /// ends.
    pub(super) fn span(&self, offset: u64) -> Result<(u64, Point, u64)> {
        if offset >= self.about.unpacked {
            return Err(self.file.damaged(format!("byte {offset} is past the end of the archive")));
        }
        if self.about.compression == Compression::None {
            let number = offset / PLAIN_SPAN;
            let at = number * PLAIN_SPAN;
            let end = self.about.unpacked.min(at.saturating_add(PLAIN_SPAN));
            let stored_len = u32::try_from(end - at).unwrap_or(0);
            return Ok((number, Point { at, from: at, stored_len, kind: PointKind::Plain }, end));
        }
        let (mut low, mut high) = (0, self.spans);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.point(middle)?.at <= offset { low = middle } else { high = middle }
        }
        let point = self.point(low)?;
        let end = if low + 1 < self.spans { self.point(low + 1)?.at } else { self.about.unpacked };
        let most = (MAX_SPAN as u64).saturating_add(point.at);
        if point.at > offset || end <= offset || end > most {
            return Err(self.file.damaged(format!("span {low} is malformed")));
        }
        Ok((low, point, end))
    }

    fn point(&self, number: u64) -> Result<Point> {
        let point = Point::decode(self.file.record(section::POINTS, number)?);
        point.ok_or_else(|| self.file.damaged(format!("seek point {number} is malformed")))
    }

    /// The window of a point, as it is stored.
    pub(super) fn window(&self, at: u64, len: u32) -> Result<&[u8]> {
        self.file.bytes(section::WINDOWS, at, len.into())
    }

    /// The error of one who found that a point does not lead to its span.
    pub(super) fn damaged(&self, what: impl Into<String>) -> Error {
        self.file.damaged(what)
    }

    fn chunk(&self, section: usize, chunk: u64) -> blob::Result<Digest> {
        let digest = self.file.record(section, chunk);
        digest.map(|bytes| Digest::from_bytes(*bytes)).map_err(|error| blob::Error::Io {
            what: format!("the digest of chunk {chunk}"),
            source: io::Error::new(io::ErrorKind::InvalidData, error),
        })
    }
}

/// The digests of the chunks of the stored bytes.
#[derive(Debug)]
pub(super) struct StoredChunks(pub(super) std::sync::Arc<SeekIndex>);

/// The digests of the chunks of the file beside.
#[derive(Debug)]
pub(super) struct KeptChunks(pub(super) std::sync::Arc<SeekIndex>);

impl ChunkDigests for StoredChunks {
    fn digest(&self, chunk: u64) -> blob::Result<Digest> {
        self.0.chunk(section::CHUNKS, chunk)
    }
}

impl ChunkDigests for KeptChunks {
    fn digest(&self, chunk: u64) -> blob::Result<Digest> {
        self.0.chunk(section::DATA_CHUNKS, chunk)
    }
}
