//! What one layer, alone, says of one name.

use super::{Attr, Name};

/// A file within one layer.
///
/// The number is the layer's own: an entry number for an archive, the inode number for a
/// directory on disk. Two names with one number are hard links of one file. The root of an
/// archive layer is number 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

/// Which layer a file came from, in a form that can be stored and means the same in another
/// stack and on another host.
///
/// The first 8 bytes of the layer's diff id; of a directory, a number made of its device and
/// inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerId(pub [u8; 8]);

/// The lower file that a file of the upper layer was copied up from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// The layer it came from.
    pub layer: LayerId,
    /// The file within that layer.
    pub node: NodeId,
}

/// A file of a layer: who it is and what it is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// The file within its layer.
    pub id: NodeId,
    /// Its attributes; `nlink` counts the names within the layer.
    pub attr: Attr,
    /// Of a directory: hides what lower layers have at its path.
    pub opaque: bool,
    /// Of a directory: the layer does not say what it is like, but only has something in it. Its
    /// attributes count where no lower layer has the directory.
    pub implied: bool,
    /// Of a file of the upper layer: what it was copied up from, where that is recorded.
    pub origin: Option<Origin>,
}

/// What one layer says of one name in one of its directories.
///
/// A statement about that layer only: the union folds the slots of all layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Nothing: lower layers decide.
    Absent,
    /// The name is deleted: lower layers are not asked.
    Whiteout,
    /// A file.
    Node(Node),
}

/// One name of a directory of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub name: Name,
    /// Where it stands in the directory: below 2^47, different for each name, and the same for as
    /// long as the name exists. Listing in this order reads the layer's bytes forward.
    pub position: u64,
    /// What the layer says of it; never [`Slot::Absent`].
    pub slot: Slot,
}
