//! Lower layers as data, and how to make them at random.

use std::collections::BTreeMap;

use mica::tree::{Device, Time};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

/// A path from the root, of names out of [`NAMES`]; the root itself has none.
pub(crate) type Path = Vec<&'static str>;

/// Few names, so that what is done in one place meets what was done in another.
pub(crate) const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// The extended attributes that are used.
pub(crate) const XATTRS: [&str; 2] = ["user.x", "user.y"];

/// What an [`Item`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Directory {
        opaque: bool,
    },
    File(Vec<u8>),
    Symlink,
    Fifo,
    Socket,
    CharDevice(Device),
    BlockDevice(Device),
    /// Another name of the file at this path.
    HardLink(Path),
    Whiteout,
}

/// One name of a layer.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) what: What,
    pub(crate) mode: u16,
    pub(crate) owner: (u32, u32),
    pub(crate) time: Time,
    pub(crate) xattrs: BTreeMap<&'static str, Vec<u8>>,
}

/// The target of every symbolic link: it leads nowhere.
pub(crate) const TARGET: &[u8] = b"to/nowhere";

/// A layer: all its names, in order, so that directories come before what is in them. What a hard
/// link names is a file of the layer, not another hard link.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer {
    pub(crate) items: BTreeMap<Path, Item>,
}

pub(crate) fn path(max: usize) -> impl Strategy<Value = Path> {
    vec(proptest::sample::select(&NAMES[..]), 1..=max)
}

fn what() -> impl Strategy<Value = What> {
    let device = |major| Device { major, minor: 7 };
    prop_oneof![
        4 => any::<bool>().prop_map(|opaque| What::Directory { opaque }),
        5 => vec(any::<u8>(), 0..12).prop_map(What::File),
        1 => Just(What::Symlink),
        1 => prop_oneof![
            Just(What::Fifo),
            Just(What::Socket),
            Just(What::CharDevice(device(1))),
            Just(What::BlockDevice(device(8))),
        ],
        3 => path(2).prop_map(What::HardLink),
        2 => Just(What::Whiteout),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let mode = proptest::sample::select(&[0o755_u16, 0o644, 0o2775, 0o1777, 0o600][..]);
    let xattrs = proptest::collection::btree_map(
        proptest::sample::select(&XATTRS[..]),
        vec(any::<u8>(), 0..3),
        0..2,
    );
    (what(), mode, 0..3_u32, 0..1000_i64, xattrs).prop_map(|(what, mode, id, secs, xattrs)| Item {
        what,
        mode,
        owner: (id, id + 10),
        time: Time { secs: 1_000_000_000 + secs, nanos: 5 },
        xattrs,
    })
}

impl Layer {
    /// A layer of these items, with plain attributes; parents that are missing are directories.
    pub(crate) fn plain(items: &[(&'static str, What)]) -> Self {
        let item = |what: &What| Item {
            mode: if matches!(what, What::Directory { .. }) { 0o755 } else { 0o644 },
            what: what.clone(),
            owner: (0, 0),
            time: Time { secs: 1_000_000_000, nanos: 0 },
            xattrs: BTreeMap::new(),
        };
        Self::of(items.iter().map(|(at, what)| (at.split('/').collect(), item(what))).collect())
    }

    /// A layer of what fits of `wanted`: parents that are missing become directories, and what
    /// contradicts what was there before it is left out.
    fn of(wanted: Vec<(Path, Item)>) -> Self {
        let mut layer = Self::default();
        for (path, mut item) in wanted {
            let mut within = (1..path.len()).map(|len| &path[..len]);
            let blocked = |at: &[&'static str]| {
                layer.items.get(at).is_some_and(|it| !matches!(it.what, What::Directory { .. }))
            };
            if layer.items.contains_key(&path) || within.any(blocked) {
                continue;
            }
            if let What::HardLink(to) = &item.what {
                let Some(target) = layer.items.get(to) else { continue };
                match &target.what {
                    What::Directory { .. } | What::Whiteout => continue,
                    What::HardLink(first) => item.what = What::HardLink(first.clone()),
                    _ => {}
                }
            }
            if !matches!(item.what, What::Directory { .. } | What::File(_)) {
                item.xattrs.clear();
            }
            for len in 1..path.len() {
                let parent = Item {
                    what: What::Directory { opaque: false },
                    mode: 0o755,
                    owner: (0, 0),
                    time: item.time,
                    xattrs: BTreeMap::new(),
                };
                layer.items.entry(path[..len].to_vec()).or_insert(parent);
            }
            layer.items.insert(path, item);
        }
        layer
    }
}

/// Layers from bottom to top; a later one may be the same as an earlier one.
pub(crate) fn stack() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        12 => (0..=4_usize).prop_map(|count| (0..count).collect()),
        1 => Just(vec![0, 1, 0]),
    ]
}

pub(crate) fn layers() -> impl Strategy<Value = Vec<Layer>> {
    vec(vec((path(3), item()), 0..9).prop_map(Layer::of), 4)
}
