//! The state of an upper layer in memory.

use std::collections::BTreeMap;

use super::nodes::{Content, Named, Nodes};
use crate::tree::{Errno, Kind, Name, NodeId, Origin, Result};

/// How much was copied up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    /// Files that are no directories.
    pub files: u64,
    /// Bytes of regular files, holes included.
    pub bytes: u64,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) nodes: Nodes,
    pub(super) index: BTreeMap<Origin, NodeId>,
    pub(super) changes: u64,
    pub(super) copied: Copied,
    /// How many changes still succeed.
    pub(super) fails_after: Option<u64>,
    pub(super) failed: bool,
    pub(super) complaints: Vec<String>,
}

impl Inner {
    pub(super) fn new() -> Self {
        Self {
            nodes: Nodes::new(),
            index: BTreeMap::new(),
            changes: 0,
            copied: Copied::default(),
            fails_after: None,
            failed: false,
            complaints: Vec::new(),
        }
    }

    /// To be called by what is about to change the layer.
    pub(super) fn changing(&mut self) -> Result<()> {
        if let Some(left) = &mut self.fails_after {
            let Some(fewer) = left.checked_sub(1) else {
                self.failed = true;
                return Err(Errno::ENOSPC.into());
            };
            *left = fewer;
        }
        Ok(())
    }

    pub(super) fn hold(&mut self, node: NodeId, how: &str) {
        match self.nodes.get_mut(node) {
            Ok(file) => file.holds += 1,
            Err(_) => self.complaints.push(format!("hold of {node:?} {how}, which is gone")),
        }
    }

    /// Takes note that the content of a directory changed.
    pub(super) fn touch(&mut self, dir: NodeId) -> Result<()> {
        let now = self.nodes.now();
        self.changes += 1;
        let attr = &mut self.nodes.get_mut(dir)?.attr;
        (attr.mtime, attr.ctime) = (now, now);
        Ok(())
    }

    /// The directory, if it is not removed.
    pub(super) fn check_dir(&self, dir: NodeId) -> Result<()> {
        self.nodes.dir(dir)?;
        if self.nodes.get(dir)?.attr.nlink == 0 { Err(Errno::ENOENT.into()) } else { Ok(()) }
    }

    /// Fails unless a name is free: absent or a whiteout.
    pub(super) fn check_free(&self, dir: NodeId, name: &Name) -> Result<()> {
        self.check_dir(dir)?;
        match self.nodes.named(dir, name)? {
            Some(Named::Node(_)) => Err(Errno::EEXIST.into()),
            Some(Named::Whiteout) | None => Ok(()),
        }
    }

    pub(super) fn check_replaceable(&self, node: NodeId) -> Result<()> {
        let Ok(names) = self.nodes.dir(node) else { return Ok(()) };
        let full = names.values().any(|(_, named)| *named != Named::Whiteout);
        if full { Err(Errno::ENOTEMPTY.into()) } else { Ok(()) }
    }

    /// Whiteouts in a directory that is removed go with it.
    pub(super) fn empty(&mut self, node: NodeId) -> Result<()> {
        if let Content::Directory(names) = &mut self.nodes.get_mut(node)?.content {
            names.clear();
        }
        Ok(())
    }

    pub(super) fn make_opaque(&mut self, node: NodeId) -> Result<()> {
        let file = self.nodes.get_mut(node)?;
        file.opaque |= file.attr.kind == Kind::Directory;
        Ok(())
    }
}
