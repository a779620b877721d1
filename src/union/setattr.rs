//! Changing attributes.

use super::Union;
use super::remove::write_in_order;
use crate::tree::{Attr, Errno, Ino, Kind, Result, SetAttr};

impl Union {
    /// Changes attributes, copying the file up first; of a file that is cut, only the bytes that
    /// stay.
    ///
    /// # Errors
    /// `EISDIR`, `EINVAL` for a length of what is no regular file; `ENOTSUP` for the permission
    /// bits of a symbolic link; `EROFS`; those of chmod(2),
    /// chown(2), truncate(2), utimensat(2).
    pub fn set_attr(&self, ino: Ino, change: &SetAttr) -> Result<Attr> {
        let upper = self.layers.upper()?;
        let inode = self.inode(ino)?;
        match (change.size, inode.kind) {
            (None, _) | (Some(_), Kind::File) => {}
            (Some(_), Kind::Directory) => return Err(Errno::EISDIR.into()),
            (Some(_), _) => return Err(Errno::EINVAL.into()),
        }
        if change.mode.is_some() && inode.kind == Kind::Symlink {
            return Err(Errno::ENOTSUP.into());
        }
        let mut change = *change;
        if let super::Owners::Squashed { .. } = self.owners {
            (change.uid, change.gid) = (None, None);
        }
        if change == SetAttr::default() {
            return self.current_attr(&inode);
        }
        // A change that may be refused must not have cost bytes.
        let only_cut = SetAttr { size: None, atime: None, mtime: None, ..change };
        let keep = match change.size {
            Some(size) if only_cut == SetAttr::default() => size,
            _ => u64::MAX,
        };
        let node = self.copy_up(&inode, keep)?;
        let attr = {
            let _entries = write_in_order(&[&inode]);
            let attr = upper.set_attr(node, &change);
            inode.with_state(|state| state.inherit = None);
            attr?
        };
        Ok(self.shown(&inode, attr))
    }
}
