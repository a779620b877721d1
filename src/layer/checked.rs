//! Files of sections that are checked block by block.
//!
//! The index and the seek points share this form; `docs/FORMATS.md`, "Checked files", has it byte
//! by byte. A header of 4,096 bytes, then the sections, then a table with one digest for each
//! block of 16 KiB of the sections. The header holds the digest of itself and the table. A block
//! is hashed when a byte of it is first asked for, so that opening costs the header and a
//! thousandth of the file.

use std::fs::File;
use std::io::{BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{Error, Result};
use crate::oci::{Digest, Hasher};
use crate::sys::mmap::Map;

/// Bytes before the first section.
const HEADER: usize = 4096;
/// Bytes of the header before its digest.
const DIGESTED: usize = 4064;
/// Bytes of a block.
const BLOCK: u64 = 16 * 1024;
/// Bytes of a block's digest in the table: a SHA-256 cut to half.
const CHECK: usize = 16;
/// The most sections that a file has.
const SECTIONS: usize = 8;

/// Which kind of file it is.
#[derive(Debug)]
pub(super) struct Format {
    /// The first 8 bytes.
    pub(super) magic: &'static [u8; 8],
    /// The version that is written, and the newest that is read.
    pub(super) version: u32,
    /// How many sections there are.
    pub(super) sections: usize,
}

/// A file while it is written. Sections are written one after the other.
#[derive(Debug)]
pub(super) struct Writer {
    format: &'static Format,
    file: BufWriter<File>,
    path: PathBuf,
    ends: Vec<u64>,
    len: u64,
    block: Hasher,
    table: Vec<u8>,
}

impl Writer {
    /// Creates the file at `path`, which must not exist.
    pub(super) fn create(path: &Path, format: &'static Format) -> Result<Self> {
        let file = File::create_new(path).map_err(Error::file("create", path))?;
        let mut file = BufWriter::with_capacity(128 * 1024, file);
        file.write_all(&[0; HEADER]).map_err(Error::file("write", path))?;
        Ok(Self {
            format,
            file,
            path: path.to_owned(),
            ends: Vec::new(),
            len: 0,
            block: Hasher::new(),
            table: Vec::new(),
        })
    }

    /// Appends to the current section.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::file("write", &self.path))?;
        self.len += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = usize::try_from(BLOCK - self.block.len()).unwrap_or(0);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.update(now);
            if self.block.len() == BLOCK {
                self.end_block();
            }
            bytes = later;
        }
        Ok(())
    }

    /// How many bytes the current section has.
    pub(super) fn section_len(&self) -> u64 {
        self.len - self.ends.last().copied().unwrap_or(0)
    }

    /// Ends the current section; the next one follows at once.
    pub(super) fn end_section(&mut self) {
        self.ends.push(self.len);
    }

    /// Writes the table and the header. The file is not synced.
    pub(super) fn finish(mut self) -> Result<()> {
        if !self.block.is_empty() {
            self.end_block();
        }
        let header = self.header();
        let mut digest = Hasher::new();
        digest.update(&header);
        digest.update(&self.table);
        let write = |file: &mut BufWriter<File>, table: &[u8]| {
            file.write_all(table)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&header)?;
            file.write_all(digest.finish().as_bytes())?;
            file.flush()
        };
        write(&mut self.file, &self.table).map_err(Error::file("write", &self.path))
    }

    fn header(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(DIGESTED);
        header.extend(self.format.magic);
        header.extend(self.format.version.to_le_bytes());
        header.extend([0; 4]);
        header.extend(self.len.to_le_bytes());
        let mut start = 0_u64;
        for &end in &self.ends {
            header.extend(start.to_le_bytes());
            header.extend((end - start).to_le_bytes());
            start = end;
        }
        header.resize(DIGESTED, 0);
        header
    }

    fn end_block(&mut self) {
        let digest = std::mem::take(&mut self.block).finish();
        self.table.extend(digest.as_bytes().iter().take(CHECK));
    }
}

/// A file that was written by [`Writer`], mapped.
#[derive(Debug)]
pub(super) struct Checked {
    map: Map,
    path: PathBuf,
    /// Bytes of all sections.
    len: u64,
    /// Offset, after the header, and length of each section.
    sections: Vec<(u64, u64)>,
    /// One bit for each block that was found to be good.
    good: Box<[AtomicU64]>,
}

