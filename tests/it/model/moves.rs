//! Renames on the tree of the oracle.

use mica::tree::Errno;

use super::layers::Path;
use super::op::Rename;
use super::oracle::{Expected, Id, Oracle};

impl Oracle {
    pub(super) fn rename(
        &mut self,
        from: &Path,
        to: &Path,
        how: Rename,
    ) -> Result<Expected, Errno> {
        let (from, to) = (self.parent(from)?, self.parent(to)?);
        self.writable()?;
        let source = self.child(from).ok_or(Errno::ENOENT)?;
        let target = self.child(to);
        match (how, target) {
            (Rename::NoReplace, Some(_)) => return Err(Errno::EEXIST),
            (Rename::Exchange, None) => return Err(Errno::ENOENT),
            _ => {}
        }
        if self.is_within(to.0, source) {
            return Err(Errno::EINVAL);
        }
        // A directory that is in a lower layer does not move.
        let fixed = |oracle: &Self, id: Id| oracle.is_dir(id) && oracle.files[id].lower_names > 0;
        let Some(target) = target else {
            if fixed(self, source) {
                return Err(Errno::EXDEV);
            }
            self.names(from.0).remove(from.1);
            self.names(to.0).insert(to.1, source);
            self.moved(from.0, to.0, source);
            return Ok(Expected::Done);
        };
        if self.is_within(from.0, target) {
            return Err(if how == Rename::Exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
        }
        if source == target {
            return Ok(Expected::Done);
        }
        if how == Rename::Exchange {
            if fixed(self, source) || fixed(self, target) {
                return Err(Errno::EXDEV);
            }
            self.names(from.0).insert(from.1, target);
            self.names(to.0).insert(to.1, source);
            self.moved(from.0, to.0, source);
            self.moved(from.0, to.0, target);
            return Ok(Expected::Done);
        }
        match (self.is_dir(source), self.is_dir(target)) {
            (true, false) => return Err(Errno::ENOTDIR),
            (false, true) => return Err(Errno::EISDIR),
            _ if fixed(self, source) => return Err(Errno::EXDEV),
            (true, true) if !self.is_empty(target) => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        self.take(to, target);
        self.names(from.0).remove(from.1);
        self.names(to.0).insert(to.1, source);
        self.moved(from.0, to.0, source);
        Ok(Expected::Done)
    }

    fn moved(&mut self, from: Id, to: Id, file: Id) {
        self.touch(from);
        self.touch(to);
        self.files[file].changed = true;
    }
}
