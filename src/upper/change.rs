//! Changing names: linking, removing, renaming. Each change is one system call that counts;
//! what comes before it shows nothing, and what comes after it only tidies up.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd};

use super::UpperDir;
use super::error::{Error, Result};
use super::mark::{self, Dialect, DotWh};
use super::work::{Temp, is};
use crate::oci::whiteout::Spelling;
use crate::sys::at::{self, FileType, Rename};
use crate::tree::{Attr, Errno, Exchange, Leave, Name, NodeId, Renamed};

impl UpperDir {
    /// Refuses names that would be read as marks.
    pub(super) fn check_new_name(&self, name: &Name) -> Result<()> {
        match mark::spelling(name.as_bytes(), self.work.dot_wh) {
            Spelling::Plain(_) => Ok(()),
            _ => Err(Error::Refused(Errno::EINVAL)),
        }
    }

    pub(super) fn link_file(&self, node: NodeId, dir: NodeId, name: &Name) -> Result<Attr> {
        self.check_new_name(name)?;
        let open = self.dir.open(node)?;
        let into = self.dir.directory(dir)?;
        let to = (into.as_fd(), name.as_os_str());
        match at::link_fd(open.as_fd(), to) {
            Err(error) if is(&error, Errno::EEXIST) => {
                if !self.work.is_whiteout(to.0, to.1)? {
                    return Err(Error::Refused(Errno::EEXIST));
                }
                let temp = self.work.temp();
                at::link_fd(open.as_fd(), temp.at())?;
                self.work.publish(temp, to.0, to.1)?;
            }
            other => {
                other?;
                self.work.drop_dot_wh(to.0, to.1)?;
            }
        }
        Ok(self.dir.attr_of(&at::fstat(open.as_fd())?))
    }

    pub(super) fn remove_name(&self, dir: NodeId, name: &Name, leave: Leave) -> Result<()> {
        let from = self.dir.directory(dir)?;
        let pinned = self.pin_if_last(dir, from.as_fd(), name)?;
        let held = self.dir.tree.named(dir, name).is_some();
        let result = match (leave, self.work.dialect) {
            (Leave::Nothing, _) => self.erase(from.as_fd(), name.as_os_str()),
            (Leave::Whiteout, Dialect::Name) => self.erase_dot_wh(from.as_fd(), name.as_os_str()),
            (Leave::Whiteout, dialect) => {
                self.erase_for_whiteout(from.as_fd(), name.as_os_str(), dialect, held)
            }
        };
        match result {
            Ok(()) => self.forget_name(dir, name),
            Err(_) => self.unpin(pinned),
        }
        result
    }

    /// Keeps the file open that loses its last known name, if it is in use.
    fn pin_if_last(
        &self,
        dir: NodeId,
        from: BorrowedFd<'_>,
        name: &Name,
    ) -> Result<Option<NodeId>> {
        let Some(node) = self.dir.tree.last_name_of(dir, name) else { return Ok(None) };
        if self.dir.index.has(node) {
            return Ok(None);
        }
        let open = match self.dir.fds.get(self.dir.layer, node) {
            Some(open) => open,
            None => match self.dir.open_if(node, from, name.as_os_str())? {
                Some(open) => open,
                None => return Ok(None),
            },
        };
        self.dir.tree.pin(node, open);
        Ok(Some(node))
    }

    fn unpin(&self, pinned: Option<NodeId>) {
        if let Some(node) = pinned {
            self.dir.tree.unpin(node);
        }
    }

    fn forget_name(&self, dir: NodeId, name: &Name) {
        for gone in self.dir.tree.left(dir, name) {
            self.dir.fds.remove(self.dir.layer, gone);
        }
    }

    /// Removes what has the name.
    fn erase(&self, dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        let result = match at::unlink(dir, name) {
            Err(error) if is(&error, Errno::EISDIR) => return self.erase_dir(dir, name),
            other => other,
        };
        if self.work.dot_wh == DotWh::Marks {
            let only_mark = matches!(&result, Err(error) if is(error, Errno::ENOENT))
                && self.work.has_dot_wh(dir, name)?;
            self.work.drop_dot_wh(dir, name)?;
            if only_mark {
                return Ok(());
            }
        }
        Ok(result?)
    }

