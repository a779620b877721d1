//! The tree of a layer while its archive is read: what each entry does to what came before it.

use std::collections::{BTreeMap, HashMap};

use super::error::Problem;
use super::index::Extent;
use crate::tree::{Device, Name, Time, Xattr};

/// The number of a file in the order of appearance; 0 is the root.
pub(super) type DraftId = usize;

/// What every kind of file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Meta {
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
    /// As in [`super::index::NodeRecord`].
    pub(super) xattrs: u32,
}

/// What a file is.
#[derive(Debug)]
pub(super) enum DraftBody {
    Directory(Directory),
    /// Stored in one piece.
    Dense {
        at: u64,
        size: u64,
    },
    Sparse {
        size: u64,
        extents: Vec<Extent>,
    },
    Symlink(Box<[u8]>),
    CharDevice(Device),
    BlockDevice(Device),
    Fifo,
}

/// A directory.
#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) children: BTreeMap<Name, Child>,
    pub(super) opaque: bool,
    /// No entry of the archive is the directory itself.
    pub(super) implied: bool,
}

/// What the layer says of one name.
#[derive(Debug, Default)]
pub(super) struct Child {
    pub(super) node: Option<DraftId>,
    pub(super) whiteout: bool,
    /// Different for each child of a directory, ascending with the entries of the archive.
    pub(super) position: u32,
}

/// A file.
#[derive(Debug)]
pub(super) struct DraftNode {
    pub(super) meta: Meta,
    pub(super) body: DraftBody,
}

/// A hard link whose target was not there when it came.
#[derive(Debug)]
pub(super) struct Later {
    from: Vec<Name>,
    to: Vec<Name>,
    /// For the error.
    pub(super) entry: String,
    pub(super) offset: u64,
    pub(super) target: String,
}

/// The tree.
#[derive(Debug)]
pub(super) struct Draft {
    nodes: Vec<DraftNode>,
    later: Vec<Later>,
    positions: u32,
    limit: usize,
    xattrs: Vec<u8>,
    xattr_sets: HashMap<Vec<u8>, u32>,
}

/// Too many files, or names, or attributes for the index.
#[derive(Debug)]
pub(super) struct TooMany;

/// Why an entry has no place in the tree.
#[derive(Debug)]
pub(super) enum Refusal {
    Entry(Problem),
    TooMany,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Entry(problem)
    }
}

impl From<TooMany> for Refusal {
    fn from(_: TooMany) -> Self {
        Self::TooMany
    }
}

/// Attributes of a directory that no entry describes.
const IMPLIED: Meta =
    Meta { mode: 0o755, uid: 0, gid: 0, mtime: Time { secs: 0, nanos: 0 }, xattrs: 0 };

const ROOT: DraftId = 0;

/// How many symbolic links a path may lead through, as in the kernel.
const MAX_LINKS: u32 = 40;

/// One step of a path.
enum Step {
    Up,
    Down(Name),
}

/// The steps of a link's target, last first. What is no name leads nowhere and is left out.
fn steps(target: &[u8]) -> Vec<Step> {
    let step = |part: &[u8]| match part {
        b".." => Some(Step::Up),
        part => Name::new(part).ok().map(Step::Down),
    };
    target.split(|&b| b == b'/').rev().filter_map(step).collect()
}

impl Draft {
    /// An empty layer, which may come to have `limit` files.
    pub(super) fn new(limit: u64) -> Self {
        let root = Directory { implied: true, ..Directory::default() };
        Self {
            nodes: vec![DraftNode { meta: IMPLIED, body: DraftBody::Directory(root) }],
            later: Vec::new(),
            positions: 0,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            xattrs: Vec::new(),
            xattr_sets: HashMap::new(),
        }
    }

    /// All files, also those that were replaced later; the root is the first.
    pub(super) fn nodes(&self) -> &[DraftNode] {
        &self.nodes
    }

    /// The section of extended attributes.
    pub(super) fn xattr_bytes(&self) -> &[u8] {
        &self.xattrs
    }

