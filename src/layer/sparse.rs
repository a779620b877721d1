//! Sparse files in archives (GNU tar manual, "Storing Sparse Files"): the old GNU format and the
//! PAX formats 0.0, 0.1 and 1.0.

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use super::archive::{BLOCK, Position, Reader};
use super::draft::DraftBody;
use super::error::{Problem, Result};
use super::index::Extent;
use super::pax::{self, PaxSparse};

/// Whether PAX records make a regular entry a sparse one.
pub(super) fn is_pax(sparse: &PaxSparse) -> bool {
    sparse.major > 0 || sparse.map.is_some()
}

/// An entry of type `S`: the map is in the header and, where that is full, in blocks after it.
pub(super) fn gnu(
    reader: &mut Reader<'_, '_>,
    header: &Header,
    size: u64,
    at: &Position,
) -> Result<DraftBody> {
    let fail = |problem| at.error(problem);
    let Some(gnu) = header.as_gnu() else { return Err(fail(Problem::Sparse)) };
    let real = pax::number(&gnu.realsize, "the size").map_err(fail)?;
    let real = u64::try_from(real).map_err(|_| fail(Problem::Number("the size")))?;
    let mut map = Vec::new();
    parts(&gnu.sparse, &mut map).map_err(fail)?;
    let (mut more, mut bytes) = (gnu.isextended != [0], 0);
    while more {
        bytes += BLOCK;
        if bytes > reader.metadata_limit() {
            return Err(fail(Problem::TooLong("the sparse map")));
        }
        let block = reader.block(at)?.ok_or_else(|| fail(Problem::Truncated))?;
        let mut extension = GnuExtSparseHeader::new();
        *extension.as_mut_bytes() = block;
        parts(extension.sparse(), &mut map).map_err(fail)?;
        more = extension.isextended != [0];
    }
    body(reader, &map, real, size, at)
}

/// A regular entry with `GNU.sparse.` records.
pub(super) fn pax(
    reader: &mut Reader<'_, '_>,
    sparse: &PaxSparse,
    size: u64,
    at: &Position,
) -> Result<DraftBody> {
    let real = sparse.size.ok_or_else(|| at.error(Problem::Sparse))?;
    if sparse.major == 0 {
        return body(reader, sparse.map.as_deref().unwrap_or_default(), real, size, at);
    }
    if sparse.major > 1 {
        return Err(at.error(Problem::Sparse));
    }
    let before = reader.offset();
    let map = map_before_data(reader, at)?;
    let taken = reader.offset() - before;
    let size = size.checked_sub(taken).ok_or_else(|| at.error(Problem::Sparse))?;
    body(reader, &map, real, size, at)
}

/// The map of format 1.0: how many parts, then offset and length of each, all as decimal lines;
/// it fills whole blocks.
fn map_before_data(reader: &mut Reader<'_, '_>, at: &Position) -> Result<Vec<u64>> {
    let (mut map, mut line) = (Vec::new(), Vec::new());
    let (mut left, mut bytes) = (None, 0);
    while left != Some(0) {
        bytes += BLOCK;
        if bytes > reader.metadata_limit() {
            return Err(at.error(Problem::TooLong("the sparse map")));
        }
        let block = reader.block(at)?.ok_or_else(|| at.error(Problem::Truncated))?;
        for byte in block {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            let number = pax::digits(&line).ok_or_else(|| at.error(Problem::Sparse))?;
            line.clear();
            left = match left {
                None => Some(number.checked_mul(2).ok_or_else(|| at.error(Problem::Sparse))?),
                Some(left) => {
                    map.push(number);
                    left.checked_sub(1)
                }
            };
            if left == Some(0) {
                break;
            }
        }
    }
    Ok(map)
}

/// Adds offset and length of each part that a header has; an empty field ends them.
fn parts(parts: &[GnuSparseHeader], map: &mut Vec<u64>) -> Result<(), Problem> {
    for part in parts.iter().take_while(|part| part.offset.first() != Some(&0)) {
        for field in [&part.offset, &part.numbytes] {
            let number = pax::number(field, "a part of the sparse map")?;
            map.push(u64::try_from(number).map_err(|_| Problem::Sparse)?);
        }
    }
    Ok(())
}

/// The file that a map describes, whose `stored` bytes come next. The parts must follow one
/// another within the file, and be all that is stored.
fn body(
    reader: &mut Reader<'_, '_>,
    map: &[u64],
    size: u64,
    stored: u64,
    at: &Position,
) -> Result<DraftBody> {
    let start = reader.offset();
    let extents = extents(map, size, start, stored).ok_or_else(|| at.error(Problem::Sparse))?;
    reader.skip(stored, at)?;
    Ok(DraftBody::Sparse { size, extents })
}

fn extents(map: &[u64], size: u64, start: u64, stored: u64) -> Option<Vec<Extent>> {
    let mut extents = Vec::new();
    let (mut from, mut data) = (0, start);
    for part in map.chunks(2) {
        let &[offset, len] = part else { return None };
        let end = offset.checked_add(len)?;
        if offset < from || end > size {
            return None;
        }
        if len > 0 {
            extents.push(Extent { offset, at: data, len });
        }
        from = end;
        data = data.checked_add(len)?;
    }
    (size <= i64::MAX.cast_unsigned() && data == start.checked_add(stored)?).then_some(extents)
}

#[cfg(test)]
mod tests {
    use super::extents;
    use crate::layer::index::Extent;

    #[test]
    fn a_map_that_overlaps_leaves_the_file_or_is_not_what_is_stored_is_refused() {
        let good = extents(&[10, 5, 20, 0, 30, 1], 40, 1000, 6).unwrap();
        let extent = |offset, at, len| Extent { offset, at, len };
        assert_eq!(good, [extent(10, 1000, 5), extent(30, 1005, 1)]);
        for (map, stored) in [
            (&[10, 5, 14, 1][..], 6),
            (&[10, 31], 31),
            (&[10, 5], 6),
            (&[10, 5, 20], 5),
            (&[u64::MAX, 2], 2),
        ] {
            assert_eq!(extents(map, 40, 1000, stored), None, "{map:?}");
        }
    }
}
