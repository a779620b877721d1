//! Indexing a layer: one pass over its stored bytes.

use std::io::Read;
use std::path::Path;

use super::archive;
use super::draft::Draft;
use super::error::Result;
use super::index;
use super::index_writer;
use super::limits::Limits;
use super::seek::{About, Compression, SeekWriter};
use super::unpack::Unpacker;
use crate::oci::DiffId;

/// Name of the file with the tree of the layer.
pub const INDEX: &str = "index";
/// Name of the file with the seek points, and the digests of the chunks of the stored bytes.
pub const SEEK: &str = "seek";
/// Name of the file with what cannot be decoded from a seek point; most layers have none.
pub const DATA: &str = "data";

/// What was learnt of a layer on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The SHA-256 of the uncompressed archive. To be compared with what the image says.
    pub diff_id: DiffId,
    /// How the stored bytes are compressed.
    pub compression: Compression,
    /// How many bytes came.
    pub stored_len: u64,
    /// How many bytes the uncompressed archive has.
    pub unpacked_len: u64,
    /// How many entries the archive has.
    pub entries: u64,
}

/// Reads the stored bytes of a layer from `source`, to the very last, and writes its index into
/// the directory `dir`, which must not hold one: the files [`INDEX`], [`SEEK`] and, seldom,
/// [`DATA`].
///
/// The files are not synced, and they are to be published only when the digest of the stored
/// bytes and [`Summary::diff_id`] have turned out to be the ones expected.
///
/// # Errors
/// One of [`super::Error`]; what was written until then is of no use. When `source` fails, that
/// is [`super::Error::Source`] with the error it gave.
pub fn build(source: &mut dyn Read, dir: &Path, limits: &Limits) -> Result<Summary> {
    let seek = SeekWriter::create(&dir.join(SEEK), &dir.join(DATA))?;
    let mut stream = Unpacker::new(source, seek, limits)?;
    let mut draft = Draft::new(limits.entries.saturating_add(1));
    let entries = archive::read(&mut stream, &mut draft, limits)?;
    let end = stream.finish()?;
    let diff_id = DiffId::new(end.digest);
    let about =
        About { diff_id, compression: end.compression, stored: end.stored, unpacked: end.unpacked };
    end.seek.finish(&about, &end.chunks)?;
    let about = index::About { diff_id, unpacked: end.unpacked, stored: 0, entries };
    index_writer::write(&draft, &dir.join(INDEX), about)?;
    Ok(Summary {
        diff_id,
        compression: end.compression,
        stored_len: end.stored,
        unpacked_len: end.unpacked,
        entries,
    })
}