    /// A directory, with the attributes of its entry. One that is there already keeps what is in
    /// it.
    pub(super) fn directory(&mut self, path: &[Name], meta: Meta) -> Result<(), Refusal> {
        let id = self.directory_at(path)?;
        if let Some(node) = self.nodes.get_mut(id) {
            node.meta = meta;
            if let DraftBody::Directory(directory) = &mut node.body {
                directory.implied = false;
            }
        }
        Ok(())
    }

    /// Any other file. It replaces what is there, with all that is in it.
    pub(super) fn file(&mut self, path: &[Name], node: DraftNode) -> Result<(), Refusal> {
        let Some((name, parent)) = path.split_last() else { return Err(Problem::Root.into()) };
        let parent = self.directory_at(parent)?;
        let id = self.add(node)?;
        Ok(self.attach(parent, name, id)?)
    }

    /// Another name for the file at `to`, now or when all entries have been read.
    pub(super) fn link(
        &mut self,
        path: &[Name],
        to: Vec<Name>,
        describe: impl FnOnce() -> (String, u64, String),
    ) -> Result<(), Refusal> {
        let Some((name, parent)) = path.split_last() else { return Err(Problem::Root.into()) };
        match self.find(&to) {
            Some(id) if self.is_directory(id) => Err(Problem::LinkTarget(describe().2).into()),
            Some(_) if path == to => Ok(()),
            Some(id) => {
                let parent = self.directory_at(parent)?;
                Ok(self.attach(parent, name, id)?)
            }
            None => {
                // What was there is gone all the same: the last entry of a name wins.
                self.detach(path);
                let (entry, offset, target) = describe();
                self.later.push(Later { from: path.to_vec(), to, entry, offset, target });
                if self.later.len() > self.limit { Err(Refusal::TooMany) } else { Ok(()) }
            }
        }
    }

    /// Lower layers' `name` in `dir` is deleted.
    pub(super) fn whiteout(&mut self, dir: &[Name], name: Name) -> Result<(), Refusal> {
        let dir = self.directory_at(dir)?;
        let position = self.position()?;
        if let Some(directory) = self.directory_mut(dir) {
            let new = Child { node: None, whiteout: true, position };
            directory.children.entry(name).or_insert(new).whiteout = true;
        }
        Ok(())
    }

    /// What lower layers have in `dir` is deleted.
    pub(super) fn opaque(&mut self, dir: &[Name]) -> Result<(), Refusal> {
        let dir = self.directory_at(dir)?;
        if let Some(directory) = self.directory_mut(dir) {
            directory.opaque = true;
        }
        Ok(())
    }

    /// Makes the hard links whose targets came after them. The first that cannot be made is
    /// returned.
    pub(super) fn link_later(&mut self) -> Result<Option<Later>, TooMany> {
        let mut waiting = std::mem::take(&mut self.later);
        loop {
            let before = waiting.len();
            let mut still = Vec::new();
            for link in waiting {
                match (self.find(&link.to), link.from.split_last()) {
                    // An entry of the same name that came later wins.
                    _ if self.find(&link.from).is_some() => {}
                    (Some(id), Some((name, parent))) if !self.is_directory(id) => {
                        let Ok(parent) = self.directory_at(parent) else { return Err(TooMany) };
                        self.attach(parent, name, id)?;
                    }
                    _ => still.push(link),
                }
            }
            if still.is_empty() {
                return Ok(None);
            }
            if still.len() == before {
                return Ok(still.into_iter().next());
            }
            waiting = still;
        }
    }

    /// The number to store for a set of extended attributes. Equal sets are stored once.
    pub(super) fn xattr_set(&mut self, set: &[Xattr]) -> Result<u32, TooMany> {
        if set.is_empty() {
            return Ok(0);
        }
        let mut bytes = Vec::new();
        bytes.extend(u16::try_from(set.len()).map_err(|_| TooMany)?.to_le_bytes());
        for (name, value) in set {
            bytes.push(u8::try_from(name.len()).map_err(|_| TooMany)?);
            bytes.extend(u32::try_from(value.len()).map_err(|_| TooMany)?.to_le_bytes());
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(value);
        }
        if let Some(&known) = self.xattr_sets.get(&bytes) {
            return Ok(known);
        }
        let end = self.xattrs.len().saturating_add(bytes.len());
        if u32::try_from(end).is_err() {
            return Err(TooMany);
        }
        let number = u32::try_from(self.xattrs.len() + 1).map_err(|_| TooMany)?;
        self.xattrs.extend_from_slice(&bytes);
        self.xattr_sets.insert(bytes, number);
        Ok(number)
    }

