//! What the requests of the kernel have the union do, and what it is told of that.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fuser::{
    FileHandle, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig, RenameFlags, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request,
};

use super::convert;
use super::reply::{attempt, with_buffer};
use crate::tree::{Errno, Name, NewKind, NewNode, Result, SyncMode};
use crate::union::{Caller, Entry, Union};

/// How long the kernel may believe what it was told. All changes come through it.
pub(super) const TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Inode numbers are used for one file only, ever.
const GENERATION: Generation = Generation(0);

/// The most bytes of one READ or WRITE: what the kernel allows, too (256 pages).
const MAX_IO: u32 = 1024 * 1024;

/// The most bytes that one copy can report as done.
const MAX_COPY: u64 = 0x7fff_f000;

/// How many requests that nobody waits for (readahead) may be under way.
const MAX_BACKGROUND: u16 = 64;

/// What the kernel is asked to do, where it can.
const WANTED: [InitFlags; 7] = [
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_DONT_MASK,
    InitFlags::FUSE_POSIX_ACL,
];

/// A file that is in the root for as long as a session starts, to provoke one OPEN, one FLUSH and
/// one RELEASE. Its number is not one of the union's, which are below 2^48.
const PROBE_INO: u64 = 1 << 48;

/// The name of that file.
pub(super) const PROBE: &str = ".mica-probe";

/// Whether the kernel can do without asking for a file to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opens {
    /// It can: `ENOSYS` tells it.
    Unneeded,
    /// It cannot: all are granted, with nothing to remember.
    Granted,
}

/// A union as fuser wants to see a filesystem.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) union: Arc<Union>,
    /// Whether the root holds [`PROBE`].
    probing: Arc<AtomicBool>,
    files: Opens,
    directories: Opens,
}

impl Driver {
    pub(super) fn new(union: Arc<Union>, probing: Arc<AtomicBool>) -> Self {
        Self { union, probing, files: Opens::Granted, directories: Opens::Granted }
    }

    fn is_probe(&self, parent: INodeNo, name: &OsStr) -> bool {
        self.probing.load(Ordering::Relaxed) && parent == INodeNo::ROOT && name == PROBE
    }

