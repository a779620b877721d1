//! The promises of [`Lower`] and [`Upper`] as lists of cases, run on every implementation.
//!
//! A case that fails panics, as a test does; [`check_lower`] and [`check_upper`] say which it was.
// These are tests in a library: a panic is how a case fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod lower;
mod upper;
mod upper_copy;
mod upper_names;

use std::sync::Arc;

use crate::tree::{Device, Kind, Lower, Name, Node, NodeId, Slot, Time, Upper, Xattr};

pub use lower::LOWER;
pub use upper::UPPER;

/// What an implementation, or the machine it is run on, can do. A case that needs more is left
/// out.
#[derive(Debug, Clone, Copy)]
pub struct Abilities {
    /// Files may belong to users and groups other than the one who runs the test.
    pub owners: bool,
    /// Character and block devices can be made.
    pub devices: bool,
    /// Sockets can be described.
    pub sockets: bool,
    /// Files can have `trusted.*` attributes.
    pub trusted: bool,
    /// The layer can do with a file what the permission bits of the file forbid to its owner.
    pub overrides: bool,
    /// Symbolic links and special files keep the origin that [`Upper::copy_up`] records.
    pub origin_of_special: bool,
}

impl Abilities {
    /// Everything.
    pub const ALL: Self = Self {
        owners: true,
        devices: true,
        sockets: true,
        trusted: true,
        overrides: true,
        origin_of_special: true,
    };
}

/// What an [`Item`] is.
#[derive(Debug, Clone)]
pub enum What {
    /// A directory, opaque or not.
    Directory {
        /// Whether it hides what lower layers have.
        opaque: bool,
    },
    /// A regular file with these bytes.
    File(Vec<u8>),
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// Another name of the file at this path, which comes before it.
    HardLink(Vec<u8>),
    /// A whiteout.
    Whiteout,
}

/// One name of a layer to build. Parents come before what is in them.
#[derive(Debug, Clone)]
pub struct Item {
    /// The path from the root of the layer, without a leading slash.
    pub path: Vec<u8>,
    /// What it is.
    pub what: What,
    /// Permission bits.
    pub mode: u16,
    /// Owner; `None` is whoever runs the test.
    pub owner: Option<(u32, u32)>,
    /// Last change of content.
    pub mtime: Time,
    /// Extended attributes.
    pub xattrs: Vec<Xattr>,
}

impl Item {
    /// An item with mode 0755 for a directory, 0777 for a symbolic link and 0644 for all else.
    #[must_use]
    pub fn new(path: impl AsRef<[u8]>, what: What) -> Self {
        let mode = match what {
            What::Directory { .. } => 0o755,
            What::Symlink(_) => 0o777,
            _ => 0o644,
        };
        Self {
            path: path.as_ref().to_vec(),
            what,
            mode,
            owner: None,
            mtime: Time { secs: 1_000_000_000, nanos: 0 },
            xattrs: Vec::new(),
        }
    }

    /// A plain directory.
    #[must_use]
    pub fn dir(path: impl AsRef<[u8]>) -> Self {
        Self::new(path, What::Directory { opaque: false })
    }

    /// A regular file.
    #[must_use]
    pub fn file(path: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> Self {
        Self::new(path, What::File(bytes.as_ref().to_vec()))
    }

    /// The same with other permission bits.
    #[must_use]
    pub fn mode(self, mode: u16) -> Self {
        Self { mode, ..self }
    }

    /// The same with one more extended attribute.
    #[must_use]
    pub fn xattr(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.xattrs.push((name.as_ref().into(), value.as_ref().into()));
        self
    }
}

/// Builds a layer of items.
pub type Build<'a> = &'a dyn Fn(&[Item]) -> Arc<dyn Lower>;

/// One promise of [`Lower`]: what it says, and how to see it.
pub type LowerCase = (&'static str, fn(Build<'_>, Abilities));

/// Gives upper layers to test.
pub trait Uppers {
    /// An upper layer that holds nothing.
    fn fresh(&self) -> Arc<dyn Upper>;

    /// The same layer as a new mount finds it. The old one is not used any more.
    fn reopen(&self, upper: Arc<dyn Upper>) -> Arc<dyn Upper>;
}

/// One promise of [`Upper`]: what it says, and how to see it.
pub type UpperCase = (&'static str, fn(&dyn Uppers, Abilities));

/// Runs all of [`LOWER`].
///
/// # Panics
/// When a case fails, with its name.
pub fn check_lower(build: Build<'_>, can: Abilities) {
    for (name, case) in LOWER {
        run(name, || case(build, can));
    }
}

/// Runs all of [`UPPER`].
///
/// # Panics
/// When a case fails, with its name.
pub fn check_upper(uppers: &dyn Uppers, can: Abilities) {
    for (name, case) in UPPER {
        run(name, || case(uppers, can));
    }
}

fn run(name: &str, case: impl FnOnce()) {
    let case = std::panic::AssertUnwindSafe(case);
    if let Err(panic) = std::panic::catch_unwind(case) {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        panic!("{name}: {text}");
    }
}

/// A name of a test.
///
/// # Panics
/// When it is none.
pub fn name(bytes: impl AsRef<[u8]>) -> Name {
    Name::new(bytes.as_ref()).expect("a name")
}

/// The file at `path`, each step of the way held.
///
/// # Panics
/// When there is none.
fn walk(layer: &dyn Lower, path: &str) -> Node {
    let mut node = layer.root().expect("root");
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let dir = node.id;
        node = found(layer, dir, part.as_bytes());
        layer.hold(node.id, dir, &name(part));
    }
    node
}

/// The file `name` in `dir`.
fn found(layer: &dyn Lower, dir: NodeId, base: &[u8]) -> Node {
    match layer.slot(dir, &name(base)) {
        Ok(Slot::Node(node)) => node,
        other => panic!("{:?}: {other:?} instead of a file", name(base)),
    }
}

/// The owner and group that a test makes files for.
fn owner(can: Abilities, layer: &dyn Lower) -> (u32, u32) {
    let root = layer.root().expect("root").attr;
    if can.owners { (1234, 56) } else { (root.uid, root.gid) }
}

/// All bytes of a regular file, by reads of an odd size.
fn bytes(layer: &dyn Lower, node: NodeId) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buf = [0; 777];
    loop {
        let n = layer.read_at(node, all.len() as u64, &mut buf).expect("read_at");
        all.extend_from_slice(&buf[..n]);
        if n < buf.len() {
            return all;
        }
    }
}

/// The names of a directory in ascending order of bytes, with what the layer says of each.
fn names(layer: &dyn Lower, dir: NodeId) -> Vec<(Vec<u8>, &'static str)> {
    let mut names: Vec<_> = layer
        .list(dir)
        .expect("list")
        .into_iter()
        .map(|listed| {
            let said = match listed.slot {
                Slot::Absent => "absent",
                Slot::Whiteout => "whiteout",
                Slot::Node(node) if node.attr.kind == Kind::Directory => "directory",
                Slot::Node(_) => "file",
            };
            (listed.name.as_bytes().to_vec(), said)
        })
        .collect();
    names.sort();
    names
}
