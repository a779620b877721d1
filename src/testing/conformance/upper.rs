//! The cases of [`Upper`] about one file: making it, its attributes and its bytes.

use super::{Abilities, UpperCase, Uppers, bytes, found, name, names, owner, walk};
use super::{upper_copy as copy, upper_names as change};
use crate::tree::{
    Device, Errno, Kind, LayerId, Leave, NewKind, NewNode, Node, NodeId, Origin, Result, SetAttr,
    Slot, SyncMode, Time, TimeChange, Upper, Xattr, XattrMode,
};

/// The promises of [`Upper`], each with a name that says it.
pub const UPPER: &[UpperCase] = &[
    ("a_fresh_layer_says_nothing", fresh),
    ("a_file_of_each_kind_is_made_with_everything_it_should_have", make_kinds),
    ("every_mode_is_made_exactly", make_modes),
    ("what_is_made_survives_opening_the_layer_again", reopened),
    ("bytes_are_written_where_they_should_be", writing),
    ("attributes_change_alone_and_together", set_attr),
    ("extended_attributes_are_set_as_asked", set_xattr),
    ("names_that_look_like_marks_are_plain_attributes", mark_names),
    ("space_is_allocated_and_given_back", allocate),
    ("ranges_are_copied", copy_range),
    ("a_copied_up_file_has_all_that_the_lower_one_had", copy::copy_up_file),
    ("every_kind_of_file_is_copied_up", copy::copy_up_kinds),
    ("copy_up_keeps_holes", copy::copy_up_holes),
    ("copy_up_copies_no_more_than_asked_for", copy::copy_up_keep),
    ("copy_up_replaces_a_whiteout_and_leaves_its_directory_as_it_was", copy::copy_up_place),
    ("a_copy_up_that_fails_leaves_nothing", copy::copy_up_fails),
    ("an_orphan_is_usable_and_has_no_name", copy::orphan),
    ("a_hard_link_is_found_by_its_origin", copy::index),
    ("make_takes_a_free_name_only", change::make_names),
    ("a_file_gets_more_names", change::link),
    ("remove_leaves_what_it_is_told_to", change::remove),
    ("a_directory_of_whiteouts_is_removed", change::remove_dirs),
    ("what_is_removed_stays_usable_while_held", change::removed_but_held),
    ("rename_moves_and_replaces", change::rename),
    ("rename_leaves_a_whiteout", change::rename_whiteout),
    ("rename_swaps", change::exchange),
    ("a_moved_directory_is_made_opaque_when_asked", change::rename_opaque),
    ("what_is_replaced_stays_usable_while_held", change::replaced_but_held),
    ("moved_directories_keep_what_is_in_them_reachable", change::moved_dirs),
    ("many_threads_change_names_at_once", change::threads),
];

