//! Layers as archives, in a few words.
//!
//! ```
//! use mica::testing::tar::Tar;
//!
//! let layer = Tar::new()
//!     .dir("etc")
//!     .file("etc/motd", b"hello\n").mode(0o600).owner(1, 2).xattr("user.k", b"v")
//!     .whiteout("etc/issue")
//!     .gzip();
//! ```
//!
//! What follows an entry changes that entry. Nothing is checked: hostile archives are made of the
//! same words. Fields that a ustar header cannot hold go into PAX records, unless [`Tar::gnu`]
//! asks for the GNU forms.

use std::io::Write as _;

use tar::{EntryType, Header};

use crate::oci::whiteout;

const BLOCK: usize = 512;

/// An archive to be.
#[derive(Debug, Clone, Default)]
pub struct Tar {
    entries: Vec<Entry>,
    open: bool,
}

/// One entry, or bytes in its place.
#[derive(Debug, Clone)]
struct Entry {
    path: Vec<u8>,
    link: Vec<u8>,
    kind: u8,
    mode: u32,
    uid: u64,
    gid: u64,
    mtime: (i64, u32),
    device: (u32, u32),
    data: Vec<u8>,
    size: Option<u64>,
    pax: Vec<(Vec<u8>, Vec<u8>)>,
    gnu: bool,
    raw: Option<Vec<u8>>,
    sparse: Option<(Vec<(u64, u64)>, u64)>,
}

impl Tar {
    /// An archive without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A directory, mode 0755.
    #[must_use]
    pub fn dir(self, path: impl AsRef<[u8]>) -> Self {
        self.entry(b'5', path).mode(0o755)
    }

    /// A regular file, mode 0644.
    #[must_use]
    pub fn file(self, path: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        self.entry(b'0', path).change(|entry| entry.data = data.as_ref().to_vec())
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        let target = target.as_ref();
        self.entry(b'2', path).mode(0o777).change(|entry| entry.link = target.to_vec())
    }

    /// Another name for the file at `target`.
    #[must_use]
    pub fn hardlink(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.entry(b'1', path).change(|entry| entry.link = target.as_ref().to_vec())
    }

    /// A character device.
    #[must_use]
    pub fn char_device(self, path: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        self.entry(b'3', path).change(|entry| entry.device = (major, minor))
    }

    /// A block device.
    #[must_use]
    pub fn block_device(self, path: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        self.entry(b'4', path).change(|entry| entry.device = (major, minor))
    }

    /// A named pipe.
    #[must_use]
    pub fn fifo(self, path: impl AsRef<[u8]>) -> Self {
        self.entry(b'6', path)
    }

    /// Lower layers' file at `path` is deleted.
    #[must_use]
    pub fn whiteout(self, path: impl AsRef<[u8]>) -> Self {
        let (dir, base) = split(path.as_ref());
        self.file([dir, &whiteout::whiteout(base)].concat(), b"")
    }

    /// What lower layers have in the directory at `path` (`""` for the root) is deleted.
    #[must_use]
    pub fn opaque(self, path: impl AsRef<[u8]>) -> Self {
        let path = path.as_ref();
        let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
        self.file([path, slash, whiteout::opaque()].concat(), b"")
    }

    /// An entry of any type, mode 0644, owned by root, of the epoch.
    #[must_use]
    pub fn entry(mut self, kind: u8, path: impl AsRef<[u8]>) -> Self {
        let path = path.as_ref().to_vec();
        self.entries.push(Entry { path, kind, mode: 0o644, ..Entry::empty() });
        self
    }

