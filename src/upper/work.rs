//! The work directory: where files are made before they get their names, and where they go to be
//! deleted.
//!
//! ```text
//! WORKDIR/work/           files on their way, cleared at open; overlayfs uses it in the same way
//! WORKDIR/mica/whiteout   the one whiteout that all others are hard links of
//! WORKDIR/mica/index/     the index of hard links
//! ```

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{Error, Result};
use super::mark::{self, Dialect, DotWh, Family};
use crate::oci::whiteout::Spelling;
use crate::sys::at::{self, FileType, Rename};
use crate::sys::xattr::{self, Of};
use crate::sys::{Error as SysError, dirent};
use crate::tree::Errno;

pub(super) const WHITEOUT: &str = "whiteout";

/// The work directory of an open upper layer.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) stage: File,
    pub(super) own: File,
    pub(super) counter: AtomicU64,
    /// Who the files belong to that are made here, unless they are given away.
    pub(super) ids: (u32, u32),
    /// Whether files get the permission bits that they are made with.
    pub(super) exact_modes: bool,
    pub(super) family: Option<Family>,
    pub(super) dialect: Dialect,
    pub(super) dot_wh: DotWh,
    /// Whether the filesystem can leave a whiteout where something is moved from.
    pub(super) renames_whiteouts: bool,
    pub(super) volatile: bool,
}

/// A name in the staging directory. What it names is deleted when this is dropped.
#[derive(Debug)]
pub(super) struct Temp<'a> {
    work: &'a Work,
    name: OsString,
    delete: bool,
}

impl Temp<'_> {
    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    pub(super) fn at(&self) -> (BorrowedFd<'_>, &OsStr) {
        (self.work.stage.as_fd(), &self.name)
    }

    /// What had this name has another now, or is gone.
    pub(super) fn moved(mut self) {
        self.delete = false;
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        if !self.delete {
            return;
        }
        let (dir, name) = self.at();
        let result = match at::unlink(dir, name) {
            Err(error) if is(&error, Errno::EISDIR) => at::rmdir(dir, name),
            other => other,
        };
        match result {
            Err(error) if !is(&error, Errno::ENOENT) => {
                // It is out of sight, and goes at the next open.
                log::warn!("left behind in the work directory: {error}");
            }
            _ => {}
        }
    }
}

pub(super) fn is(error: &SysError, errno: Errno) -> bool {
    error.errno() == errno.raw()
}