/// A new file of no special kind.
pub(super) fn new(kind: NewKind<'_>, mode: u16, owner: (u32, u32)) -> NewNode<'_> {
    NewNode { kind, mode, uid: owner.0, gid: owner.1, xattrs: &[] }
}

/// Makes a file for the one who runs the test, and holds it.
pub(super) fn make(upper: &dyn Upper, dir: NodeId, base: &str, kind: NewKind<'_>) -> Node {
    let root = upper.root().expect("root").attr;
    let node = upper.make(dir, &name(base), &new(kind, 0o755, (root.uid, root.gid))).expect(base);
    upper.hold(node.id, dir, &name(base));
    node
}

/// Makes a regular file with these bytes, and holds it.
pub(super) fn file(upper: &dyn Upper, dir: NodeId, base: &str, content: &str) -> NodeId {
    let node = make(upper, dir, base, NewKind::File).id;
    upper.write_at(node, 0, content.as_bytes()).expect("write_at");
    node
}

/// Makes a directory that is not opaque, and holds it.
pub(super) fn dir(upper: &dyn Upper, parent: NodeId, base: &str) -> NodeId {
    make(upper, parent, base, NewKind::Directory { opaque: false }).id
}

/// Leaves a whiteout where nothing was.
pub(super) fn whiteout(upper: &dyn Upper, dir: NodeId, base: &str) {
    upper.remove(dir, &name(base), Leave::Whiteout).expect("whiteout");
    assert_eq!(upper.slot(dir, &name(base)).expect("slot"), Slot::Whiteout);
}

fn fresh(uppers: &dyn Uppers, _: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root");
    assert_eq!((root.attr.kind, root.attr.nlink), (Kind::Directory, 1));
    assert_eq!(upper.list(root.id).expect("list"), []);
    let origin = Origin { layer: LayerId([1; 8]), node: NodeId(7) };
    assert_eq!(upper.indexed(origin).expect("indexed"), None);
}

fn make_kinds(uppers: &dyn Uppers, can: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let device = Device { major: 1, minor: 259 };
    let owner = owner(can, &*upper);
    let mut kinds = vec![
        ("file", NewKind::File, Kind::File),
        ("dir", NewKind::Directory { opaque: false }, Kind::Directory),
        ("opaque", NewKind::Directory { opaque: true }, Kind::Directory),
        ("link", NewKind::Symlink(b"\xff/target"), Kind::Symlink),
        ("fifo", NewKind::Fifo, Kind::Fifo),
        ("socket", NewKind::Socket, Kind::Socket),
    ];
    if can.devices {
        kinds.push(("char", NewKind::CharDevice(device), Kind::CharDevice));
        kinds.push(("block", NewKind::BlockDevice(device), Kind::BlockDevice));
    }
    for (base, new_kind, kind) in kinds {
        let mode = if kind == Kind::Symlink { 0o777 } else { 0o640 };
        let xattrs: &[Xattr] = &[(b"user.x"[..].into(), b"from birth"[..].into())];
        let takes = matches!(kind, Kind::File | Kind::Directory);
        let xattrs = if takes { xattrs } else { &[] };
        let node = upper
            .make(root, &name(base), &NewNode { xattrs, ..new(new_kind, mode, owner) })
            .expect(base);
        assert_eq!((node.attr.kind, node.attr.mode, node.attr.nlink), (kind, mode, 1), "{base}");
        assert_eq!((node.attr.uid, node.attr.gid), owner, "{base}");
        assert_eq!((node.opaque, node.origin), (base == "opaque", None), "{base}");
        assert_eq!(upper.slot(root, &name(base)).expect("slot"), Slot::Node(node), "{base}");
        upper.hold(node.id, root, &name(base));
        if takes {
            assert_eq!(upper.xattrs(node.id).expect("xattrs"), xattrs, "{base}");
        }
        if matches!(kind, Kind::CharDevice | Kind::BlockDevice) {
            assert_eq!(node.attr.device, device, "{base}");
        }
    }
    let link = found(&*upper, root, b"link").id;
    assert_eq!(&*upper.readlink(link).expect("readlink"), b"\xff/target");
    assert_eq!(bytes(&*upper, found(&*upper, root, b"file").id), b"");
}

fn make_modes(uppers: &dyn Uppers, can: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let owner = owner(can, &*upper);
    for mode in [0, 0o1, 0o111, 0o222, 0o600, 0o777, 0o1777, 0o2750, 0o4711, 0o6755, 0o7777] {
        for (kind, letter) in [(NewKind::File, 'f'), (NewKind::Directory { opaque: true }, 'd')] {
            if letter == 'd' && mode & 0o200 == 0 && !can.overrides {
                continue;
            }
            let base = name(format!("{letter}{mode:o}"));
            let node = upper.make(root, &base, &new(kind, mode, owner)).expect("make");
            assert_eq!(node.attr.mode, mode, "{base}");
        }
    }
}

fn reopened(uppers: &dyn Uppers, _: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let d = make(&*upper, root, "d", NewKind::Directory { opaque: true });
    let f = file(&*upper, d.id, "f", "kept");
    whiteout(&*upper, d.id, "gone");
    let upper = uppers.reopen(upper);
    let again = walk(&*upper, "d");
    assert_eq!((again.id, again.opaque), (d.id, true));
    assert_eq!(walk(&*upper, "d/f").id, f);
    assert_eq!(bytes(&*upper, f), b"kept");
    assert_eq!(names(&*upper, d.id), [(b"f".to_vec(), "file"), (b"gone".to_vec(), "whiteout")]);
}

fn writing(uppers: &dyn Uppers, _: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let f = file(&*upper, root, "f", "0123456789");
    upper.write_at(f, 3, b"abc").expect("inside");
    upper.write_at(f, 10, b"end").expect("at the end");
    assert_eq!(bytes(&*upper, f), b"012abc6789end");
    upper.write_at(f, 1 << 20, b"far").expect("past the end");
    assert_eq!(upper.attr(f).expect("attr").size, (1 << 20) + 3);
    let mut buf = [9; 16];
    assert_eq!(upper.read_at(f, (1 << 20) - 13, &mut buf).expect("read_at"), 16);
    assert_eq!(&buf, b"\0\0\0\0\0\0\0\0\0\0\0\0\0far");
    upper.write_at(f, 0, b"").expect("nothing");
    upper.sync(f, SyncMode::Data).expect("sync data");
    upper.sync(f, SyncMode::All).expect("sync all");
    upper.sync(root, SyncMode::All).expect("sync a directory");
}

fn set_attr(uppers: &dyn Uppers, can: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let f = file(&*upper, root, "f", "0123456789");
    let before = upper.attr(f).expect("attr");
    let time = Time { secs: 1_000_000_001, nanos: 500 };
    let to = |time| Some(TimeChange::To(time));
    let mtime = SetAttr { mtime: to(time), ..SetAttr::default() };
    let attr = upper.set_attr(f, &mtime).expect("mtime");
    assert_eq!((attr.mtime, attr.atime, attr.mode), (time, before.atime, before.mode));
    let before_1970 = Time { secs: -2, nanos: 999_999_999 };
    let atime = SetAttr { atime: to(before_1970), ..SetAttr::default() };
    let attr = upper.set_attr(f, &atime).expect("atime");
    assert_eq!((attr.mtime, attr.atime), (time, before_1970));
    let size = SetAttr { size: Some(4), mtime: to(time), ..SetAttr::default() };
    let attr = upper.set_attr(f, &size).expect("shorter");
    assert_eq!((attr.size, attr.mtime), (4, time));
    let attr = upper.set_attr(f, &SetAttr { size: Some(6), ..SetAttr::default() }).expect("longer");
    assert_eq!((attr.size, bytes(&*upper, f)), (6, b"0123\0\0".to_vec()));
    assert_eq!(upper.attr(f).expect("attr").size, 6);
    let (uid, gid) = owner(can, &*upper);
    let both = SetAttr { mode: Some(0o4711), uid: Some(uid), gid: Some(gid), ..SetAttr::default() };
    let attr = upper.set_attr(f, &both).expect("owner and mode");
    assert_eq!((attr.uid, attr.gid, attr.mode), (uid, gid, 0o4711));
    let now = SetAttr { mtime: Some(TimeChange::Now), ..SetAttr::default() };
    assert!(upper.set_attr(f, &now).expect("now").mtime > time);
    let d = dir(&*upper, root, "d");
    let attr = upper.set_attr(d, &SetAttr { mode: Some(0o1703), ..mtime }).expect("directory");
    assert_eq!((attr.mode, attr.mtime), (0o1703, time));
    let l = make(&*upper, root, "l", NewKind::Symlink(b"f")).id;
    let attr = upper.set_attr(l, &mtime).expect("symlink");
    assert_eq!((attr.kind, attr.mtime), (Kind::Symlink, time));
    assert_eq!(upper.set_attr(f, &SetAttr::default()).expect("nothing").mode, 0o4711);
    let error = upper.set_attr(NodeId(u64::MAX), &mtime).expect_err("an unknown node");
    assert_eq!(error.errno(), Errno::ESTALE);
}

fn set_xattr(uppers: &dyn Uppers, _: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let f = file(&*upper, root, "f", "");
    let d = dir(&*upper, root, "d");
    for node in [f, d, root] {
        let set = |value: &[u8], mode| upper.set_xattr(node, b"user.x", value, mode);
        let errno = |result: Result<()>| result.expect_err("refused").errno();
        assert_eq!(errno(set(b"", XattrMode::Replace)), Errno::ENODATA);
        set(b"1", XattrMode::Create).expect("create");
        assert_eq!(errno(set(b"2", XattrMode::Create)), Errno::EEXIST);
        assert_eq!(&*upper.xattr(node, b"user.x").expect("xattr"), b"1");
        set(b"3", XattrMode::Replace).expect("replace");
        set(b"44", XattrMode::Any).expect("any");
        assert_eq!(upper.xattrs(node).expect("xattrs"), [(b"user.x"[..].into(), b"44"[..].into())]);
        upper.remove_xattr(node, b"user.x").expect("remove");
        assert_eq!(errno(upper.remove_xattr(node, b"user.x")), Errno::ENODATA);
        assert_eq!(upper.xattrs(node).expect("xattrs"), []);
    }
}

fn mark_names(uppers: &dyn Uppers, _: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let d = dir(&*upper, root, "d");
    let f = file(&*upper, root, "f", "");
    let look_alikes: [&[u8]; 4] = [
        b"user.overlay.opaque",
        b"user.overlay.whiteout",
        b"user.overlay.overlay.opaque",
        b"user.fuseoverlayfs.opaque",
    ];
    for node in [d, f] {
        for look_alike in look_alikes {
            upper.set_xattr(node, look_alike, b"y", XattrMode::Create).expect("set");
        }
        upper.remove_xattr(node, b"user.overlay.whiteout").expect("remove");
        upper.set_xattr(node, b"user.overlay.whiteout", b"y", XattrMode::Create).expect("again");
    }
    let upper = uppers.reopen(upper);
    assert!(!walk(&*upper, "d").opaque, "a user's attribute is no mark");
    for path in ["d", "f"] {
        let node = walk(&*upper, path).id;
        let mut shown: Vec<Box<[u8]>> =
            upper.xattrs(node).expect("xattrs").into_iter().map(|(name, _)| name).collect();
        shown.sort();
        let mut expected: Vec<Box<[u8]>> = look_alikes.map(Into::into).into();
        expected.sort();
        assert_eq!(shown, expected, "{path}");
        for look_alike in look_alikes {
            assert_eq!(&*upper.xattr(node, look_alike).expect("get"), b"y");
        }
    }
}

fn allocate(uppers: &dyn Uppers, _: Abilities) {
    const KEEP_SIZE: i32 = 1;
    const PUNCH_HOLE: i32 = 2;
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let f = file(&*upper, root, "f", "");
    upper.allocate(f, 0, 65_536, 0).expect("allocate");
    assert_eq!(upper.attr(f).expect("attr").size, 65_536);
    upper.allocate(f, 65_536, 65_536, KEEP_SIZE).expect("allocate past the end");
    assert_eq!(upper.attr(f).expect("attr").size, 65_536);
    upper.write_at(f, 0, &[1; 65_536]).expect("write_at");
    upper.allocate(f, 16_384, 16_384, PUNCH_HOLE | KEEP_SIZE).expect("punch");
    let mut expected = vec![1; 65_536];
    expected[16_384..32_768].fill(0);
    assert_eq!(bytes(&*upper, f), expected);
    assert!(upper.allocate(f, 0, 0, 0).is_err(), "nothing to allocate");
}

fn copy_range(uppers: &dyn Uppers, _: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let from = file(&*upper, root, "from", "0123456789");
    let to = file(&*upper, root, "to", "abcdefghij");
    assert_eq!(upper.copy_range((from, 2), (to, 5), 3).expect("copy"), 3);
    assert_eq!(bytes(&*upper, to), b"abcde234ij");
    assert_eq!(upper.copy_range((from, 8), (to, 0), 100).expect("to the end"), 2);
    assert_eq!(bytes(&*upper, to), b"89cde234ij");
    assert_eq!(upper.copy_range((from, 10), (to, 0), 1).expect("past the end"), 0);
    assert_eq!(upper.copy_range((from, 0), (from, 10), 4).expect("within a file"), 4);
    assert_eq!(bytes(&*upper, from), b"01234567890123");
}