    fn erase_dir(&self, dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        match at::rmdir(dir, name) {
            Err(error) if is(&error, Errno::ENOTEMPTY) || is(&error, Errno::EEXIST) => {}
            other => return Ok(other?),
        }
        self.check_only_marks(dir, name)?;
        let temp = self.work.temp();
        at::rename((dir, name), temp.at(), Rename::NoReplace)?;
        self.delete_or_put_back(temp, dir, name, Rename::NoReplace)
    }

    fn check_only_marks(&self, dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        let open = at::open_path(dir, name)?.ok_or(Error::Refused(Errno::ENOENT))?;
        self.work.only_marks(open.as_fd()).map(drop)
    }

    /// Deletes a directory that was moved to the staging directory. If something was put into it
    /// in the last moment, it goes back.
    fn delete_or_put_back(
        &self,
        temp: Temp<'_>,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        back: Rename,
    ) -> Result<()> {
        match self.work.delete_marked(&temp) {
            Err(error) if error.is(Errno::ENOTEMPTY) => {
                at::rename(temp.at(), (dir, name), back)?;
                Err(error)
            }
            Err(error) => {
                // The name is gone, as was asked; the rest goes at the next open.
                log::warn!("a removed directory is left in the work directory: {error}");
                temp.moved();
                Ok(())
            }
            Ok(()) => {
                temp.moved();
                Ok(())
            }
        }
    }