impl Work {
    /// A name that nothing in the staging directory has.
    pub(super) fn temp(&self) -> Temp<'_> {
        let n = self.counter.fetch_add(1, Ordering::Relaxed);
        Temp { work: self, name: format!("#{n:x}").into(), delete: true }
    }

    /// Whether `name` in `dir` is a whiteout, however written, but for `.wh.` names.
    pub(super) fn is_whiteout(&self, dir: BorrowedFd<'_>, name: &OsStr) -> Result<bool> {
        match at::stat(dir, name)? {
            None => Ok(false),
            Some(stat) => match mark::read(dir, name, &stat, false) {
                Ok(marks) => Ok(marks.whiteout),
                // It is a file, though none that could be read.
                Err(Error::Foreign { .. }) => Ok(false),
                Err(error) if error.is(Errno::ENOENT) => Ok(false),
                Err(error) => Err(error),
            },
        }
    }

    /// Gives what is staged the name `name` in `dir`, where nothing or a whiteout stands.
    ///
    /// One rename where nothing stands. A whiteout is swapped out, so that what another thread
    /// has put there in the meantime is seen and put back.
    pub(super) fn publish(&self, temp: Temp<'_>, dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        match at::rename(temp.at(), (dir, name), Rename::NoReplace) {
            Ok(()) => temp.moved(),
            Err(error) if is(&error, Errno::EEXIST) => {
                if !self.is_whiteout(dir, name)? {
                    return Err(Error::Refused(Errno::EEXIST));
                }
                at::rename(temp.at(), (dir, name), Rename::Exchange)?;
                if !self.is_whiteout(temp.at().0, temp.name())? {
                    at::rename(temp.at(), (dir, name), Rename::Exchange)?;
                    return Err(Error::Refused(Errno::EEXIST));
                }
            }
            Err(error) => return Err(error.into()),
        }
        self.drop_dot_wh(dir, name)
    }

    /// Removes the `.wh.` mark of a name, where such marks count. The file that has the name by
    /// now counts more, so nobody sees when this happens.
    pub(super) fn drop_dot_wh(&self, dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        if self.dot_wh == DotWh::Plain {
            return Ok(());
        }
        let mark = crate::oci::whiteout::whiteout(name.as_bytes());
        match at::unlink(dir, OsStr::from_bytes(&mark)) {
            Err(error) if is(&error, Errno::ENOENT) || is(&error, Errno::ENAMETOOLONG) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Whether there is a `.wh.` mark for a name.
    pub(super) fn has_dot_wh(&self, dir: BorrowedFd<'_>, name: &OsStr) -> Result<bool> {
        let mark = crate::oci::whiteout::whiteout(name.as_bytes());
        match at::stat(dir, OsStr::from_bytes(&mark)) {
            Err(error) if is(&error, Errno::ENAMETOOLONG) => Ok(false),
            other => Ok(other?.is_some()),
        }
    }

    /// A whiteout, staged.
    pub(super) fn whiteout(&self) -> Result<Temp<'_>> {
        let temp = self.temp();
        if let Dialect::Attribute(family) = self.dialect {
            mark::make_whiteout(self.stage.as_fd(), temp.name(), Some(family))?;
            return Ok(temp);
        }
        match at::link((self.own.as_fd(), OsStr::new(WHITEOUT)), temp.at()) {
            Err(error) if is(&error, Errno::EMLINK) || is(&error, Errno::ENOENT) => {
                self.renew_whiteout()?;
                at::link((self.own.as_fd(), OsStr::new(WHITEOUT)), temp.at())?;
            }
            other => other?,
        }
        Ok(temp)
    }

    /// Makes another whiteout to link from: the old one has all the names that a file can have.
    fn renew_whiteout(&self) -> Result<()> {
        let temp = self.temp();
        mark::make_whiteout(self.stage.as_fd(), temp.name(), None)?;
        at::rename(temp.at(), (self.own.as_fd(), OsStr::new(WHITEOUT)), Rename::Replace)?;
        temp.moved();
        Ok(())
    }

    /// Puts a whiteout at `name` in `dir` if nothing is there: says whether nothing was.
    pub(super) fn place_whiteout(&self, dir: BorrowedFd<'_>, name: &OsStr) -> Result<bool> {
        let result = match self.dialect {
            Dialect::Device => at::link((self.own.as_fd(), OsStr::new(WHITEOUT)), (dir, name)),
            Dialect::Attribute(_) => {
                let temp = self.whiteout()?;
                let result = at::rename(temp.at(), (dir, name), Rename::NoReplace);
                if result.is_ok() {
                    temp.moved();
                }
                result
            }
            Dialect::Name => return Err(Error::Refused(Errno::EINVAL)),
        };
        match result {
            Ok(()) => Ok(true),
            Err(error) if is(&error, Errno::EEXIST) => Ok(false),
            Err(error) if is(&error, Errno::EMLINK) || is(&error, Errno::ENOENT) => {
                let temp = self.whiteout()?;
                match at::rename(temp.at(), (dir, name), Rename::NoReplace) {
                    Ok(()) => {
                        temp.moved();
                        Ok(true)
                    }
                    Err(error) if is(&error, Errno::EEXIST) => Ok(false),
                    Err(error) => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Puts a `.wh.` mark for `name` into `dir`; there may be one.
    pub(super) fn place_dot_wh(&self, dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        let mark = crate::oci::whiteout::whiteout(name.as_bytes());
        match at::create(dir, OsStr::from_bytes(&mark), 0) {
            Ok(_) => Ok(()),
            Err(error) if is(&error, Errno::EEXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The names in an open directory that holds whiteouts and other marks only.
    ///
    /// # Errors
    /// `ENOTEMPTY` when it holds more.
    pub(super) fn only_marks(&self, dir: BorrowedFd<'_>) -> Result<Vec<dirent::Entry>> {
        let readable = at::reopen_dir(dir)?;
        let entries = dirent::entries(readable.as_fd())?;
        for entry in &entries {
            let dot_wh = !matches!(mark::spelling(&entry.name, self.dot_wh), Spelling::Plain(_));
            if !dot_wh && !self.is_whiteout(dir, OsStr::from_bytes(&entry.name))? {
                return Err(Error::Refused(Errno::ENOTEMPTY));
            }
        }
        Ok(entries)
    }

    /// Deletes a staged directory that holds marks only.
    ///
    /// # Errors
    /// `ENOTEMPTY` when it holds more; then it is still there.
    pub(super) fn delete_marked(&self, temp: &Temp<'_>) -> Result<()> {
        let (stage, name) = temp.at();
        let Some(dir) = at::open_path(stage, name)? else { return Ok(()) };
        self.delete_marks(dir.as_fd())?;
        Ok(at::rmdir(stage, name)?)
    }

    /// Deletes what is in an open directory that holds marks only.
    pub(super) fn delete_marks(&self, dir: BorrowedFd<'_>) -> Result<()> {
        for entry in self.only_marks(dir)? {
            at::unlink(dir, OsStr::from_bytes(&entry.name))?;
        }
        Ok(())
    }

    /// Deletes all that is staged: what a mount that died left, or another user of the directory.
    ///
    /// Without recursion, however deep it is: directories in directories are moved up.
    pub(super) fn clear(&self) -> Result<()> {
        let stage = self.stage.as_fd();
        loop {
            let entries = dirent::entries(at::reopen_dir(stage)?.as_fd())?;
            if entries.is_empty() {
                return Ok(());
            }
            for entry in entries {
                let name = OsStr::from_bytes(&entry.name);
                match at::unlink(stage, name) {
                    Err(error) if is(&error, Errno::EISDIR) => self.clear_dir(name)?,
                    other => other?,
                }
            }
        }
    }

    fn clear_dir(&self, name: &OsStr) -> Result<()> {
        let stage = self.stage.as_fd();
        let Some(dir) = at::open_path(stage, name)? else { return Ok(()) };
        let dir = dir.as_fd();
        at::fchmod(dir, 0o700)?;
        for entry in dirent::entries(at::reopen_dir(dir)?.as_fd())? {
            let inner = OsStr::from_bytes(&entry.name);
            match at::unlink(dir, inner) {
                Err(error) if is(&error, Errno::EISDIR) => {
                    let up = format!("#clear-{:x}", self.counter.fetch_add(1, Ordering::Relaxed));
                    at::rename((dir, inner), (stage, OsStr::new(&up)), Rename::NoReplace)?;
                }
                other => other?,
            }
        }
        Ok(at::rmdir(stage, name)?)
    }
}

/// Makes a directory for our own use in `dir`, or takes the one that is there; opens it.
pub(super) fn own_dir(dir: BorrowedFd<'_>, name: &str) -> Result<File> {
    let name = OsStr::new(name);
    match at::mkdir(dir, name, 0o700) {
        Err(error) if !is(&error, Errno::EEXIST) => return Err(error.into()),
        _ => {}
    }
    let open = at::open_path(dir, name)?.ok_or(Error::Refused(Errno::ENOENT))?;
    if at::fstat(open.as_fd())?.kind != FileType::Directory {
        return Err(Error::Refused(Errno::ENOTDIR));
    }
    // What is made in it must inherit nothing from it.
    at::fchmod(open.as_fd(), 0o700)?;
    match xattr::remove(Of::Fd(open.as_fd()), b"system.posix_acl_default") {
        Err(error) if !is(&error, Errno::ENODATA) && !is(&error, Errno::ENOTSUP) => {
            return Err(error.into());
        }
        _ => {}
    }
    Ok(File::from(open))
}
