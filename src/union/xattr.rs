//! Extended attributes.

use super::Union;
use super::remove::write_in_order;
use crate::tree::{Errno, Ino, NodeId, Result, Upper, Xattr, XattrMode};

impl Union {
    /// The value of an extended attribute.
    ///
    /// # Errors
    /// `ENODATA` when there is none of this name; `ENOTSUP`.
    pub fn xattr(&self, ino: Ino, name: &[u8]) -> Result<Box<[u8]>> {
        let (layer, node) = self.layers.at(self.inode(ino)?.at()?)?;
        layer.xattr(node, name)
    }

    /// All extended attributes.
    ///
    /// # Errors
    /// `EIO` when the layer cannot be read.
    pub fn xattrs(&self, ino: Ino) -> Result<Vec<Xattr>> {
        let (layer, node) = self.layers.at(self.inode(ino)?.at()?)?;
        layer.xattrs(node)
    }

    /// Sets an extended attribute, copying the file up first.
    ///
    /// # Errors
    /// Those of setxattr(2); `EROFS`.
    pub fn set_xattr(&self, ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        self.layers.upper()?;
        if mode != XattrMode::Any {
            match (self.xattr(ino, name), mode) {
                (Ok(_), XattrMode::Create) => return Err(Errno::EEXIST.into()),
                (Err(error), XattrMode::Replace) => return Err(error),
                _ => {}
            }
        }
        self.change_xattrs(ino, |upper, node| upper.set_xattr(node, name, value, mode))
    }

    /// Removes an extended attribute, copying the file up first.
    ///
    /// # Errors
    /// `ENODATA` when there is none of this name; `EROFS`.
    pub fn remove_xattr(&self, ino: Ino, name: &[u8]) -> Result<()> {
        self.layers.upper()?;
        self.xattr(ino, name)?;
        self.change_xattrs(ino, |upper, node| upper.remove_xattr(node, name))
    }

    fn change_xattrs(
        &self,
        ino: Ino,
        change: impl FnOnce(&dyn Upper, NodeId) -> Result<()>,
    ) -> Result<()> {
        let inode = self.inode(ino)?;
        let node = self.copy_up(&inode, u64::MAX)?;
        let _entries = write_in_order(&[&inode]);
        let changed = change(&**self.layers.upper()?, node);
        inode.with_state(|state| state.inherit = None);
        changed
    }
}
