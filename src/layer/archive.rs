//! The entries of a layer's archive, one after the other.
//!
//! The headers are those of ustar, GNU tar and pax; where readers differ, this one does what the
//! image world's readers (Go's archive/tar) do, so that a layer means the same here as elsewhere:
//! links, directories and devices have no data whatever their size field says; two blocks of zeros
//! end the archive, and so does the end of the bytes; global PAX headers mean nothing.

use tar::{EntryType, Header};

use super::draft::{Draft, DraftBody, DraftNode, Meta, Refusal};
use super::error::{Error, Problem, Result};
use super::limits::Limits;
use super::pax::{self, Pax};
use super::sparse;
use super::unpack::Unpacker;
use crate::oci::whiteout::{self, Spelling};
use crate::tree::{Device, Name, NameError, Time};

/// Bytes of a block, the unit of the format.
pub(super) const BLOCK: u64 = 512;
/// The most bytes of a path or of a link's target (`PATH_MAX` without the NUL at the end).
const PATH_MAX: usize = 4095;

/// Reads all entries into `draft`. Returns how many there were.
pub(super) fn read(stream: &mut Unpacker<'_>, draft: &mut Draft, limits: &Limits) -> Result<u64> {
    let mut reader = Reader { stream, limits };
    let mut entries = 0;
    let mut before = Before::default();
    while let Some((header, offset)) = reader.header()? {
        let header = Header::from_byte_slice(&header);
        let mut at = Position { offset, entry: header.path_bytes().into_owned() };
        match header.entry_type() {
            EntryType::GNULongName if before.name.is_none() => {
                before.name = Some(reader.long_name(header, &at)?);
            }
            EntryType::GNULongLink if before.link.is_none() => {
                before.link = Some(reader.long_name(header, &at)?);
            }
            EntryType::XHeader if before.pax.is_none() => {
                before.pax = Some(reader.metadata(header, &at)?);
            }
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader => {
                return Err(at.error(Problem::Extension));
            }
            EntryType::XGlobalHeader => reader.skip(size(header, &at)?, &at)?,
            _ => {
                let entry = Entry::new(header, std::mem::take(&mut before));
                let entry = entry.map_err(|problem| at.error(problem))?;
                at.entry.clone_from(&entry.path);
                entries += 1;
                if entries > limits.entries {
                    return Err(Error::Limit { limit: limits.entries, of: "entries" });
                }
                reader.entry(header, entry, draft, &at)?;
            }
        }
    }
    if before != Before::default() {
        let at = Position { offset: reader.stream.offset(), entry: Vec::new() };
        return Err(at.error(Problem::Extension));
    }
    match draft.link_later().map_err(|_| too_many(limits))? {
        None => Ok(entries),
        Some(link) => {
            let problem = Problem::LinkTarget(link.target);
            Err(Error::Entry { entry: link.entry, offset: link.offset, problem })
        }
    }
}

/// What the headers before an entry say of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Before {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    /// PAX records, to be read when the entry they are about is known by name.
    pax: Option<Vec<u8>>,
}

/// An entry, with what the headers before it say.
#[derive(Debug)]
struct Entry {
    kind: EntryType,
    path: Vec<u8>,
    link: Vec<u8>,
    pax: Pax,
}

/// Where an entry stands and what it is called, for errors.
#[derive(Debug)]
pub(super) struct Position {
    offset: u64,
    entry: Vec<u8>,
}

impl Position {
    pub(super) fn error(&self, problem: Problem) -> Error {
        let entry = self.entry.escape_ascii().to_string();
        Error::Entry { entry, offset: self.offset, problem }
    }
}

impl Entry {
    fn new(header: &Header, before: Before) -> Result<Self, Problem> {
        let mut pax = before.pax.map_or_else(|| Ok(Pax::default()), |pax| Pax::parse(&pax))?;
        let path = pax.sparse.name.take().or(pax.path.take()).or(before.name);
        let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = pax.linkpath.take().or(before.link);
        let link = link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        let kind = match header.entry_type() {
            // Before ustar there was no type for directories.
            EntryType::Regular if header.as_old().linkflag == [0] && path.ends_with(b"/") => {
                EntryType::Directory
            }
            kind => kind,
        };
        Ok(Self { kind, path, link: link.unwrap_or_default(), pax })
    }

    fn meta(&self, header: &Header, draft: &mut Draft) -> Result<Meta, Refusal> {
        let old = header.as_old();
        let mode = pax::number(&old.mode, "the mode")? & 0o7777;
        let (uid, gid) = (self.pax.uid.map(Ok), self.pax.gid.map(Ok));
        let field = |field: &[u8], name| pax::owner(pax::number(field, name)?, name);
        let secs = || {
            let secs = i64::try_from(pax::number(&old.mtime, "the mtime")?);
            let secs = secs.map_err(|_| Problem::Number("the mtime"))?;
            Ok::<_, Problem>(Time { secs, nanos: 0 })
        };
        Ok(Meta {
            mode: u16::try_from(mode).map_err(|_| Problem::Number("the mode"))?,
            uid: uid.unwrap_or_else(|| field(&old.uid, "the uid"))?,
            gid: gid.unwrap_or_else(|| field(&old.gid, "the gid"))?,
            mtime: self.pax.mtime.map_or_else(secs, Ok)?,
            xattrs: draft.xattr_set(&self.pax.xattrs)?,
        })
    }
}