    /// The directory at `path`, made with all above it where there is none.
    fn directory_at(&mut self, path: &[Name]) -> Result<DraftId, TooMany> {
        let mut at = ROOT;
        for name in path {
            match self.child(at, name) {
                Some(id) if self.is_directory(id) => at = id,
                Some(id) if self.target(id).is_some() => return self.follow(path),
                _ => at = self.imply(at, name)?,
            }
        }
        Ok(at)
    }

    /// As [`Draft::directory_at`], for a path through symbolic links of this layer: as one who
    /// unpacks the archive would go, but never above the root.
    fn follow(&mut self, path: &[Name]) -> Result<DraftId, TooMany> {
        let mut rest: Vec<Step> = path.iter().rev().cloned().map(Step::Down).collect();
        let (mut at, mut links) = (vec![ROOT], 0);
        while let Some(step) = rest.pop() {
            let Step::Down(name) = step else {
                at.truncate(at.len().saturating_sub(1).max(1));
                continue;
            };
            let here = at.last().copied().unwrap_or(ROOT);
            match self.child(here, &name) {
                Some(id) if self.is_directory(id) => at.push(id),
                Some(id) if links < MAX_LINKS && self.target(id).is_some() => {
                    links += 1;
                    let target = self.target(id).unwrap_or_default();
                    if target.starts_with(b"/") {
                        at.truncate(1);
                    }
                    rest.extend(steps(target));
                }
                _ => at.push(self.imply(here, &name)?),
            }
        }
        Ok(at.last().copied().unwrap_or(ROOT))
    }

    /// Makes a directory that no entry describes.
    fn imply(&mut self, dir: DraftId, name: &Name) -> Result<DraftId, TooMany> {
        let new = Directory { implied: true, ..Directory::default() };
        let id = self.add(DraftNode { meta: IMPLIED, body: DraftBody::Directory(new) })?;
        self.attach(dir, name, id)?;
        Ok(id)
    }

    /// The target of a symbolic link.
    fn target(&self, id: DraftId) -> Option<&[u8]> {
        match &self.nodes.get(id)?.body {
            DraftBody::Symlink(target) => Some(target),
            _ => None,
        }
    }

    fn find(&self, path: &[Name]) -> Option<DraftId> {
        path.iter().try_fold(ROOT, |at, name| self.child(at, name))
    }

    fn child(&self, dir: DraftId, name: &Name) -> Option<DraftId> {
        match &self.nodes.get(dir)?.body {
            DraftBody::Directory(directory) => directory.children.get(name)?.node,
            _ => None,
        }
    }

    fn is_directory(&self, id: DraftId) -> bool {
        self.nodes.get(id).is_some_and(|node| matches!(node.body, DraftBody::Directory(_)))
    }

    fn directory_mut(&mut self, id: DraftId) -> Option<&mut Directory> {
        match &mut self.nodes.get_mut(id)?.body {
            DraftBody::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    fn add(&mut self, node: DraftNode) -> Result<DraftId, TooMany> {
        if self.nodes.len() >= self.limit || u32::try_from(self.nodes.len() + 1).is_err() {
            return Err(TooMany);
        }
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    fn attach(&mut self, dir: DraftId, name: &Name, id: DraftId) -> Result<(), TooMany> {
        let position = self.position()?;
        if let Some(directory) = self.directory_mut(dir) {
            let child = directory.children.entry(name.clone()).or_default();
            child.node = Some(id);
            child.position = position;
        }
        Ok(())
    }

    fn detach(&mut self, path: &[Name]) {
        let Some((name, parent)) = path.split_last() else { return };
        let Some(directory) = self.find(parent).and_then(|dir| self.directory_mut(dir)) else {
            return;
        };
        if let Some(child) = directory.children.get_mut(name) {
            child.node = None;
            if !child.whiteout {
                directory.children.remove(name);
            }
        }
    }

    fn position(&mut self) -> Result<u32, TooMany> {
        self.positions = self.positions.checked_add(1).ok_or(TooMany)?;
        Ok(self.positions)
    }
}
