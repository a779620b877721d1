//! File words and the two seams of the union, pure: names, attributes, slots, and the traits
//! [`Lower`] and [`Upper`] that every layer of a stack speaks.
//!
//! Nothing here does I/O. The traits live below both those who implement them (`layer`, `upper`)
//! and the one who uses them (`union`), so neither side imports the other.

mod attr;
mod errno;
mod ino;
mod layer;
mod name;
mod new;
mod slot;

pub use attr::{Attr, Device, Kind, SetAttr, Time, TimeChange};
pub use errno::{Errno, Error, Result};
pub use ino::Ino;
pub use layer::{
    CopyUp, Data, Exchange, FsStats, Leave, Lower, Place, Renamed, Seek, SyncMode, Upper, Xattr,
    XattrMode,
};
pub use name::{Name, NameError};
pub use new::{NewKind, NewNode};
pub use slot::{LayerId, Listed, Node, NodeId, Origin, Slot};