/// Reads blocks.
pub(super) struct Reader<'s, 'a> {
    stream: &'s mut Unpacker<'a>,
    limits: &'s Limits,
}

impl Reader<'_, '_> {
    /// The next header and where it stands; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<([u8; 512], u64)>> {
        let offset = self.stream.offset();
        let at = Position { offset, entry: Vec::new() };
        let Some(block) = self.block(&at)? else { return Ok(None) };
        if block == [0; 512] {
            return match self.block(&at)? {
                Some(block) if block != [0; 512] => Err(at.error(Problem::Checksum)),
                _ => Ok(None),
            };
        }
        let header = Header::from_byte_slice(&block);
        let at = Position { offset, entry: header.path_bytes().into_owned() };
        let stored =
            pax::number(&header.as_old().cksum, "the checksum").map_err(|p| at.error(p))?;
        // The sum is of bytes, with the field itself as blanks; some old writers took them as
        // signed.
        let (mut sum, mut signed) = (0_i128, 0_i128);
        for (i, &byte) in block.iter().enumerate() {
            let byte = if (148..156).contains(&i) { b' ' } else { byte };
            sum += i128::from(byte);
            signed += i128::from(byte.cast_signed());
        }
        if stored != sum && stored != signed {
            return Err(at.error(Problem::Checksum));
        }
        Ok(Some((block, offset)))
    }

    /// The next block; `None` when there are no more bytes.
    pub(super) fn block(&mut self, at: &Position) -> Result<Option<[u8; 512]>> {
        let mut block = [0; 512];
        match self.take(&mut block)? {
            0 => Ok(None),
            512 => Ok(Some(block)),
            _ => Err(at.error(Problem::Truncated)),
        }
    }

    /// Takes as many bytes as there are and `buf` has room for.
    fn take(&mut self, buf: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while let Some(room) = buf.get_mut(done..).filter(|room| !room.is_empty()) {
            let bytes = self.stream.fill()?;
            let count = bytes.len().min(room.len());
            match room.get_mut(..count).zip(bytes.get(..count)) {
                Some((to, from)) if count > 0 => to.copy_from_slice(from),
                _ => break,
            }
            self.stream.consume(count);
            done += count;
        }
        Ok(done)
    }

    /// Passes over data of `size` bytes and what fills its last block.
    pub(super) fn skip(&mut self, size: u64, at: &Position) -> Result<()> {
        let mut left = size;
        while left > 0 {
            let count = self.stream.fill()?.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if count == 0 {
                return Err(at.error(Problem::Truncated));
            }
            self.stream.consume(count);
            left -= count as u64;
        }
        let fill = usize::try_from(size.wrapping_neg() % BLOCK).unwrap_or(0);
        // The last entry of an archive without an end may lack the rest of its block.
        self.take([0; 512].get_mut(..fill).unwrap_or_default())?;
        Ok(())
    }

    /// The data of an extension header.
    fn metadata(&mut self, header: &Header, at: &Position) -> Result<Vec<u8>> {
        let size = size(header, at)?;
        if size > self.limits.metadata {
            return Err(at.error(Problem::TooLong("the extension header")));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        if self.take(&mut bytes)? != bytes.len() {
            return Err(at.error(Problem::Truncated));
        }
        let fill = usize::try_from(size.wrapping_neg() % BLOCK).unwrap_or(0);
        self.take([0; 512].get_mut(..fill).unwrap_or_default())?;
        Ok(bytes)
    }

    /// The data of a GNU long name, which ends with a NUL.
    fn long_name(&mut self, header: &Header, at: &Position) -> Result<Vec<u8>> {
        let mut name = self.metadata(header, at)?;
        if let Some(nul) = name.iter().position(|&b| b == 0) {
            name.truncate(nul);
        }
        Ok(name)
    }

    /// Where the stream stands in the archive.
    pub(super) fn offset(&self) -> u64 {
        self.stream.offset()
    }

    /// How many bytes of metadata an entry may have.
    pub(super) fn metadata_limit(&self) -> u64 {
        self.limits.metadata
    }

    /// Puts one entry into the tree, and goes on after its data.
    fn entry(
        &mut self,
        header: &Header,
        entry: Entry,
        draft: &mut Draft,
        at: &Position,
    ) -> Result<()> {
        let fail = |problem| at.error(problem);
        let refuse = |refusal| match refusal {
            Refusal::Entry(problem) => at.error(problem),
            Refusal::TooMany => too_many(self.limits),
        };
        let path = path(&entry.path, "its name").map_err(fail)?;
        let size = match entry.kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                entry.pax.size.map_or_else(|| size(header, at), Ok)?
            }
            _ => 0,
        };
        if size > i64::MAX.cast_unsigned() {
            return Err(fail(Problem::Number("the size")));
        }
        let path = match meaning(&path).map_err(fail)? {
            Meaning::Reserved => return self.skip(size, at),
            Meaning::Whiteout(dir, name) => {
                draft.whiteout(dir, name).map_err(refuse)?;
                return self.skip(size, at);
            }
            Meaning::Opaque(dir) => {
                draft.opaque(dir).map_err(refuse)?;
                return self.skip(size, at);
            }
            Meaning::File(path) => path,
        };
        if entry.kind == EntryType::Link {
            let to = self::path(&entry.link, "its link target").map_err(fail)?;
            let describe = || {
                let name = |bytes: &[u8]| bytes.escape_ascii().to_string();
                (name(&entry.path), at.offset, name(&entry.link))
            };
            return draft.link(path, to, describe).map_err(refuse);
        }
        let meta = entry.meta(header, draft).map_err(refuse)?;
        let body = match entry.kind {
            EntryType::Directory => return draft.directory(path, meta).map_err(refuse),
            EntryType::Symlink => symlink(entry.link).map_err(fail)?,
            EntryType::Char => DraftBody::CharDevice(device(header).map_err(fail)?),
            EntryType::Block => DraftBody::BlockDevice(device(header).map_err(fail)?),
            EntryType::Fifo => DraftBody::Fifo,
            EntryType::GNUSparse => sparse::gnu(self, header, size, at)?,
            EntryType::Regular | EntryType::Continuous => match sparse::is_pax(&entry.pax.sparse) {
                true => sparse::pax(self, &entry.pax.sparse, size, at)?,
                false => {
                    let body = DraftBody::Dense { at: self.offset(), size };
                    self.skip(size, at)?;
                    body
                }
            },
            other => return Err(fail(Problem::Kind(char::from(other.as_byte())))),
        };
        draft.file(path, DraftNode { meta, body }).map_err(refuse)
    }
}