    /// Replaces what has the name, or nothing, by a whiteout.
    fn erase_for_whiteout(
        &self,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        dialect: Dialect,
        held: bool,
    ) -> Result<()> {
        if let Dialect::Attribute(family) = dialect {
            mark::announce_whiteouts(dir, family)?;
        }
        if !held && self.work.place_whiteout(dir, name)? {
            return Ok(());
        }
        let whiteout = self.work.whiteout()?;
        match at::rename(whiteout.at(), (dir, name), Rename::Replace) {
            // If a whiteout was there, this did nothing: both are links of one file.
            Ok(()) if !held => Ok(()),
            Ok(()) => {
                whiteout.moved();
                Ok(())
            }
            Err(error) if is(&error, Errno::EISDIR) => {
                self.check_only_marks(dir, name)?;
                at::rename(whiteout.at(), (dir, name), Rename::Exchange)?;
                self.delete_or_put_back(whiteout, dir, name, Rename::Exchange)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The same where whiteouts are `.wh.` names: what has the name counts more, until it goes.
    fn erase_dot_wh(&self, dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        self.work.place_dot_wh(dir, name)?;
        let result = match at::unlink(dir, name) {
            Err(error) if is(&error, Errno::ENOENT) => Ok(()),
            Err(error) if is(&error, Errno::EISDIR) => self.erase_dir(dir, name),
            other => other.map_err(Error::from),
        };
        if result.is_err() {
            self.work.drop_dot_wh(dir, name)?;
        }
        result
    }

    pub(super) fn rename_file(&self, r: &Renamed<'_>) -> Result<()> {
        self.check_new_name(r.to)?;
        let (from_dir, to_dir) = (self.dir.directory(r.from_dir)?, self.dir.directory(r.to_dir)?);
        let from = (from_dir.as_fd(), r.from.as_os_str());
        let to = (to_dir.as_fd(), r.to.as_os_str());
        if r.opaque {
            self.make_opaque(from)?;
            if r.exchange == Exchange::Yes {
                self.make_opaque(to)?;
            }
        }
        match r.exchange {
            Exchange::Yes => self.swap(r, from, to),
            Exchange::No(leave) => self.replace(r, from, to, leave),
        }
    }

    /// Marks a directory, and nothing else, as opaque.
    fn make_opaque(&self, (dir, name): (BorrowedFd<'_>, &OsStr)) -> Result<()> {
        match at::stat(dir, name)? {
            Some(stat) if stat.kind == FileType::Directory => {
                mark::write_opaque(dir, name, self.work.family)
            }
            _ => Ok(()),
        }
    }

    fn swap(&self, r: &Renamed<'_>, from: At<'_>, to: At<'_>) -> Result<()> {
        let tree = &self.dir.tree;
        let there = tree.named(r.from_dir, r.from);
        let back = tree.named(r.to_dir, r.to);
        there.into_iter().for_each(|node| tree.expect(node, r.to_dir, r.to));
        back.into_iter().for_each(|node| tree.expect(node, r.from_dir, r.from));
        if let Err(error) = at::rename(from, to, Rename::Exchange) {
            there.into_iter().for_each(|node| tree.unexpect(node, r.to_dir, r.to));
            back.into_iter().for_each(|node| tree.unexpect(node, r.from_dir, r.from));
            return Err(error.into());
        }
        self.forget_name(r.from_dir, r.from);
        self.forget_name(r.to_dir, r.to);
        there.into_iter().for_each(|node| tree.entered(node, r.to_dir, r.to));
        back.into_iter().for_each(|node| tree.entered(node, r.from_dir, r.from));
        Ok(())
    }

    fn replace(&self, r: &Renamed<'_>, from: At<'_>, to: At<'_>, leave: Leave) -> Result<()> {
        let tree = &self.dir.tree;
        let moved = tree.named(r.from_dir, r.from);
        let pinned = self.pin_if_last(r.to_dir, to.0, r.to)?;
        moved.into_iter().for_each(|node| tree.expect(node, r.to_dir, r.to));
        if let Err(error) = self.move_name(from, to, leave) {
            moved.into_iter().for_each(|node| tree.unexpect(node, r.to_dir, r.to));
            self.unpin(pinned);
            return Err(error);
        }
        self.forget_name(r.to_dir, r.to);
        self.forget_name(r.from_dir, r.from);
        moved.into_iter().for_each(|node| tree.entered(node, r.to_dir, r.to));
        self.work.drop_dot_wh(to.0, to.1)
    }

    fn move_name(&self, from: At<'_>, to: At<'_>, leave: Leave) -> Result<()> {
        let whiteout = leave == Leave::Whiteout;
        let how = match leave {
            Leave::Whiteout if self.work.renames_whiteouts => Rename::Whiteout,
            Leave::Whiteout | Leave::Nothing => Rename::Replace,
        };
        let dot_wh = whiteout && self.work.dialect == Dialect::Name;
        if dot_wh {
            // What has the name counts more, until it is moved.
            self.work.place_dot_wh(from.0, from.1)?;
        }
        let result = self.move_over(from, to, how);
        match result {
            Ok(Moved::Swapped) if !whiteout || dot_wh => Ok(at::unlink(from.0, from.1)?),
            Ok(Moved::Replaced) if whiteout && how == Rename::Replace && !dot_wh => {
                // Where the filesystem cannot do it in one step, a crash here leaves the old name
                // visible again.
                if let Dialect::Attribute(family) = self.work.dialect {
                    mark::announce_whiteouts(from.0, family)?;
                }
                self.work.place_whiteout(from.0, from.1).map(drop)
            }
            Ok(_) => Ok(()),
            Err(error) => {
                if dot_wh {
                    self.work.drop_dot_wh(from.0, from.1)?;
                }
                Err(error)
            }
        }
    }

    /// Moves over nothing, a whiteout, a file, or a directory of whiteouts.
    fn move_over(&self, from: At<'_>, to: At<'_>, how: Rename) -> Result<Moved> {
        match at::rename(from, to, how) {
            Ok(()) => Ok(Moved::Replaced),
            // A directory replaces no file, but it can change places with a whiteout.
            Err(error) if is(&error, Errno::ENOTDIR) && self.work.is_whiteout(to.0, to.1)? => {
                at::rename(from, to, Rename::Exchange)?;
                Ok(Moved::Swapped)
            }
            Err(error) if is(&error, Errno::ENOTEMPTY) || is(&error, Errno::EEXIST) => {
                let target = at::open_path(to.0, to.1)?.ok_or(Error::Refused(Errno::ENOENT))?;
                self.work.only_marks(target.as_fd())?;
                // Opaque, it shows as little without its whiteouts as with them.
                mark::write_opaque(to.0, to.1, self.work.family)?;
                self.work.delete_marks(target.as_fd())?;
                at::rename(from, to, how)?;
                Ok(Moved::Replaced)
            }
            Err(error) => Err(error.into()),
        }
    }
}

type At<'a> = (BorrowedFd<'a>, &'a OsStr);

/// What a move left at the source.
enum Moved {
    /// What the rename was to leave.
    Replaced,
    /// The whiteout of the target.
    Swapped,
}
