//! The layers of the model in memory.

use std::collections::BTreeMap;

use mica::testing::mem::MemLayer;
use mica::tree::{LayerId, Name, NewKind, NewNode, NodeId};

use super::layers::{Layer, Path, TARGET, What};

/// A name of the model.
pub(crate) fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a name")
}

/// A layer in memory.
pub(crate) fn mem_layer(layer: &Layer, number: u8) -> MemLayer {
    let mut mem = MemLayer::new(LayerId([number; 8]));
    let mut nodes: BTreeMap<Path, NodeId> = BTreeMap::from([(Vec::new(), MemLayer::ROOT)]);
    let mut links = Vec::new();
    for (path, item) in &layer.items {
        let (base, dir) = path.split_last().expect("not the root");
        let dir = nodes[dir];
        let kind = match &item.what {
            What::Whiteout => {
                mem.whiteout(dir, &name(base)).expect("whiteout");
                continue;
            }
            What::HardLink(to) => {
                links.push((to, dir, base));
                continue;
            }
            What::Directory { opaque } => NewKind::Directory { opaque: *opaque },
            What::File(_) => NewKind::File,
            What::Symlink => NewKind::Symlink(TARGET),
            What::Fifo => NewKind::Fifo,
            What::Socket => NewKind::Socket,
            What::CharDevice(device) => NewKind::CharDevice(*device),
            What::BlockDevice(device) => NewKind::BlockDevice(*device),
        };
        let mode = if item.what == What::Symlink { 0o777 } else { item.mode };
        let xattrs: Vec<_> = item
            .xattrs
            .iter()
            .map(|(name, value)| (name.as_bytes().into(), value.as_slice().into()))
            .collect();
        let new = NewNode { kind, mode, uid: 0, gid: 0, xattrs: &xattrs };
        let node = mem.add(dir, &name(base), &new).expect("add");
        if let What::File(bytes) = &item.what {
            mem.write(node, bytes).expect("write");
        }
        mem.set(node, mode, item.owner, item.time).expect("set");
        nodes.insert(path.clone(), node);
    }
    for (to, dir, base) in links {
        mem.link(nodes[to], dir, &name(base)).expect("link");
    }
    mem
}
