//! Opening an upper layer: checks, locks, and what the filesystem can do.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use super::error::{Error, Result};
use super::fds::FdCache;
use super::index::Index;
use super::mark::{self, Dialect, DotWh, Family};
use super::work::{self, Temp, WHITEOUT, Work};
use crate::sys::at::{self, Access, Rename};
use crate::sys::flock::{self, Share};
use crate::sys::process;
use crate::sys::xattr::Of;
use crate::tree::Errno;

/// Which attributes marks are written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MarkFamily {
    /// `trusted.overlay.*` where that is permitted, else `user.overlay.*`.
    #[default]
    Auto,
    /// `user.overlay.*`, as overlayfs reads it with `userxattr`.
    User,
}

/// How whiteouts are written. All ways are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhiteoutForm {
    /// The first of the others that the filesystem permits.
    #[default]
    Auto,
    /// As empty files with an attribute.
    Attribute,
    /// As `.wh.` names; implies [`DotWh::Marks`].
    Name,
}

/// How an upper layer is opened.
#[derive(Debug, Clone, Default)]
pub struct UpperOptions {
    /// Nothing is made durable: for a layer that nobody needs after a crash.
    pub volatile: bool,
    /// Which attributes marks are written to.
    pub family: MarkFamily,
    /// How whiteouts are written.
    pub whiteouts: WhiteoutForm,
    /// What names that begin with `.wh.` are.
    pub dot_wh: DotWh,
    /// Where open files are kept; shared with other layers.
    pub fds: FdCache,
}

/// An upper layer that passed all checks.
pub(super) struct Opened {
    pub(super) root: File,
    pub(super) work: Work,
    pub(super) index: Index,
    /// Keeps the work directory locked for as long as it is open, as `root` does the upper one.
    pub(super) lock: File,
}

/// Opens the two directories, locks them, clears what a dead mount left, and finds out what the
/// filesystem can do.
pub(super) fn open(upper: &Path, work: &Path, options: &UpperOptions) -> Result<Opened> {
    let root = at::open_dir(upper)?;
    let workdir = at::open_dir(work)?;
    check_pair(upper, work, &root, &workdir)?;
    for (dir, path) in [(&root, upper), (&workdir, work)] {
        if !flock::try_lock(dir, Share::Exclusive, &format!("{path:?}"))? {
            return Err(Error::InUse { path: path.to_owned() });
        }
    }
    let stage = work::own_dir(workdir.as_fd(), "work")?;
    let own = work::own_dir(workdir.as_fd(), "mica")?;
    let index = Index::load(work::own_dir(own.as_fd(), "index")?)?;
    let mut work = Work {
        stage,
        own,
        counter: AtomicU64::new(0),
        ids: process::effective_ids(),
        exact_modes: false,
        family: None,
        dialect: Dialect::Device,
        dot_wh: options.dot_wh,
        renames_whiteouts: false,
        volatile: options.volatile,
    };
    work.clear()?;
    work.exact_modes = exact_modes(&work)?;
    work.family = family(&work, upper, options.family)?;
    work.dialect = dialect(&work, options.whiteouts)?;
    if work.dialect == Dialect::Name || work.family.is_none() {
        // What is written must be read.
        work.dot_wh = DotWh::Marks;
    }
    check_renames(&mut work, upper)?;
    Ok(Opened { root, work, index, lock: workdir })
}

/// The work directory must be able to hold what goes to the upper directory, and neither may be
/// seen through the other.
fn check_pair(upper: &Path, work: &Path, root: &File, workdir: &File) -> Result<()> {
    let apart = |why| Err(Error::Apart { upper: upper.into(), work: work.into(), why });
    if at::fstat(root.as_fd())?.dev != at::fstat(workdir.as_fd())?.dev {
        return apart("are not on the same filesystem");
    }
    let full = |path: &Path| {
        path.canonicalize()
            .map_err(|e| crate::sys::Error::from_io("realpath", format!("{path:?}"), &e))
    };
    let (full_upper, full_work) = (full(upper)?, full(work)?);
    if full_upper.starts_with(&full_work) || full_work.starts_with(&full_upper) {
        return apart("are one within the other");
    }
    Ok(())
}

/// An empty file in the staging directory.
fn probe_file(work: &Work) -> Result<Temp<'_>> {
    let temp = work.temp();
    let (dir, name) = temp.at();
    drop(at::create(dir, name, 0o600)?);
    Ok(temp)
}

/// Whether a file gets the permission bits that it is made with: not with a file mode creation
/// mask.
fn exact_modes(work: &Work) -> Result<bool> {
    let temp = work.temp();
    let (dir, name) = temp.at();
    drop(at::create(dir, name, 0o777)?);
    Ok(at::stat(dir, name)?.is_some_and(|stat| stat.mode == 0o777))
}

fn family(work: &Work, upper: &Path, asked: MarkFamily) -> Result<Option<Family>> {
    let temp = probe_file(work)?;
    let (dir, name) = temp.at();
    let fd = at::open_path(dir, name)?.ok_or(Error::Refused(Errno::ENOENT))?;
    if at::reopen(fd.as_fd(), Access::Write).is_err() {
        return Err(Error::Unsuitable { path: upper.into(), lacks: "/proc is not mounted" });
    }
    let families: &[Family] = match asked {
        MarkFamily::Auto => &[Family::Trusted, Family::User],
        MarkFamily::User => &[Family::User],
    };
    for &family in families {
        match mark::write_probe(Of::Name(dir, name), family) {
            Ok(()) => return Ok(Some(family)),
            Err(error) if error.is(Errno::EPERM) || error.is(Errno::ENOTSUP) => {}
            Err(error) => return Err(error),
        }
    }
    log::warn!("{upper:?} takes no extended attributes: marks are written as names");
    Ok(None)
}

fn dialect(work: &Work, asked: WhiteoutForm) -> Result<Dialect> {
    match (asked, work.family) {
        (WhiteoutForm::Name, _) => return Ok(Dialect::Name),
        (WhiteoutForm::Attribute, Some(family)) => return Ok(Dialect::Attribute(family)),
        _ => {}
    }
    let (own, name) = (work.own.as_fd(), OsStr::new(WHITEOUT));
    if work.is_whiteout(own, name)? {
        return Ok(Dialect::Device);
    }
    match mark::make_whiteout(own, name, None) {
        Ok(()) => Ok(Dialect::Device),
        Err(error) if error.is(Errno::EPERM) || error.is(Errno::ENOTSUP) => {
            Ok(work.family.map_or(Dialect::Name, Dialect::Attribute))
        }
        Err(error) => Err(error),
    }
}

fn check_renames(work: &mut Work, upper: &Path) -> Result<()> {
    let (a, b) = (probe_file(work)?, probe_file(work)?);
    match at::rename(a.at(), b.at(), Rename::Exchange) {
        Err(error) if work::is(&error, Errno::EINVAL) || work::is(&error, Errno::ENOSYS) => {
            let lacks = "it cannot swap two names (RENAME_EXCHANGE)";
            return Err(Error::Unsuitable { path: upper.into(), lacks });
        }
        other => other?,
    }
    let whiteouts = match work.dialect {
        Dialect::Device => match at::rename(a.at(), b.at(), Rename::Whiteout) {
            Ok(()) => true,
            Err(error) if work::is(&error, Errno::EINVAL) => false,
            Err(error) => return Err(error.into()),
        },
        Dialect::Attribute(_) | Dialect::Name => false,
    };
    drop((a, b));
    work.renames_whiteouts = whiteouts;
    Ok(())
}
