//! Operations as data, and how to make them at random.

use mica::tree::{Device, Time};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;

use super::layers::{Path, XATTRS, path};

/// How many files can be open at once.
pub(crate) const SLOTS: usize = 3;

/// The file that an operation is done to.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// The one at a path.
    Path(Path),
    /// The one that was opened as this.
    Slot(usize),
}

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MakeKind {
    File,
    Directory,
    Symlink,
    Fifo,
    Socket,
    CharDevice(Device),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rename {
    Replace,
    NoReplace,
    Exchange,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    Any,
    Create,
    Replace,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    Mode(u16),
    Owner(u32, u32),
    Size(u64),
    Mtime(Time),
}

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Make {
        path: Path,
        kind: MakeKind,
        mode: u16,
        umask: u16,
        uid: u32,
    },
    Write {
        at: Target,
        offset: u64,
        data: Vec<u8>,
    },
    Read {
        at: Target,
    },
    Change {
        at: Target,
        change: Change,
    },
    CopyRange {
        from: Target,
        to: Target,
        from_offset: u64,
        to_offset: u64,
        len: u64,
    },
    SetXattr {
        at: Target,
        name: &'static str,
        value: Vec<u8>,
        set: Set,
    },
    RemoveXattr {
        at: Target,
        name: &'static str,
    },
    Unlink(Path),
    Rmdir(Path),
    Rename {
        from: Path,
        to: Path,
        how: Rename,
    },
    Link {
        from: Target,
        to: Path,
    },
    /// Deletes all there is at a path, one name after the other.
    RemoveTree(Path),
    /// Opens a file as a slot, in place of what is open as that; no path is the root.
    Open {
        slot: usize,
        path: Path,
    },
    Close {
        slot: usize,
    },
    /// Goes on listing the directory that is open as a slot, by this many names.
    List {
        slot: usize,
        count: usize,
    },
    /// Whatever is cached of names is dropped.
    Forget,
    /// Everything is closed, and the layers are mounted again.
    Remount,
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        3 => path(3).prop_map(Target::Path),
        2 => (0..SLOTS).prop_map(Target::Slot),
    ]
}

fn make_kind() -> impl Strategy<Value = MakeKind> {
    prop_oneof![
        5 => Just(MakeKind::File),
        5 => Just(MakeKind::Directory),
        1 => select(&[
            MakeKind::Symlink,
            MakeKind::Fifo,
            MakeKind::Socket,
            MakeKind::CharDevice(Device { major: 1, minor: 3 }),
            MakeKind::CharDevice(Device { major: 0, minor: 0 }),
        ][..]),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        select(&[0o700_u16, 0o2755, 0o644, 0o1777, 0][..]).prop_map(Change::Mode),
        (0..4_u32).prop_map(|id| Change::Owner(id, id + 20)),
        (0..16_u64).prop_map(Change::Size),
        (-5..5_i64).prop_map(|secs| Change::Mtime(Time { secs, nanos: 9 })),
    ]
}

fn root_or(path: impl Strategy<Value = Path>) -> impl Strategy<Value = Path> {
    prop_oneof![1 => Just(Vec::new()), 2 => path]
}