    /// Bytes as they are, in the place of an entry.
    #[must_use]
    pub fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.entries.push(Entry { raw: Some(bytes.as_ref().to_vec()), ..Entry::empty() });
        self
    }

    /// A sparse file of `size` bytes in the old GNU format: `parts` are offset and length of what
    /// is stored, `data` the stored bytes.
    #[must_use]
    pub fn gnu_sparse(
        self,
        path: impl AsRef<[u8]>,
        size: u64,
        parts: &[(u64, u64)],
        data: impl AsRef<[u8]>,
    ) -> Self {
        let data = data.as_ref().to_vec();
        self.entry(b'S', path).change(|entry| {
            entry.sparse = Some((parts.to_vec(), size));
            entry.data = data;
            entry.gnu = true;
        })
    }

    /// Permission bits.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        self.change(|entry| entry.mode = mode)
    }

    /// User and group.
    #[must_use]
    pub fn owner(self, uid: u64, gid: u64) -> Self {
        self.change(|entry| (entry.uid, entry.gid) = (uid, gid))
    }

    /// Time of last change: seconds, rounded down, and nanoseconds.
    #[must_use]
    pub fn mtime(self, secs: i64, nanos: u32) -> Self {
        self.change(|entry| entry.mtime = (secs, nanos))
    }

    /// An extended attribute.
    #[must_use]
    pub fn xattr(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.pax([b"SCHILY.xattr.", name.as_ref()].concat(), value)
    }

    /// A PAX record.
    #[must_use]
    pub fn pax(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let record = (key.as_ref().to_vec(), value.as_ref().to_vec());
        self.change(|entry| entry.pax.push(record))
    }

    /// A size field that is not the length of the data.
    #[must_use]
    pub fn size(self, size: u64) -> Self {
        self.change(|entry| entry.size = Some(size))
    }

    /// GNU forms (long names, base-256 numbers) in the place of PAX records.
    #[must_use]
    pub fn gnu(self) -> Self {
        self.change(|entry| entry.gnu = true)
    }

    /// Without the two blocks of zeros at the end.
    #[must_use]
    pub fn without_end(mut self) -> Self {
        self.open = true;
        self
    }

    /// The archive, uncompressed.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in &self.entries {
            entry.write(&mut out);
        }
        if !self.open {
            out.resize(out.len() + 2 * BLOCK, 0);
        }
        out
    }

    /// The archive as one gzip member.
    #[must_use]
    pub fn gzip(&self) -> Vec<u8> {
        gzip(&self.bytes())
    }

    /// The archive as one frame of zstd.
    #[must_use]
    pub fn zstd(&self) -> Vec<u8> {
        zstd(&self.bytes())
    }

    fn change(mut self, change: impl FnOnce(&mut Entry)) -> Self {
        if let Some(entry) = self.entries.last_mut() {
            change(entry);
        }
        self
    }
}

/// `bytes` as one gzip member.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    // A Vec takes everything.
    written.unwrap_or_default()
}

/// `bytes` as one frame of zstd, with its checksum.
#[must_use]
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    let encoded = zstd::stream::Encoder::new(Vec::new(), 3).and_then(|mut encoder| {
        encoder.include_checksum(true)?;
        encoder.write_all(bytes)?;
        encoder.finish()
    });
    encoded.unwrap_or_default()
}