    pub(super) fn make(
        &self,
        parent: INodeNo,
        name: &OsStr,
        (kind, mode): (NewKind<'_>, u32),
        caller: &Caller,
    ) -> Result<Entry> {
        let mode = convert::permissions(mode);
        let new = NewNode { kind, mode, uid: caller.uid, gid: caller.gid, xattrs: &[] };
        self.union.make(convert::ino(parent), &convert::name(name)?, &new, caller)
    }

    pub(super) fn rename(
        &self,
        from: (INodeNo, &OsStr),
        to: (INodeNo, &OsStr),
        flags: RenameFlags,
    ) -> Result<()> {
        let mode = convert::rename_mode(flags)?;
        let (old, new): (Name, Name) = (convert::name(from.1)?, convert::name(to.1)?);
        self.union.rename((convert::ino(from.0), &old), (convert::ino(to.0), &new), mode)
    }

    pub(super) fn negotiate(&mut self, config: &mut KernelConfig) -> io::Result<()> {
        for flag in WANTED {
            if let Err(missing) = config.add_capabilities(flag) {
                log::debug!("the kernel does not offer {missing:?}");
            }
        }
        let can = config.capabilities();
        let unneeded = |flag| if can.contains(flag) { Opens::Unneeded } else { Opens::Granted };
        self.files = unneeded(InitFlags::FUSE_NO_OPEN_SUPPORT);
        self.directories = unneeded(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        let refused = |nearest| io::Error::other(format!("only {nearest} would be accepted"));
        config.set_max_write(MAX_IO).map_err(refused)?;
        config.set_max_background(MAX_BACKGROUND).map_err(|nearest| refused(u32::from(nearest)))?;
        Ok(())
    }

    pub(super) fn look_up(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if self.is_probe(parent, name) {
            let probe = convert::plain_file(PROBE_INO, req.uid(), req.gid());
            return reply.entry_with_ttls(&TTL, &Duration::ZERO, &probe, GENERATION);
        }
        let found = attempt("LOOKUP", parent, || {
            match self.union.lookup(convert::ino(parent), &convert::name(name)?) {
                Ok(entry) => Ok(convert::entry(&entry)),
                Err(error) if error.errno() == Errno::ENOENT => Ok(convert::absent()),
                Err(error) => Err(error),
            }
        });
        match found {
            Ok(attr) => reply.entry(&TTL, &attr, GENERATION),
            Err(errno) => reply.error(errno),
        }
    }

    pub(super) fn forget(&self, ino: INodeNo, count: u64) {
        if ino.0 != PROBE_INO {
            self.union.forget(convert::ino(ino), count);
        }
    }

    pub(super) fn create(
        &self,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        caller: &Caller,
        reply: ReplyCreate,
    ) {
        let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
        let work = || self.make(parent, name, (NewKind::File, mode), caller);
        match attempt("CREATE", parent, work) {
            Ok(entry) => {
                let attr = convert::entry(&entry);
                reply.created(&TTL, &attr, GENERATION, FileHandle(0), flags);
            }
            Err(errno) => reply.error(errno),
        }
    }

    pub(super) fn open(&self, reply: ReplyOpen) {
        match self.files {
            Opens::Unneeded => reply.error(fuser::Errno::ENOSYS),
            Opens::Granted => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
        }
    }

    pub(super) fn open_dir(&self, reply: ReplyOpen) {
        let cached = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR;
        match self.directories {
            Opens::Unneeded => reply.error(fuser::Errno::ENOSYS),
            Opens::Granted => reply.opened(FileHandle(0), cached),
        }
    }

    pub(super) fn read(&self, ino: INodeNo, offset: u64, size: u32, reply: ReplyData) {
        let Ok(len) = usize::try_from(size) else {
            return reply.error(fuser::Errno::EINVAL);
        };
        with_buffer(len, |buffer| {
            let read = attempt("READ", ino, || {
                let n = self.union.read(convert::ino(ino), offset, buffer)?;
                buffer.get(..n).ok_or_else(|| Errno::EIO.into())
            });
            match read {
                Ok(data) => reply.data(data),
                Err(errno) => reply.error(errno),
            }
        });
    }

    pub(super) fn list(&self, ino: INodeNo, offset: u64, mut reply: ReplyDirectory) {
        let mut taken = false;
        let listed = attempt("READDIR", ino, || {
            self.union.list(convert::ino(ino), offset, &mut |entry| {
                let (number, kind) = (convert::number(entry.ino), convert::kind(entry.kind));
                let full = reply.add(number, entry.next, kind, OsStr::from_bytes(entry.name));
                taken |= !full;
                !full
            })
        });
        match listed {
            Err(errno) if !taken => reply.error(errno),
            // What was taken is told; the next request meets the error again.
            _ => reply.ok(),
        }
    }

    pub(super) fn list_plus(&self, ino: INodeNo, offset: u64, mut reply: ReplyDirectoryPlus) {
        let mut taken = false;
        let listed = attempt("READDIRPLUS", ino, || {
            self.union.list_plus(convert::ino(ino), offset, &mut |listed, entry| {
                let (name, attr) = (OsStr::from_bytes(listed.name), convert::entry(entry));
                let full = reply.add(attr.ino, listed.next, name, &TTL, &attr, GENERATION);
                taken |= !full;
                !full
            })
        });
        match listed {
            Err(errno) if !taken => reply.error(errno),
            // Lookups of what was taken are counted, so the kernel must hear of it.
            _ => reply.ok(),
        }
    }

    pub(super) fn statfs(&self, ino: INodeNo, reply: ReplyStatfs) {
        match attempt("STATFS", ino, || self.union.stats()) {
            Ok(s) => {
                let (block, name_max) = (convert::block_size(&s), convert::NAME_MAX);
                let (blocks, files) = ((s.blocks, s.free, s.available), (s.files, s.files_free));
                reply
                    .statfs(blocks.0, blocks.1, blocks.2, files.0, files.1, block, name_max, block);
            }
            Err(errno) => reply.error(errno),
        }
    }

    pub(super) fn seek(&self, ino: INodeNo, offset: i64, whence: i32, reply: ReplyLseek) {
        let found = attempt("LSEEK", ino, || {
            let from = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
            let at = self.union.seek(convert::ino(ino), from, convert::seek(whence)?)?;
            i64::try_from(at).map_err(|_| Errno::EOVERFLOW.into())
        });
        match found {
            Ok(at) => reply.offset(at),
            Err(errno) => reply.error(errno),
        }
    }

    pub(super) fn copy_range(
        &self,
        from: (INodeNo, u64),
        to: (INodeNo, u64),
        len: u64,
        reply: ReplyWrite,
    ) {
        let copied = attempt("COPY_FILE_RANGE", to.0, || {
            let (from, to) = ((convert::ino(from.0), from.1), (convert::ino(to.0), to.1));
            let copied = self.union.copy_range(from, to, len.min(MAX_COPY))?;
            u32::try_from(copied).map_err(|_| Errno::EIO.into())
        });
        match copied {
            Ok(copied) => reply.written(copied),
            Err(errno) => reply.error(errno),
        }
    }

    /// The kernel reads ACLs to check permissions, and would refuse everything in a layer that says
    /// it has none at all.
    pub(super) fn xattr(&self, ino: INodeNo, name: &OsStr) -> Result<Box<[u8]>> {
        let name = name.as_bytes();
        self.union.xattr(convert::ino(ino), name).map_err(|error| match error.errno() {
            Errno::ENOTSUP if name.starts_with(b"system.posix_acl_") => Errno::ENODATA.into(),
            _ => error,
        })
    }

    pub(super) fn sync(&self, ino: INodeNo, datasync: bool, reply: ReplyEmpty) {
        let mode = if datasync { SyncMode::Data } else { SyncMode::All };
        done(reply, attempt("FSYNC", ino, || self.union.sync(convert::ino(ino), mode)));
    }
}

pub(super) fn done(reply: ReplyEmpty, result: std::result::Result<(), fuser::Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn made(reply: ReplyEntry, result: std::result::Result<Entry, fuser::Errno>) {
    match result {
        Ok(entry) => reply.entry(&TTL, &convert::entry(&entry), GENERATION),
        Err(errno) => reply.error(errno),
    }
}

/// Answers a request for bytes of unknown number, of which the caller can take `size`; 0 asks for
/// the number alone.
pub(super) fn sized(
    reply: ReplyXattr,
    size: u32,
    result: std::result::Result<Box<[u8]>, fuser::Errno>,
) {
    match result.map(|value| (u32::try_from(value.len()), value)) {
        Ok((Ok(len), _)) if size == 0 => reply.size(len),
        Ok((Ok(len), value)) if len <= size => reply.data(&value),
        Ok(_) => reply.error(fuser::Errno::ERANGE),
        // The kernel would take ENOSYS to mean that no file has any attribute.
        Err(fuser::Errno::ENOSYS) => reply.error(fuser::Errno::ENOTSUP),
        Err(errno) => reply.error(errno),
    }
}