impl Checked {
    /// Opens the file at `path` and checks its header and table.
    pub(super) fn open(path: &Path, format: &Format) -> Result<Self> {
        let file = File::open(path).map_err(Error::file("open", path))?;
        let name = path.display().to_string();
        let map = Map::of(&file, &name).map_err(|e| Error::file("map", path)(e.into()))?;
        let damaged = |what: &str| Error::Damaged { path: path.to_owned(), what: what.to_owned() };
        let mut fields = Fields(map.get(..DIGESTED).ok_or_else(|| damaged("it is too short"))?);
        if fields.array::<8>() != Some(*format.magic) {
            return Err(damaged("it does not begin as such a file does"));
        }
        let found = fields.u32().unwrap_or(0);
        if found > format.version {
            return Err(Error::Newer { path: path.to_owned(), found, known: format.version });
        }
        let (_reserved, len) = (fields.u32(), fields.u64().unwrap_or(0));
        let table = table(&map, len).ok_or_else(|| damaged("its length is wrong"))?;
        let mut digest = Hasher::new();
        digest.update(map.get(..DIGESTED).unwrap_or_default());
        digest.update(table);
        let stored = map.get(DIGESTED..DIGESTED + 32).unwrap_or_default();
        if digest.finish().as_bytes() != stored || found == 0 {
            return Err(damaged("the digest of its header is wrong"));
        }
        let mut sections = Vec::with_capacity(SECTIONS);
        for _ in 0..format.sections.min(SECTIONS) {
            let (Some(start), Some(count)) = (fields.u64(), fields.u64()) else { break };
            if start.checked_add(count).is_none_or(|end| end > len) {
                return Err(damaged("a section is not within it"));
            }
            sections.push((start, count));
        }
        let good = (0..len.div_ceil(BLOCK * 64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { map, path: path.to_owned(), len, sections, good })
    }

    /// How many bytes section `section` has.
    pub(super) fn section_len(&self, section: usize) -> u64 {
        self.sections.get(section).map_or(0, |&(_, len)| len)
    }

    /// `count` bytes of section `section` from `offset` on, checked.
    pub(super) fn bytes(&self, section: usize, offset: u64, count: u64) -> Result<&[u8]> {
        let outside = || self.damaged(format!("{count} bytes at {offset} of section {section}"));
        let &(start, len) = self.sections.get(section).ok_or_else(outside)?;
        if offset.checked_add(count).is_none_or(|end| end > len) {
            return Err(outside());
        }
        let first = start + offset;
        self.check(first, first + count)?;
        let range = body(first).zip(body(first + count)).map(|(from, to)| from..to);
        range.and_then(|range| self.map.get(range)).ok_or_else(outside)
    }

    /// Record number `index` of a section that holds nothing but records of `N` bytes.
    pub(super) fn record<const N: usize>(&self, section: usize, index: u64) -> Result<&[u8; N]> {
        let wrong = || self.damaged(format!("there is no record {index} in section {section}"));
        let offset = index.checked_mul(N as u64).ok_or_else(wrong)?;
        self.bytes(section, offset, N as u64)?.try_into().map_err(|_| wrong())
    }

    /// The error of one who found something in this file that cannot be.
    pub(super) fn damaged(&self, what: impl Into<String>) -> Error {
        Error::Damaged { path: self.path.clone(), what: what.into() }
    }

    /// Checks the blocks that the bytes `from..to` of the body lie in.
    fn check(&self, from: u64, to: u64) -> Result<()> {
        let mut block = from / BLOCK;
        while block * BLOCK < to {
            let word = usize::try_from(block / 64).ok().and_then(|word| self.good.get(word));
            let word = word.ok_or_else(|| self.damaged("a block is not within it"))?;
            let bit = 1 << (block % 64);
            // Relaxed: the bit says something of bytes that never change.
            if word.load(Ordering::Relaxed) & bit == 0 {
                self.check_block(block)?;
                word.fetch_or(bit, Ordering::Relaxed);
            }
            block += 1;
        }
        Ok(())
    }

    fn check_block(&self, block: u64) -> Result<()> {
        let (start, end) = (block * BLOCK, self.len.min((block + 1) * BLOCK));
        let range = body(start).zip(body(end)).map(|(from, to)| from..to);
        let bytes = range.and_then(|range| self.map.get(range));
        let at = usize::try_from(block).ok().and_then(|block| block.checked_mul(CHECK));
        let stored = table(&self.map, self.len).zip(at).and_then(|(t, at)| t.get(at..at + CHECK));
        match (bytes, stored) {
            (Some(bytes), Some(stored)) if Digest::of(bytes).as_bytes().starts_with(stored) => {
                Ok(())
            }
            _ => Err(self.damaged(format!("bytes {start}..{end} of its sections have changed"))),
        }
    }
}

/// Where byte `offset` of the sections stands in the file.
fn body(offset: u64) -> Option<usize> {
    usize::try_from(offset).ok()?.checked_add(HEADER)
}

/// The table of a file with `len` bytes of sections, if the file ends with it.
fn table(map: &[u8], len: u64) -> Option<&[u8]> {
    let blocks = usize::try_from(len.div_ceil(BLOCK)).ok()?;
    let table = map.get(body(len)?..)?;
    (table.len() == blocks.checked_mul(CHECK)?).then_some(table)
}

/// Little-endian numbers, one after the other.
#[derive(Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (now, later) = self.0.split_first_chunk::<N>()?;
        self.0 = later;
        Some(*now)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Checked, Format, Writer};
    use crate::layer::Error;

    static FORMAT: Format = Format { magic: b"mica-tst", version: 3, sections: 2 };
    static NEWER: Format = Format { magic: b"mica-tst", version: 4, sections: 2 };

    fn written(dir: &std::path::Path, format: &'static Format) -> (std::path::PathBuf, Vec<u8>) {
        let path = dir.join("file");
        let second: Vec<u8> = (0..3 * BLOCK).map(|i| u8::try_from(i % 241).unwrap()).collect();
        let mut writer = Writer::create(&path, format).unwrap();
        writer.write(b"first").unwrap();
        writer.end_section();
        second.chunks(777).for_each(|part| writer.write(part).unwrap());
        writer.end_section();
        writer.finish().unwrap();
        (path, second)
    }

    #[test]
    fn sections_read_as_they_were_written_and_nothing_beyond_them() {
        let dir = tempfile::tempdir().unwrap();
        let (path, second) = written(dir.path(), &FORMAT);
        let file = Checked::open(&path, &FORMAT).unwrap();
        assert_eq!(file.bytes(0, 0, 5).unwrap(), b"first");
        assert_eq!(file.bytes(1, 0, second.len() as u64).unwrap(), second);
        assert_eq!(file.record::<7>(1, 100).unwrap(), &second[700..707]);
        for (section, offset, count) in [(0, 1, 5), (0, u64::MAX, 2), (2, 0, 0), (1, 3 * BLOCK, 1)]
        {
            let outside = file.bytes(section, offset, count);
            assert!(matches!(outside, Err(Error::Damaged { .. })), "{outside:?}");
        }
    }

    #[test]
    fn a_flipped_byte_anywhere_is_an_error_when_it_matters_and_never_other_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let (path, second) = written(dir.path(), &FORMAT);
        let good = std::fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(97).chain(good.len() - 48..good.len()) {
            let mut bad = good.clone();
            bad[at] ^= 0x20;
            std::fs::write(&path, &bad).unwrap();
            let Ok(file) = Checked::open(&path, &FORMAT) else { continue };
            let read = file.bytes(1, 20_000, 1000).map(<[u8]>::to_vec);
            let in_block = (4096 + BLOCK..4096 + 2 * BLOCK).contains(&(at as u64));
            match read {
                Ok(bytes) => assert!(bytes == second[20_000..21_000] && !in_block, "{at}"),
                Err(error) => assert!(in_block, "{at}: {error}"),
            }
        }
    }

    #[test]
    fn a_file_that_is_cut_or_of_a_newer_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _) = written(dir.path(), &NEWER);
        let newer = Checked::open(&path, &FORMAT);
        assert!(matches!(newer, Err(Error::Newer { found: 4, known: 3, .. })), "{newer:?}");
        let good = std::fs::read(&path).unwrap();
        for len in [0, 8, 4095, 4096, good.len() - 1] {
            std::fs::write(&path, &good[..len]).unwrap();
            assert!(Checked::open(&path, &NEWER).is_err(), "{len}");
        }
    }
}