impl Entry {
    fn empty() -> Self {
        Self {
            path: Vec::new(),
            link: Vec::new(),
            kind: b'0',
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            device: (0, 0),
            data: Vec::new(),
            size: None,
            pax: Vec::new(),
            gnu: false,
            raw: None,
            sparse: None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        if let Some(raw) = &self.raw {
            out.extend(raw);
            return;
        }
        let mut pax = self.pax.clone();
        let long = |name: &[u8]| name.len() > 100;
        if self.gnu {
            for (kind, name) in [(b'L', &self.path), (b'K', &self.link)] {
                if long(name) {
                    let data = [name, &b"\0"[..]].concat();
                    let extension = Self {
                        kind,
                        path: b"././@LongLink".to_vec(),
                        data,
                        gnu: true,
                        ..Self::empty()
                    };
                    extension.write(out);
                }
            }
        } else {
            self.pax_for_ustar(&mut pax);
        }
        if !pax.is_empty() {
            let data = pax.iter().flat_map(|(key, value)| record(key, value)).collect();
            let path = b"PaxHeaders/x".to_vec();
            Self { kind: b'x', path, data, ..Self::empty() }.write(out);
        }
        self.write_header(out);
        out.extend(&self.data);
        pad(out);
    }

    /// What a ustar header has no room for.
    fn pax_for_ustar(&self, pax: &mut Vec<(Vec<u8>, Vec<u8>)>) {
        let mut add = |key: &str, value: Vec<u8>| {
            if !pax.iter().any(|(known, _)| known == key.as_bytes()) {
                pax.push((key.into(), value));
            }
        };
        if self.path.len() > 100 {
            add("path", self.path.clone());
        }
        if self.link.len() > 100 {
            add("linkpath", self.link.clone());
        }
        for (key, id) in [("uid", self.uid), ("gid", self.gid)] {
            if id > 0o7_777_777 {
                add(key, id.to_string().into());
            }
        }
        let (secs, nanos) = self.mtime;
        if nanos > 0 || secs < 0 {
            let text = match (secs, nanos) {
                (secs, 0) => secs.to_string(),
                (secs @ ..0, nanos) => format!("-{}.{:09}", -(secs + 1), 1_000_000_000 - nanos),
                (secs, nanos) => format!("{secs}.{nanos:09}"),
            };
            add("mtime", text.into());
        }
    }

    fn write_header(&self, out: &mut Vec<u8>) {
        let mut header = if self.gnu { Header::new_gnu() } else { Header::new_ustar() };
        let old = header.as_old_mut();
        copy(&mut old.name, &self.path);
        copy(&mut old.linkname, &self.link);
        header.set_entry_type(EntryType::new(self.kind));
        header.set_mode(self.mode);
        header.set_uid(self.uid);
        header.set_gid(self.gid);
        let secs = self.mtime.0;
        header.set_mtime(u64::try_from(secs).unwrap_or(0));
        if self.gnu && secs < 0 {
            let wide = i128::from(secs).to_be_bytes();
            copy(&mut header.as_old_mut().mtime, wide.get(4..).unwrap_or_default());
        }
        header.set_size(self.size.unwrap_or(self.data.len() as u64));
        let (major, minor) = self.device;
        let fields = [header.set_device_major(major), header.set_device_minor(minor)];
        debug_assert!(fields.iter().all(Result::is_ok), "both kinds of header have devices");
        let mut more: Vec<u8> = Vec::new();
        if let (Some((parts, size)), Some(gnu)) = (&self.sparse, header.as_gnu_mut()) {
            let (here, later) = parts.split_at(parts.len().min(gnu.sparse.len()));
            for (field, &(offset, len)) in gnu.sparse.iter_mut().zip(here) {
                field.set_offset(offset);
                field.set_length(len);
            }
            gnu.set_real_size(*size);
            gnu.set_is_extended(!later.is_empty());
            let blocks = later.chunks(21);
            let count = blocks.len();
            for (i, parts) in blocks.enumerate() {
                let mut block = tar::GnuExtSparseHeader::new();
                for (field, &(offset, len)) in block.sparse_mut().iter_mut().zip(parts) {
                    field.set_offset(offset);
                    field.set_length(len);
                }
                block.set_is_extended(i + 1 < count);
                more.extend(block.as_bytes());
            }
        }
        header.set_cksum();
        out.extend(header.as_bytes());
        out.extend(more);
    }
}

/// One PAX record.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    [format!("{len} ").as_bytes(), key, b"=", value, b"\n"].concat()
}

fn copy(field: &mut [u8], bytes: &[u8]) {
    for (to, from) in field.iter_mut().zip(bytes) {
        *to = *from;
    }
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

/// The directory, with its slash, and the base name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let at = path.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1);
    path.split_at(at)
}
