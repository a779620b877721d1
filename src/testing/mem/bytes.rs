//! The bytes of a file, with holes.

use std::collections::BTreeMap;

use crate::tree::{Data, Errno, Result, Seek};

const PAGE: u64 = 4096;

/// The longest a file can be.
const MOST: u64 = 1 << 40;

/// Pages that were never written read as zeros and take no space.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    len: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

/// The part of one page that a range covers: its number, where the part starts in it, and how
/// long it is.
fn parts(offset: u64, len: u64) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset.saturating_add(len);
    let mut at = offset;
    std::iter::from_fn(move || {
        (at < end).then(|| {
            let start = at % PAGE;
            let take = (PAGE - start).min(end - at);
            let page = at / PAGE;
            at += take;
            (page, small(start), small(take))
        })
    })
}

fn small(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

impl Bytes {
    /// A copy of the first `keep` bytes, with holes where `data` has holes.
    pub(super) fn copy(data: &dyn Data, keep: u64) -> Result<Self> {
        let mut bytes = Self::default();
        let mut at = 0;
        while at < keep {
            at = match data.seek(at, Seek::Data) {
                Ok(start) if start < keep => start,
                Ok(_) => break,
                Err(error) if error.errno() == Errno::ENXIO => break,
                Err(error) => return Err(error),
            };
            let end = data.seek(at, Seek::Hole)?.min(keep);
            while at < end {
                let mut chunk = vec![0; small((end - at).min(PAGE))];
                let count = data.read_at(at, &mut chunk)?;
                chunk.truncate(count);
                if chunk.is_empty() {
                    return Err(Errno::EIO.into());
                }
                bytes.write_at(at, &chunk)?;
                at += u64::try_from(count).unwrap_or(0);
            }
        }
        bytes.set_len(keep)?;
        Ok(bytes)
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Space taken, in units of 512 bytes.
    pub(super) fn blocks(&self) -> u64 {
        u64::try_from(self.pages.len()).unwrap_or(u64::MAX) * (PAGE / 512)
    }

    pub(super) fn read_at(&self, offset: u64, buf: &mut [u8]) -> usize {
        let wanted = u64::try_from(buf.len()).unwrap_or(u64::MAX);
        let count = self.len.saturating_sub(offset).min(wanted);
        let mut rest = buf;
        for (page, start, take) in parts(offset, count) {
            let (into, after) = rest.split_at_mut(take);
            match self.pages.get(&page).and_then(|page| page.get(start..start + take)) {
                Some(bytes) => into.copy_from_slice(bytes),
                None => into.fill(0),
            }
            rest = after;
        }
        small(count)
    }

    pub(super) fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        let len = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let end = offset.checked_add(len).filter(|&end| end <= MOST).ok_or(Errno::EFBIG)?;
        let mut rest = data;
        for (page, start, take) in parts(offset, len) {
            let (from, after) = rest.split_at(take);
            let page = self.pages.entry(page).or_insert_with(|| vec![0; small(PAGE)]);
            if let Some(into) = page.get_mut(start..start + take) {
                into.copy_from_slice(from);
            }
            rest = after;
        }
        if len > 0 {
            self.len = self.len.max(end);
        }
        Ok(())
    }

    pub(super) fn zero(&mut self, offset: u64, len: u64) {
        let len = len.min(self.len.saturating_sub(offset));
        for (number, start, take) in parts(offset, len) {
            if small(PAGE) == take {
                self.pages.remove(&number);
            } else if let Some(page) = self.pages.get_mut(&number) {
                page.iter_mut().skip(start).take(take).for_each(|byte| *byte = 0);
            }
        }
    }

    pub(super) fn set_len(&mut self, len: u64) -> Result<()> {
        if len > MOST {
            return Err(Errno::EFBIG.into());
        }
        if len < self.len {
            self.zero(len, self.len - len);
            self.pages.retain(|&page, _| page * PAGE < len);
        }
        self.len = len;
        Ok(())
    }

    pub(super) fn seek(&self, offset: u64, seek: Seek) -> Result<u64> {
        if offset >= self.len {
            return Err(Errno::ENXIO.into());
        }
        let first = offset / PAGE;
        match seek {
            Seek::Data => match self.pages.range(first..).next() {
                Some((&page, _)) => Ok(offset.max(page * PAGE)),
                None => Err(Errno::ENXIO.into()),
            },
            Seek::Hole => {
                let mut page = first;
                while self.pages.contains_key(&page) && page * PAGE < self.len {
                    page += 1;
                }
                Ok(offset.max(page * PAGE).min(self.len))
            }
        }
    }
}
