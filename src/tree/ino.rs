//! Inode numbers of the merged view.

use super::NodeId;

/// An inode number of the merged view: what stat(2) shows, and what FUSE calls the node id.
///
/// It names one file for as long as the stack of layers stays the same: through copy-up, rename
/// and remount, and on another host. It is below 2^48, so that the kernel's overlayfs can stack
/// on us and still have room for its own bits (`xino`):
///
/// ```text
/// bit 47     bits 46..37          bits 36..0
/// 0          layer, from bottom   node of that layer       a file that a lower layer brought
/// 1          node of the upper layer (47 bits)             a file born in the upper layer
/// ```
///
/// What does not fit (more than 1,023 layers, node numbers of 2^37 and more) is numbered by the
/// union from the top of layer number 1,023, in the order of appearance: still unique, but not
/// the same after a remount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ino(u64);

impl Ino {
    /// The root of the merged view. FUSE fixes the number; [`Ino::lower`] never gives it, since
    /// node 1 of the bottom layer is that layer's root by contract of [`super::Lower`].
    pub const ROOT: Self = Self(1);

    const NODE_BITS: u32 = 37;
    const UPPER: u64 = 1 << 47;
    const OVERFLOW_LAYER: u64 = 1023;

    /// The number for `node` of the lower layer at `level`, counted from 0 at the bottom, so that
    /// another layer on top changes no number.
    #[must_use]
    pub fn lower(level: usize, node: NodeId) -> Option<Self> {
        let level = u64::try_from(level).ok().filter(|&level| level < Self::OVERFLOW_LAYER)?;
        (node.0 >> Self::NODE_BITS == 0).then_some(Self(level << Self::NODE_BITS | node.0))
    }

    /// The number for a file that was born in the upper layer.
    #[must_use]
    pub fn upper(node: NodeId) -> Option<Self> {
        (node.0 < Self::UPPER).then_some(Self(Self::UPPER | node.0))
    }

    /// The `n`th number for what fits nowhere else; `None` when there are no more.
    #[must_use]
    pub fn overflow(n: u64) -> Option<Self> {
        (n >> Self::NODE_BITS == 0).then_some(Self(Self::OVERFLOW_LAYER << Self::NODE_BITS | n))
    }

    /// An inode number that FUSE hands back.
    #[must_use]
    pub fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number for stat(2) and FUSE.
    #[must_use]
    pub fn raw(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Ino, NodeId};

    #[test]
    fn every_number_is_below_two_to_the_48th_and_has_one_owner() {
        let largest = NodeId((1 << 37) - 1);
        let numbers = [
            Ino::lower(0, NodeId(2)),
            Ino::lower(0, largest),
            Ino::lower(1, NodeId(0)),
            Ino::lower(1022, largest),
            Ino::overflow(0),
            Ino::overflow((1 << 37) - 1),
            Ino::upper(NodeId(0)),
            Ino::upper(NodeId((1 << 47) - 1)),
        ];
        let raw: Vec<u64> = numbers.iter().map(|n| n.expect("fits").raw()).collect();
        assert!(raw.windows(2).all(|w| w[0] < w[1]), "{raw:x?}");
        assert!(raw.iter().all(|&n| n < 1 << 48));
    }

    #[test]
    fn what_does_not_fit_is_refused_not_cut() {
        assert_eq!(Ino::lower(1023, NodeId(1)), None);
        assert_eq!(Ino::lower(0, NodeId(1 << 37)), None);
        assert_eq!(Ino::upper(NodeId(1 << 47)), None);
        assert_eq!(Ino::overflow(1 << 37), None);
    }
}