/// Some operations in a row that would hardly meet by chance.
fn sequence() -> impl Strategy<Value = Vec<Op>> {
    let mkdir = |path: &[&'static str]| {
        let (kind, mode, umask, uid) = (MakeKind::Directory, 0o755, 0, 0);
        Op::Make { path: path.to_vec(), kind, mode, umask, uid }
    };
    prop_oneof![
        24 => op().prop_map(|op| vec![op]),
        1 => path(2).prop_map(|path| vec![Op::RemoveTree(path)]),
        2 => path(2).prop_map(move |path| vec![Op::RemoveTree(path.clone()), mkdir(&path)]),
        // A directory changes while it is listed.
        2 => (0..SLOTS, root_or(path(1)), vec(path(1), 4)).prop_map(move |(slot, path, names)| {
            let at = |n: usize| [&path[..], &names[n]].concat();
            vec![
                mkdir(&at(0)),
                mkdir(&at(1)),
                Op::Open { slot, path: path.clone() },
                Op::List { slot, count: 1 },
                Op::RemoveTree(at(2)),
                Op::List { slot, count: 1 },
                mkdir(&at(3)),
                Op::List { slot, count: 9 },
            ]
        }),
        // A directory that is in no lower layer moves to where one was that is.
        1 => (path(2), path(2), select(&[Rename::Replace, Rename::Exchange][..])).prop_map(
            move |(from, to, how)| vec![
                Op::RemoveTree(from.clone()),
                mkdir(&from),
                Op::RemoveTree(to.clone()),
                Op::Rename { from: from.clone(), to: to.clone(), how: Rename::Replace },
                mkdir(&from),
                Op::Rename { from, to, how },
            ]
        ),
    ]
}

/// Up to `most` operations, but for short sequences that count as one.
pub(crate) fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    vec(sequence(), 0..most).prop_map(|ops| ops.concat())
}

fn op() -> impl Strategy<Value = Op> {
    let data = || vec(any::<u8>(), 0..6);
    let set = select(&[Set::Any, Set::Any, Set::Create, Set::Replace][..]);
    let how = select(&[Rename::Replace, Rename::Replace, Rename::NoReplace, Rename::Exchange][..]);
    let mode = select(&[0o666_u16, 0o777, 0o4755, 0o600][..]);
    prop_oneof![
        6 => (path(3), make_kind(), mode, weighted(0.3, Just(0o022)), 0..3_u32).prop_map(
            |(path, kind, mode, umask, uid)| {
                Op::Make { path, kind, mode, umask: umask.unwrap_or(0), uid }
            }
        ),
        4 => (target(), 0..12_u64, data())
            .prop_map(|(at, offset, data)| Op::Write { at, offset, data }),
        1 => target().prop_map(|at| Op::Read { at }),
        4 => (target(), change()).prop_map(|(at, change)| Op::Change { at, change }),
        1 => (target(), target(), 0..8_u64, 0..8_u64, 0..8_u64).prop_map(
            |(from, to, from_offset, to_offset, len)| {
                Op::CopyRange { from, to, from_offset, to_offset, len }
            }
        ),
        2 => (target(), select(&XATTRS[..]), data(), set)
            .prop_map(|(at, name, value, set)| Op::SetXattr { at, name, value, set }),
        1 => (target(), select(&XATTRS[..])).prop_map(|(at, name)| Op::RemoveXattr { at, name }),
        5 => path(3).prop_map(Op::Unlink),
        5 => path(3).prop_map(Op::Rmdir),
        5 => (path(3), path(3), how).prop_map(|(from, to, how)| Op::Rename { from, to, how }),
        3 => (target(), path(3)).prop_map(|(from, to)| Op::Link { from, to }),
        4 => (0..SLOTS, root_or(path(2))).prop_map(|(slot, path)| Op::Open { slot, path }),
        1 => (0..SLOTS).prop_map(|slot| Op::Close { slot }),
        6 => (0..SLOTS, 1..4_usize).prop_map(|(slot, count)| Op::List { slot, count }),
        1 => Just(Op::Forget),
        2 => Just(Op::Remount),
    ]
}

impl Op {
    /// The slots whose files it is done to.
    pub(crate) fn slots(&self) -> impl Iterator<Item = usize> {
        let targets = match self {
            Self::Write { at, .. }
            | Self::Read { at }
            | Self::Change { at, .. }
            | Self::SetXattr { at, .. }
            | Self::RemoveXattr { at, .. }
            | Self::Link { from: at, .. } => [Some(at), None],
            Self::CopyRange { from, to, .. } => [Some(from), Some(to)],
            _ => [None, None],
        };
        targets.into_iter().flatten().filter_map(|target| match target {
            Target::Slot(slot) => Some(*slot),
            Target::Path(_) => None,
        })
    }
}
