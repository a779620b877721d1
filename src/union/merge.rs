//! The one statement of overlay semantics.

use crate::tree::{Kind, Node, Result, Slot};

/// Where in the stack a layer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Level {
    /// A layer that is only read, counted from 0 at the bottom.
    Lower(usize),
    /// The layer that is written to.
    Upper,
}

/// A file of one layer, and which layer that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) level: Level,
    pub(super) node: Node,
}

/// What a name stands for in the merged view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Merged {
    /// Nothing.
    Nothing,
    /// A file that is no directory: the topmost one.
    File(Part),
    /// A directory: the layers that have a part in it, top first, never none.
    Directory(Box<[Part]>),
}

/// The part that says what a directory is like: the topmost one that does so.
pub(super) fn speaker(parts: &[Part]) -> Option<&Part> {
    parts.iter().find(|part| !part.node.implied).or(parts.first())
}

impl Merged {
    /// The part that gives a file or directory its attributes.
    pub(super) fn top(&self) -> Option<&Part> {
        match self {
            Self::Nothing => None,
            Self::File(part) => Some(part),
            Self::Directory(parts) => speaker(parts),
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self, Self::Directory(_))
    }
}

/// Folds what each layer says of one name, from top to bottom, into what the view shows.
///
/// The topmost statement decides. A whiteout and a file end the question; directories collect
/// until an opaque one, a whiteout or a file ends it. `slots` is not asked for more than is
/// needed.
pub(super) fn merge_slots(
    slots: impl IntoIterator<Item = Result<(Level, Slot)>>,
) -> Result<Merged> {
    let mut parts = Vec::new();
    for slot in slots {
        let (level, slot) = slot?;
        match slot {
            Slot::Absent => {}
            Slot::Whiteout => break,
            Slot::Node(node) if node.attr.kind == Kind::Directory => {
                parts.push(Part { level, node });
                if node.opaque {
                    break;
                }
            }
            Slot::Node(node) if parts.is_empty() => {
                return Ok(Merged::File(Part { level, node }));
            }
            Slot::Node(_) => break,
        }
    }
    Ok(if parts.is_empty() { Merged::Nothing } else { Merged::Directory(parts.into()) })
}

#[cfg(test)]
mod tests {
    use super::{Level, Merged, merge_slots};
    use crate::tree::{Attr, Device, Errno, Kind, Node, NodeId, Slot, Time};

    fn node(kind: Kind, id: u64, opaque: bool) -> Slot {
        let attr = Attr {
            kind,
            mode: 0o755,
            uid: 0,
            gid: 0,
            size: 0,
            blocks: 0,
            nlink: 1,
            device: Device::default(),
            atime: Time::default(),
            mtime: Time::default(),
            ctime: Time::default(),
        };
        Slot::Node(Node { id: NodeId(id), attr, opaque, implied: false, origin: None })
    }

    /// The ids of the parts that are visible, for slots from top to bottom.
    fn visible(slots: &[Slot]) -> Vec<u64> {
        let levels = (0..slots.len()).rev().map(Level::Lower);
        match merge_slots(levels.zip(slots.iter().copied()).map(Ok)).unwrap() {
            Merged::Nothing => Vec::new(),
            Merged::File(part) => vec![part.node.id.0],
            Merged::Directory(parts) => parts.iter().map(|part| part.node.id.0).collect(),
        }
    }

    #[test]
    fn the_table_of_overlay_semantics() {
        let file = |id| node(Kind::File, id, false);
        let dir = |id| node(Kind::Directory, id, false);
        let opaque = |id| node(Kind::Directory, id, true);
        let (absent, whiteout) = (Slot::Absent, Slot::Whiteout);
        let table: &[(&[Slot], &[u64])] = &[
            (&[], &[]),
            (&[absent, absent], &[]),
            (&[absent, file(2)], &[2]),
            (&[file(1), file(2)], &[1]),
            (&[file(1), dir(2)], &[1]),
            (&[whiteout, file(2)], &[]),
            (&[absent, whiteout, dir(3)], &[]),
            (&[dir(1), dir(2)], &[1, 2]),
            (&[dir(1), absent, dir(3)], &[1, 3]),
            (&[dir(1), whiteout, dir(3)], &[1]),
            (&[dir(1), file(2), dir(3)], &[1]),
            (&[dir(1), opaque(2), dir(3)], &[1, 2]),
            (&[opaque(1), dir(2)], &[1]),
            (&[whiteout, opaque(2)], &[]),
        ];
        for (slots, expected) in table {
            assert_eq!(visible(slots), *expected, "{slots:?}");
        }
    }

    #[test]
    fn layers_below_the_answer_are_not_asked() {
        let slots = [Ok((Level::Upper, node(Kind::File, 1, false))), Err(Errno::EIO.into())];
        assert!(matches!(merge_slots(slots), Ok(Merged::File(_))));
        let slots = [Ok((Level::Upper, Slot::Absent)), Err(Errno::EIO.into())];
        assert_eq!(merge_slots(slots).unwrap_err().errno(), Errno::EIO);
    }
}