/// What an entry says by its name.
enum Meaning<'a> {
    File(&'a [Name]),
    Whiteout(&'a [Name], Name),
    Opaque(&'a [Name]),
    Reserved,
}

fn meaning(path: &[Name]) -> Result<Meaning<'_>, Problem> {
    let Some((base, dir)) = path.split_last() else { return Ok(Meaning::File(path)) };
    for name in dir {
        match whiteout::read(name.as_bytes()) {
            Spelling::Plain(_) => {}
            Spelling::Reserved => return Ok(Meaning::Reserved),
            Spelling::Whiteout(_) | Spelling::Opaque | Spelling::Invalid => {
                return Err(Problem::Whiteout);
            }
        }
    }
    match whiteout::read(base.as_bytes()) {
        Spelling::Plain(_) => Ok(Meaning::File(path)),
        Spelling::Opaque => Ok(Meaning::Opaque(dir)),
        Spelling::Reserved => Ok(Meaning::Reserved),
        Spelling::Whiteout(name) => {
            let name = Name::new(name).map_err(|_| Problem::Whiteout)?;
            Ok(Meaning::Whiteout(dir, name))
        }
        Spelling::Invalid => Err(Problem::Whiteout),
    }
}

/// The names of a path: `x`, `./x`, `/x` and `x/` are the same; `.` and `/` are the root.
fn path(bytes: &[u8], what: &'static str) -> Result<Vec<Name>, Problem> {
    if bytes.is_empty() {
        return Err(Problem::NoName(what));
    }
    if bytes.len() > PATH_MAX {
        return Err(Problem::TooLong(what));
    }
    let parts = bytes.split(|&b| b == b'/').filter(|part| !matches!(part, [] | [b'.']));
    let name = |part| {
        Name::new(part).map_err(|error| match error {
            NameError::Dot => Problem::Escapes(what),
            NameError::TooLong => Problem::TooLong(what),
            NameError::Empty | NameError::Separator => Problem::NoName(what),
        })
    };
    parts.map(name).collect()
}

fn symlink(target: Vec<u8>) -> Result<DraftBody, Problem> {
    if target.is_empty() || target.contains(&0) {
        return Err(Problem::NoName("its link target"));
    }
    if target.len() > PATH_MAX {
        return Err(Problem::TooLong("its link target"));
    }
    Ok(DraftBody::Symlink(target.into_boxed_slice()))
}

/// The size field of a header.
fn size(header: &Header, at: &Position) -> Result<u64> {
    let number = pax::number(&header.as_old().size, "the size").map_err(|p| at.error(p))?;
    u64::try_from(number).map_err(|_| at.error(Problem::Number("the size")))
}

/// The device fields, which ustar and GNU headers have in the same place.
fn device(header: &Header) -> Result<Device, Problem> {
    let number = |range| {
        let field = header.as_bytes().get(range).unwrap_or_default();
        let number = u32::try_from(pax::number(field, "the device number")?);
        number.map_err(|_| Problem::Number("the device number"))
    };
    Ok(Device { major: number(329..337)?, minor: number(337..345)? })
}

fn too_many(limits: &Limits) -> Error {
    Error::Limit { limit: limits.entries, of: "files, or 4 GiB of attributes" }
}
