//! Moving and swapping files.

use std::sync::{Arc, MutexGuard};

use super::inode::Inode;
use super::lock::lock;
use super::lookup::Found;
use super::remove::write_in_order;
use super::{RenameMode, Union};
use crate::tree::{Errno, Exchange, Ino, Kind, Name, NodeId, Renamed, Result, Slot, Upper};

/// One end of a rename.
#[derive(Clone, Copy)]
struct End<'a> {
    dir: &'a Arc<Inode>,
    name: &'a Name,
}

impl Union {
    /// Moves or swaps files.
    ///
    /// # Errors
    /// `EXDEV` for a directory that lower layers have a part in: programs then copy it. `EROFS`;
    /// those of renameat2(2).
    pub fn rename(&self, from: (Ino, &Name), to: (Ino, &Name), mode: RenameMode) -> Result<()> {
        self.layers.upper()?;
        let (from_dir, to_dir) = (self.inode(from.0)?, self.inode(to.0)?);
        let from = End { dir: &from_dir, name: from.1 };
        let to = End { dir: &to_dir, name: to.1 };
        while !self.try_rename(from, to, mode)? {}
        Ok(())
    }

    /// `false` when one of the names changed before it was locked.
    fn try_rename(&self, from: End<'_>, to: End<'_>, mode: RenameMode) -> Result<bool> {
        let source = self.find(from.dir, from.name)?;
        let target = self.find_if_any(to.dir, to.name)?;
        let moves_dir = [Some(&source), target.as_ref()]
            .into_iter()
            .flatten()
            .any(|found| found.file.kind == Kind::Directory);
        let _moves = (moves_dir && from.dir.ino != to.dir.ino).then(|| lock(&self.moves));
        if self.check(from, to, &source, target.as_ref(), mode)? == Verdict::SameFile {
            return Ok(true);
        }
        let dirs = (self.upper_dir(from.dir)?, self.upper_dir(to.dir)?);
        self.copy_up_end(&source)?;
        if let (RenameMode::Exchange, Some(target)) = (mode, &target) {
            self.copy_up_end(target)?;
        }
        let target_file: Option<&Inode> = target.as_ref().map(|found| &**found.file);
        let _copying = copying_in_order(&source.file, target_file);
        let mut ends: Vec<&Inode> = vec![from.dir, to.dir];
        ends.extend(target_file);
        let _entries = write_in_order(&ends);
        if !self.is_still(from.dir, from.name, &source)? {
            return Ok(false);
        }
        match &target {
            Some(target) if !self.is_still(to.dir, to.name, target)? => return Ok(false),
            Some(_) => {}
            None => match self.check_vacant(to.dir, to.name) {
                Err(error) if error.errno() == Errno::EEXIST => return Ok(false),
                vacant => drop(vacant?),
            },
        }
        self.check(from, to, &source, target.as_ref(), mode)?;
        self.carry_out(from, to, dirs, (&source, target.as_ref()), mode)?;
        Ok(true)
    }

