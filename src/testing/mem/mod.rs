//! Layers in memory, faithful to the contracts of [`crate::tree::Lower`] and
//! [`crate::tree::Upper`].

mod bytes;
mod inner;
mod layer;
mod nodes;
mod upper;

pub use inner::Copied;
pub use layer::MemLayer;
pub use upper::{Dumped, MemUpper};

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::{MemLayer, MemUpper};
    use crate::testing::conformance::{self, Abilities, Item, Uppers, What};
    use crate::tree::{LayerId, Lower, Name, NewKind, NewNode, NodeId, Upper};

    fn build(items: &[Item]) -> Arc<dyn Lower> {
        let mut layer = MemLayer::new(LayerId(*b"memlayer"));
        let mut nodes: HashMap<&[u8], NodeId> = HashMap::from([(&b""[..], MemLayer::ROOT)]);
        for item in items {
            let split = item.path.iter().rposition(|&byte| byte == b'/');
            let (dir, base) = match split {
                Some(at) => (&item.path[..at], &item.path[at + 1..]),
                None => (&b""[..], &item.path[..]),
            };
            let (dir, base) = (nodes[dir], Name::new(base).unwrap());
            let kind = match &item.what {
                What::Whiteout => {
                    layer.whiteout(dir, &base).unwrap();
                    continue;
                }
                What::HardLink(to) => {
                    let node = nodes[&to[..]];
                    layer.link(node, dir, &base).unwrap();
                    nodes.insert(&item.path, node);
                    continue;
                }
                What::Directory { opaque } => NewKind::Directory { opaque: *opaque },
                What::File(_) => NewKind::File,
                What::Symlink(target) => NewKind::Symlink(target),
                What::Fifo => NewKind::Fifo,
                What::Socket => NewKind::Socket,
                What::CharDevice(device) => NewKind::CharDevice(*device),
                What::BlockDevice(device) => NewKind::BlockDevice(*device),
            };
            let (uid, gid) = item.owner.unwrap_or((0, 0));
            let new = NewNode { kind, mode: item.mode, uid, gid, xattrs: &item.xattrs };
            let node = layer.add(dir, &base, &new).unwrap();
            if let What::File(bytes) = &item.what {
                layer.write(node, bytes).unwrap();
            }
            layer.set(node, item.mode, (uid, gid), item.mtime).unwrap();
            nodes.insert(&item.path, node);
        }
        Arc::new(layer)
    }

    struct InMemory;

    impl Uppers for InMemory {
        fn fresh(&self) -> Arc<dyn Upper> {
            Arc::new(MemUpper::new())
        }

        fn reopen(&self, upper: Arc<dyn Upper>) -> Arc<dyn Upper> {
            upper
        }
    }

    #[test]
    fn a_layer_in_memory_keeps_the_promises_of_lower() {
        conformance::check_lower(&build, Abilities::ALL);
    }

    #[test]
    fn an_upper_layer_in_memory_keeps_the_promises_of_upper() {
        conformance::check_upper(&InMemory, Abilities::ALL);
    }
}
