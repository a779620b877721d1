//! Deleting names.

use super::Union;
use super::inode::{Backing, Inode, Links};
use super::lock::{lock, write};
use super::merge::Merged;
use crate::tree::{Errno, Ino, Kind, Leave, Name, Result};

impl Union {
    /// Removes a name of a file that is no directory. The file is not copied up; who uses it can
    /// go on.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `EROFS`; those of unlink(2).
    pub fn unlink(&self, parent: Ino, name: &Name) -> Result<()> {
        self.remove(parent, name, |kind| match kind {
            Kind::Directory => Err(Errno::EISDIR.into()),
            _ => Ok(()),
        })
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENOTEMPTY`, `EROFS`; those of rmdir(2).
    pub fn rmdir(&self, parent: Ino, name: &Name) -> Result<()> {
        self.remove(parent, name, |kind| match kind {
            Kind::Directory => Ok(()),
            _ => Err(Errno::ENOTDIR.into()),
        })
    }

    fn remove(&self, parent: Ino, name: &Name, allow: impl Fn(Kind) -> Result<()>) -> Result<()> {
        let upper = self.layers.upper()?;
        let parent = self.inode(parent)?;
        loop {
            let found = self.find(&parent, name)?;
            allow(found.file.kind)?;
            if found.file.kind == Kind::Directory && !self.is_empty(&found.file)? {
                return Err(Errno::ENOTEMPTY.into());
            }
            let dir = self.upper_dir(&parent)?;
            let _copying = lock(&found.file.copying);
            let _entries = write_in_order(&[&parent, &found.file]);
            if !self.is_still(&parent, name, &found)? {
                continue;
            }
            if found.file.kind == Kind::Directory && !self.is_empty(&found.file)? {
                return Err(Errno::ENOTEMPTY.into());
            }
            upper.remove(dir, name, self.leave(&parent, name)?)?;
            self.name_gone(&found.file, &parent, name);
            parent.touch();
            return Ok(());
        }
    }

    /// What has to stay where `name` is taken out of the upper layer.
    pub(super) fn leave(&self, dir: &Inode, name: &Name) -> Result<Leave> {
        match self.layers.below(&dir.dir()?, name)? {
            Merged::Nothing => Ok(Leave::Nothing),
            Merged::File(_) | Merged::Directory(_) => Ok(Leave::Whiteout),
        }
    }

    /// Takes note that a file has a name less.
    pub(super) fn name_gone(&self, file: &Inode, dir: &Inode, name: &Name) {
        if file.kind == Kind::Directory {
            file.with_state(|state| {
                state.links = Links::Counted(0);
                if let Backing::Directory(dir) = &mut state.backing {
                    dir.removed = true;
                }
            });
            file.touch();
        } else {
            self.relinked(file, |count| count.saturating_sub(1));
        }
        let unused = lock(&self.table).remove_name(file.ino, dir.ino, name);
        self.retire(unused);
    }
}

/// Locks the entries of those that are directories, each once, in the order of the lock rules.
pub(super) fn write_in_order<'a>(files: &[&'a Inode]) -> Vec<std::sync::RwLockWriteGuard<'a, ()>> {
    let mut dirs: Vec<&Inode> = files.to_vec();
    dirs.retain(|file| file.kind == Kind::Directory);
    dirs.sort_unstable_by_key(|dir| dir.ino);
    dirs.dedup_by_key(|dir| dir.ino);
    dirs.into_iter().map(|dir| write(&dir.entries)).collect()
}