    /// Whether the rename is allowed.
    fn check(
        &self,
        from: End<'_>,
        to: End<'_>,
        source: &Found<'_>,
        target: Option<&Found<'_>>,
        mode: RenameMode,
    ) -> Result<Verdict> {
        let is_dir = |found: &Found<'_>| found.file.kind == Kind::Directory;
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(Errno::EEXIST.into()),
            (RenameMode::Exchange, None) => return Err(Errno::ENOENT.into()),
            _ => {}
        }
        let within = |dir: &Inode, found: &Found<'_>| {
            is_dir(found) && lock(&self.table).is_within(dir.ino, found.file.ino)
        };
        if within(to.dir, source) {
            return Err(Errno::EINVAL.into());
        }
        let Some(target) = target else {
            return self.check_movable(source).map(|()| Verdict::Go);
        };
        if within(from.dir, target) {
            let swap = mode == RenameMode::Exchange;
            return Err(if swap { Errno::EINVAL } else { Errno::ENOTEMPTY }.into());
        }
        if source.file.ino == target.file.ino {
            return Ok(Verdict::SameFile);
        }
        if mode == RenameMode::Exchange {
            self.check_movable(source)?;
            self.check_movable(target)?;
            return Ok(Verdict::Go);
        }
        match (is_dir(source), is_dir(target)) {
            (true, false) => return Err(Errno::ENOTDIR.into()),
            (false, true) => return Err(Errno::EISDIR.into()),
            (false, false) | (true, true) => {}
        }
        self.check_movable(source)?;
        if is_dir(target) && !self.is_empty(&target.file)? {
            return Err(Errno::ENOTEMPTY.into());
        }
        Ok(Verdict::Go)
    }

    fn check_movable(&self, found: &Found<'_>) -> Result<()> {
        if found.file.kind == Kind::Directory && !found.file.dir()?.lowers.is_empty() {
            return Err(Errno::EXDEV.into());
        }
        Ok(())
    }

    fn copy_up_end(&self, found: &Found<'_>) -> Result<()> {
        self.copy_up(&found.file, u64::MAX).map(drop)
    }

    /// Renames with all locks held and everything checked.
    fn carry_out(
        &self,
        from: End<'_>,
        to: End<'_>,
        (from_dir, to_dir): (NodeId, NodeId),
        (source, target): (&Found<'_>, Option<&Found<'_>>),
        mode: RenameMode,
    ) -> Result<()> {
        let upper = self.layers.upper()?;
        let hides = |end: End<'_>, moved: &Found<'_>| -> Result<bool> {
            Ok(moved.file.kind == Kind::Directory
                && self.layers.below(&end.dir.dir()?, end.name)?.is_directory())
        };
        let mut opaque = hides(to, source)?;
        materialize(&**upper, &source.file, from_dir, from.name)?;
        let exchange = match (mode, target) {
            (RenameMode::Exchange, Some(target)) => {
                materialize(&**upper, &target.file, to_dir, to.name)?;
                opaque |= hides(from, target)?;
                Exchange::Yes
            }
            _ => Exchange::No(self.leave(from.dir, from.name)?),
        };
        upper.rename(&Renamed {
            from_dir,
            from: from.name,
            to_dir,
            to: to.name,
            exchange,
            opaque,
        })?;
        if let (Exchange::No(_), Some(target)) = (exchange, target) {
            self.name_gone(&target.file, to.dir, to.name);
        }
        self.move_name(&source.file, from, to);
        if let (Exchange::Yes, Some(target)) = (exchange, target) {
            self.move_name(&target.file, to, from);
        }
        from.dir.touch();
        to.dir.touch();
        Ok(())
    }

    fn move_name(&self, file: &Inode, from: End<'_>, to: End<'_>) {
        let unused = {
            let mut table = lock(&self.table);
            table.add_name(file.ino, to.dir.ino, to.name);
            table.remove_name(file.ino, from.dir.ino, from.name)
        };
        self.retire(unused);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Go,
    /// Both names are one file: there is nothing to do.
    SameFile,
}

/// Makes sure that the upper layer has the name itself: one of several names of a file that was
/// copied up under another leads there by the index only.
fn materialize(upper: &dyn Upper, file: &Inode, dir: NodeId, name: &Name) -> Result<()> {
    match (file.upper(), upper.slot(dir, name)?) {
        (Some(node), Slot::Absent) => upper.link(node, dir, name).map(drop),
        _ => Ok(()),
    }
}

fn copying_in_order<'a>(a: &'a Inode, b: Option<&'a Inode>) -> Vec<MutexGuard<'a, ()>> {
    let mut files: Vec<&Inode> = [Some(a), b].into_iter().flatten().collect();
    files.sort_unstable_by_key(|file| file.ino);
    files.dedup_by_key(|file| file.ino);
    files.into_iter().map(|file| lock(&file.copying)).collect()
}
