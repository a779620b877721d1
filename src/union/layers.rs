//! The stack of layers, and questions to several of them at once.

use std::collections::HashMap;
use std::sync::Arc;

use super::inode::{At, DirView, LowerNode};
use super::merge::{Level, Merged, merge_slots};
use super::{Owners, Stack};
use crate::tree::{Attr, Errno, Error, LayerId, Lower, Name, NodeId, Origin, Result, Slot, Upper};

/// The most layers a stack may have: a readdir cookie has 16 bits for the layer.
const MAX_LOWERS: usize = 65_000;

#[derive(Debug)]
pub(super) struct Layers {
    lowers: Vec<Arc<dyn Lower>>,
    upper: Option<Arc<dyn Upper>>,
    /// The lowest level of each layer: an image may hold a layer more than once, and its files
    /// are the same ones then.
    levels: HashMap<LayerId, usize>,
    /// The same by level.
    first: Vec<usize>,
}

impl Layers {
    pub(super) fn new(stack: Stack) -> Result<Self> {
        let Stack { lowers, upper } = stack;
        if lowers.is_empty() && upper.is_none() {
            return Err(Error::new(Errno::EINVAL, "a view needs at least one layer"));
        }
        if lowers.len() > MAX_LOWERS {
            let count = lowers.len();
            let why = format!("{count} layers, where {MAX_LOWERS} are the most");
            return Err(Error::new(Errno::EINVAL, why));
        }
        let mut levels = HashMap::new();
        let first = lowers.iter().enumerate();
        let first = first.map(|(level, lower)| *levels.entry(lower.id()).or_insert(level));
        let first = first.collect();
        Ok(Self { lowers, upper, levels, first })
    }

    /// How many layers are only read.
    pub(super) fn lower_count(&self) -> usize {
        self.lowers.len()
    }

    /// The layers that are only read, bottom first.
    pub(super) fn lowers(&self) -> &[Arc<dyn Lower>] {
        &self.lowers
    }

    pub(super) fn lower(&self, level: usize) -> Result<&dyn Lower> {
        match self.lowers.get(level) {
            Some(lower) => Ok(&**lower),
            None => Err(Error::new(Errno::EIO, format!("there is no layer {level}"))),
        }
    }

    /// The layer that is written to; `EROFS` without one.
    pub(super) fn upper(&self) -> Result<&Arc<dyn Upper>> {
        self.upper.as_ref().ok_or_else(|| Errno::EROFS.into())
    }

    /// The layer a file is in, and the file.
    pub(super) fn at(&self, at: At) -> Result<(&dyn Lower, NodeId)> {
        match at {
            At::Lower(lower) => Ok((self.lower(lower.level)?, lower.node)),
            At::Upper(node) => Ok((&**self.upper()?, node)),
        }
    }

    /// The level that stands for all occurrences of the layer at `level`.
    pub(super) fn first_level(&self, level: usize) -> usize {
        self.first.get(level).copied().unwrap_or(level)
    }

    /// What to record of a file that is copied up.
    pub(super) fn origin(&self, lower: LowerNode) -> Result<Origin> {
        Ok(Origin { layer: self.lower(lower.level)?.id(), node: lower.node })
    }

    /// The lower file that an origin names and its attributes, if its layer is in the stack and
    /// still has it.
    pub(super) fn resolve(&self, origin: Origin) -> Option<(LowerNode, Attr)> {
        let level = *self.levels.get(&origin.layer)?;
        match self.lowers.get(level)?.attr(origin.node) {
            Ok(attr) => Some((LowerNode { level, node: origin.node }, attr)),
            Err(error) => {
                log::warn!("origin {origin:?} of a file in the upper layer: {error}");
                None
            }
        }
    }

    /// The merged root directory.
    pub(super) fn root(&self) -> Result<Merged> {
        let upper = self.upper.iter().map(|upper| (Level::Upper, upper.root()));
        let lowers = self.lowers.iter().enumerate().rev();
        let lowers = lowers.map(|(level, lower)| (Level::Lower(level), lower.root()));
        let roots = upper.chain(lowers);
        merge_slots(roots.map(|(level, root)| Ok((level, Slot::Node(root?)))))
    }

    /// What `name` in `dir` stands for.
    pub(super) fn merge(&self, dir: &DirView, name: &Name) -> Result<Merged> {
        let upper = dir.upper.map(|node| {
            let slot = self.upper()?.slot(node, name)?;
            Ok((Level::Upper, slot))
        });
        merge_slots(upper.into_iter().chain(self.lower_slots(dir, name)))
    }

    /// What `name` in `dir` would stand for if the upper layer said nothing of it.
    pub(super) fn below(&self, dir: &DirView, name: &Name) -> Result<Merged> {
        merge_slots(self.lower_slots(dir, name))
    }

    fn lower_slots(
        &self,
        dir: &DirView,
        name: &Name,
    ) -> impl Iterator<Item = Result<(Level, Slot)>> {
        dir.lowers.iter().map(move |&LowerNode { level, node }| {
            let slot = self.lower(level)?.slot(node, name)?;
            Ok((Level::Lower(level), slot))
        })
    }
}

impl Owners {
    /// The owner and group to show, or to give a new file, for `uid` and `gid`.
    pub(super) fn of(self, uid: u32, gid: u32) -> (u32, u32) {
        match self {
            Self::Exact => (uid, gid),
            Self::Squashed { uid, gid } => (uid, gid),
        }
    }
}
