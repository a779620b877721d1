//! Everything that can be asked of a layer, asked, for comparison.

use std::collections::BTreeMap;

use mica::layer::Layer;
use mica::tree::{Attr, Kind, Lower as _, Name, NodeId, Result, Slot, Xattr};

/// What there is at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) slot: Slot,
    pub(super) attr: Option<Attr>,
    pub(super) data: Vec<u8>,
    pub(super) target: Vec<u8>,
    pub(super) xattrs: Vec<Xattr>,
}

pub(super) type Path = Vec<Name>;

/// All of a layer, by path; the root is the empty path.
pub(super) fn all(layer: &Layer) -> BTreeMap<Path, Item> {
    let root = Slot::Node(layer.root().unwrap());
    let mut open: Vec<(Path, Slot)> = vec![(Path::new(), root)];
    let mut found = BTreeMap::new();
    while let Some((path, slot)) = open.pop() {
        let item = item(layer, slot).unwrap();
        if let Slot::Node(dir) = slot
            && dir.attr.kind == Kind::Directory
        {
            for listed in layer.list(dir.id).unwrap() {
                let path = [&path[..], &[listed.name]].concat();
                open.push((path, listed.slot));
            }
        }
        found.insert(path, item);
    }
    found
}

/// What can be asked of the slot.
pub(super) fn item(layer: &Layer, slot: Slot) -> Result<Item> {
    let (data, target, xattrs) = (Vec::new(), Vec::new(), Vec::new());
    let mut item = Item { slot, attr: None, data, target, xattrs };
    if let Slot::Node(node) = slot {
        item.attr = Some(layer.attr(node.id)?);
        item.xattrs = layer.xattrs(node.id)?;
        match node.attr.kind {
            Kind::File => item.data = bytes(layer, node.id, node.attr.size)?,
            Kind::Symlink => item.target = layer.readlink(node.id)?.into(),
            _ => {}
        }
    }
    Ok(item)
}

fn bytes(layer: &Layer, node: NodeId, size: u64) -> Result<Vec<u8>> {
    // Odd pieces, so that spans and pieces do not end together.
    let mut data = vec![0xaa; usize::try_from(size).unwrap()];
    let mut at = 0;
    for piece in data.chunks_mut(100_003) {
        assert_eq!(layer.read_at(node, at, piece)?, piece.len());
        at += piece.len() as u64;
    }
    Ok(data)
}

/// Goes down `path` by lookups.
pub(super) fn lookup(layer: &Layer, path: &[Name]) -> Result<Slot> {
    let mut slot = Slot::Node(layer.root()?);
    for name in path {
        let Slot::Node(dir) = slot else { return Ok(Slot::Absent) };
        slot = layer.slot(dir.id, name)?;
    }
    Ok(slot)
}
