//! The cases of [`Lower`](crate::tree::Lower).

use super::{Abilities, Build, Item, LowerCase, What, bytes, found, name, names, walk};
use crate::tree::{Attr, Device, Errno, Kind, Lower, NodeId, Seek, Slot, Time};

/// The promises of [`Lower`], each with a name that says it.
pub const LOWER: &[LowerCase] = &[
    ("the_root_is_a_directory_that_is_held_from_the_start", root),
    ("a_name_nobody_made_is_absent", absent),
    ("a_file_reads_as_written_at_every_offset", reading),
    ("every_kind_of_file_keeps_its_attributes", kinds),
    ("owners_are_kept", owners),
    ("the_target_of_a_symlink_is_read_and_never_followed", symlinks),
    ("a_whiteout_is_a_whiteout_by_name_and_in_the_list", whiteouts),
    ("opaque_is_said_of_opaque_directories_only", opaque),
    ("the_list_says_what_slot_says", list_and_slot),
    ("positions_ascend_are_below_2_to_the_47_and_stay", positions),
    ("names_of_one_file_are_one_node_and_are_counted", hard_links),
    ("extended_attributes_are_kept_and_marks_are_not_shown", xattrs),
    ("any_bytes_make_a_name", odd_names),
    ("data_and_holes_are_found", seeking),
    ("a_node_that_was_never_given_out_is_an_error", unknown_nodes),
    ("a_call_on_the_wrong_kind_of_file_is_an_error", wrong_kinds),
    ("holds_are_counted", holds),
    ("many_threads_read_at_once", threads),
];

fn root(build: Build<'_>, _: Abilities) {
    let layer = build(&[]);
    let root = layer.root().expect("root");
    assert_eq!(root.attr.kind, Kind::Directory);
    assert_eq!(root.attr.nlink, 1, "a directory has one name");
    assert!(!root.opaque);
    assert_eq!(layer.attr(root.id).expect("attr").kind, Kind::Directory);
    assert_eq!(layer.root().expect("root again").id, root.id);
    assert_eq!(layer.list(root.id).expect("list"), []);
    assert_eq!(layer.id(), layer.id());
    layer.stats().expect("stats");
}

fn absent(build: Build<'_>, _: Abilities) {
    let layer = build(&[Item::dir("d"), Item::file("d/f", "x")]);
    let root = layer.root().expect("root").id;
    let dir = walk(&*layer, "d").id;
    assert_eq!(layer.slot(root, &name("f")).expect("slot"), Slot::Absent);
    assert_eq!(layer.slot(dir, &name("d")).expect("slot"), Slot::Absent);
    assert_eq!(layer.slot(dir, &name("f ")).expect("slot"), Slot::Absent);
    assert_eq!(layer.slot(dir, &name([b'x'; 255])).expect("slot"), Slot::Absent);
}

fn reading(build: Build<'_>, _: Abilities) {
    let long: Vec<u8> = (0..200_003_u32).map(|n| (n % 251) as u8).collect();
    let layer = build(&[Item::file("long", &long), Item::file("empty", "")]);
    let file = walk(&*layer, "long");
    assert_eq!((file.attr.kind, file.attr.size), (Kind::File, long.len() as u64));
    assert_eq!(bytes(&*layer, file.id), long);
    for (offset, len) in [(0, 0), (1, 1), (65_535, 2), (131_071, 65_537), (200_000, 3)] {
        let mut buf = vec![0; len];
        assert_eq!(layer.read_at(file.id, offset as u64, &mut buf).expect("read_at"), len);
        assert_eq!(buf, &long[offset..offset + len]);
    }
    let mut buf = [7; 10];
    assert_eq!(layer.read_at(file.id, 200_001, &mut buf).expect("at the end"), 2);
    assert_eq!(buf[..2], long[200_001..]);
    assert_eq!(layer.read_at(file.id, 200_003, &mut buf).expect("past the end"), 0);
    assert_eq!(layer.read_at(file.id, 1 << 40, &mut buf).expect("far past the end"), 0);
    let empty = walk(&*layer, "empty");
    assert_eq!(bytes(&*layer, empty.id), b"");
}

fn kinds(build: Build<'_>, can: Abilities) {
    let time = |secs, nanos| Time { secs, nanos };
    let device = Device { major: 1, minor: 259 };
    let mut items = vec![
        (Item::dir("d").mode(0o1777), Kind::Directory),
        (Item::dir("s").mode(0o2700), Kind::Directory),
        (Item::file("f", "12345").mode(0o4751), Kind::File),
        (Item::file("g", "").mode(0), Kind::File),
        (Item::new("l", What::Symlink(b"over/there".to_vec())), Kind::Symlink),
        (Item::new("p", What::Fifo).mode(0o600), Kind::Fifo),
    ];
    if can.devices {
        items.push((Item::new("c", What::CharDevice(device)).mode(0o620), Kind::CharDevice));
        items.push((Item::new("b", What::BlockDevice(device)).mode(0o660), Kind::BlockDevice));
    }
    if can.sockets {
        items.push((Item::new("k", What::Socket).mode(0o777), Kind::Socket));
    }
    for (n, (item, _)) in (0_u32..).zip(items.iter_mut()) {
        item.mtime = time(1_234_567_890 + i64::from(n), 1_000_000 * n);
    }
    items[2].0.mtime = time(-2, 250_000_000);
    let described: Vec<Item> = items.iter().map(|(item, _)| item.clone()).collect();
    let layer = build(&described);
    for (item, kind) in items {
        let path = String::from_utf8(item.path).expect("text");
        let node = walk(&*layer, &path);
        let Attr { mode, size, nlink, mtime, .. } = node.attr;
        assert_eq!(node.attr.kind, kind, "{path}");
        assert_eq!((mode, nlink, mtime), (item.mode, 1, item.mtime), "{path}");
        match item.what {
            What::File(bytes) => assert_eq!(size, bytes.len() as u64),
            What::Symlink(target) => assert_eq!(size, target.len() as u64),
            What::CharDevice(device) | What::BlockDevice(device) => {
                assert_eq!(node.attr.device, device, "{path}");
            }
            _ => {}
        }
        let again = layer.attr(node.id).expect("attr");
        assert_eq!((again.kind, again.mode, again.mtime), (kind, mode, mtime), "{path}");
    }
}

fn owners(build: Build<'_>, can: Abilities) {
    if !can.owners {
        return;
    }
    let mut items =
        [Item::file("f", ""), Item::dir("d"), Item::new("l", What::Symlink("x".into()))];
    for item in &mut items {
        item.owner = Some((1234, 56));
    }
    let layer = build(&items);
    for path in ["f", "d", "l"] {
        let attr = walk(&*layer, path).attr;
        assert_eq!((attr.uid, attr.gid), (1234, 56), "{path}");
    }
}

fn symlinks(build: Build<'_>, _: Abilities) {
    let long = vec![b'x'; 4095];
    let layer = build(&[
        Item::dir("d"),
        Item::file("d/f", ""),
        Item::new("to-d", What::Symlink(b"d".to_vec())),
        Item::new("odd", What::Symlink(b"/\xff/../nowhere".to_vec())),
        Item::new("long", What::Symlink(long.clone())),
    ]);
    let link = walk(&*layer, "to-d");
    assert_eq!(link.attr.kind, Kind::Symlink);
    assert_eq!(&*layer.readlink(link.id).expect("readlink"), b"d");
    assert_eq!(&*layer.readlink(walk(&*layer, "odd").id).expect("odd"), b"/\xff/../nowhere");
    assert_eq!(&*layer.readlink(walk(&*layer, "long").id).expect("long"), &*long);
    for path in ["", "d", "d/f"] {
        let error = layer.readlink(walk(&*layer, path).id).expect_err(path);
        assert_eq!(error.errno(), Errno::EINVAL, "{path}");
    }
    assert!(!matches!(layer.slot(link.id, &name("f")), Ok(Slot::Node(_))), "followed");
    assert!(layer.list(link.id).is_err(), "followed");
}

fn whiteouts(build: Build<'_>, _: Abilities) {
    let layer = build(&[
        Item::new("gone", What::Whiteout),
        Item::dir("d"),
        Item::new("d/gone", What::Whiteout),
        Item::file("d/here", ""),
    ]);
    let root = layer.root().expect("root").id;
    let dir = walk(&*layer, "d").id;
    assert_eq!(layer.slot(root, &name("gone")).expect("slot"), Slot::Whiteout);
    assert_eq!(layer.slot(dir, &name("gone")).expect("slot"), Slot::Whiteout);
    assert_eq!(layer.slot(dir, &name(".wh.gone")).expect("slot"), Slot::Absent);
    assert_eq!(
        names(&*layer, root),
        [(b"d".to_vec(), "directory"), (b"gone".to_vec(), "whiteout")]
    );
    assert_eq!(names(&*layer, dir), [(b"gone".to_vec(), "whiteout"), (b"here".to_vec(), "file")]);
}

fn opaque(build: Build<'_>, _: Abilities) {
    let layer = build(&[
        Item::new("o", What::Directory { opaque: true }),
        Item::file("o/f", ""),
        Item::dir("p"),
        Item::new("p/o", What::Directory { opaque: true }),
    ]);
    for (path, opaque) in [("o", true), ("o/f", false), ("p", false), ("p/o", true)] {
        assert_eq!(walk(&*layer, path).opaque, opaque, "{path}");
    }
    let dir = walk(&*layer, "o").id;
    assert_eq!(names(&*layer, dir), [(b"f".to_vec(), "file")], "the mark is no file");
}

/// A directory with some of everything.
fn assorted() -> Vec<Item> {
    let mut items = vec![
        Item::dir("d"),
        Item::dir("d/sub"),
        Item::new("d/opaque", What::Directory { opaque: true }),
        Item::file("d/one", "1"),
        Item::new("d/two", What::HardLink(b"d/one".to_vec())),
        Item::new("d/link", What::Symlink(b"one".to_vec())),
        Item::new("d/gone", What::Whiteout),
    ];
    for n in 0..300 {
        items.push(Item::file(format!("d/file-{n}"), ""));
    }
    items
}

fn list_and_slot(build: Build<'_>, _: Abilities) {
    let items = assorted();
    let layer = build(&items);
    let dir = walk(&*layer, "d").id;
    let mut listed = layer.list(dir).expect("list");
    assert_eq!(listed.len(), items.len() - 1);
    for listed in &listed {
        let slot = layer.slot(dir, &listed.name).expect("slot");
        assert_ne!(slot, Slot::Absent, "{}", listed.name);
        assert_eq!(slot, listed.slot, "{}", listed.name);
    }
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    listed.dedup_by(|a, b| a.name == b.name);
    assert_eq!(listed.len(), items.len() - 1, "a name is listed twice");
}

fn positions(build: Build<'_>, _: Abilities) {
    let layer = build(&assorted());
    let dir = walk(&*layer, "d").id;
    let listed = layer.list(dir).expect("list");
    assert!(listed.windows(2).all(|pair| pair[0].position < pair[1].position), "not ascending");
    assert!(listed.iter().all(|listed| listed.position < 1 << 47));
    assert_eq!(layer.list(dir).expect("list again"), listed);
}

fn hard_links(build: Build<'_>, _: Abilities) {
    let layer = build(&[
        Item::dir("d"),
        Item::file("a", "same"),
        Item::new("d/b", What::HardLink(b"a".to_vec())),
        Item::new("c", What::HardLink(b"d/b".to_vec())),
        Item::file("other", "same"),
    ]);
    let [a, b, c, other] = ["a", "d/b", "c", "other"].map(|path| walk(&*layer, path));
    assert_eq!((b.id, c.id), (a.id, a.id));
    assert_ne!(other.id, a.id);
    assert_eq!([a, b, c, other].map(|node| node.attr.nlink), [3, 3, 3, 1]);
    assert_eq!(bytes(&*layer, b.id), b"same");
}

fn xattrs(build: Build<'_>, can: Abilities) {
    let big = vec![b'v'; 3000];
    let mut items = vec![
        Item::file("f", "").xattr("user.a", "1").xattr("user.empty", "").xattr("user.big", &big),
        Item::new("o", What::Directory { opaque: true }).xattr("user.on-dir", b"\0\xff"),
        Item::file("none", ""),
    ];
    if can.trusted {
        items.push(Item::file("t", "").xattr("trusted.t", "t"));
    }
    let layer = build(&items);
    let file = walk(&*layer, "f").id;
    assert_eq!(&*layer.xattr(file, b"user.a").expect("user.a"), b"1");
    assert_eq!(&*layer.xattr(file, b"user.empty").expect("user.empty"), b"");
    assert_eq!(&*layer.xattr(file, b"user.big").expect("user.big"), &*big);
    let error = layer.xattr(file, b"user.b").expect_err("user.b");
    assert_eq!(error.errno(), Errno::ENODATA);
    let mut all = layer.xattrs(file).expect("xattrs");
    all.sort();
    let all: Vec<(&[u8], &[u8])> = all.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(all, [(&b"user.a"[..], &b"1"[..]), (b"user.big", &big), (b"user.empty", b"")]);
    let dir = walk(&*layer, "o").id;
    let all = layer.xattrs(dir).expect("xattrs");
    assert_eq!(all, [(b"user.on-dir"[..].into(), b"\0\xff"[..].into())], "marks are shown");
    assert_eq!(layer.xattrs(walk(&*layer, "none").id).expect("xattrs"), []);
    if can.trusted {
        assert_eq!(&*layer.xattr(walk(&*layer, "t").id, b"trusted.t").expect("trusted.t"), b"t");
    }
}

fn odd_names(build: Build<'_>, _: Abilities) {
    let odd: [&[u8]; 7] = [&[b'n'; 255], b"\xff\xfe", b"a\nb", b" ", b"...", b"\\x41", b"-rf"];
    let items: Vec<Item> = odd.iter().map(|name| Item::file(name, name)).collect();
    let layer = build(&items);
    let root = layer.root().expect("root").id;
    for base in odd {
        let node = found(&*layer, root, base);
        layer.hold(node.id, root, &name(base));
        assert_eq!(bytes(&*layer, node.id), base);
    }
    assert_eq!(layer.list(root).expect("list").len(), odd.len());
}

fn seeking(build: Build<'_>, _: Abilities) {
    let layer = build(&[Item::file("f", [1; 10_000]), Item::file("empty", "")]);
    let file = walk(&*layer, "f").id;
    assert_eq!(layer.seek(file, 0, Seek::Data).expect("data"), 0);
    assert_eq!(layer.seek(file, 9_999, Seek::Data).expect("data"), 9_999);
    assert_eq!(layer.seek(file, 5, Seek::Hole).expect("hole"), 10_000);
    let empty = walk(&*layer, "empty").id;
    for (node, offset) in [(file, 10_000), (file, 1 << 40), (empty, 0)] {
        for seek in [Seek::Data, Seek::Hole] {
            let error = layer.seek(node, offset, seek).expect_err("past the end");
            assert_eq!(error.errno(), Errno::ENXIO, "{seek:?} at {offset}");
        }
    }
}

fn unknown_nodes(build: Build<'_>, _: Abilities) {
    let layer = build(&[Item::file("f", "x")]);
    for node in [NodeId(u64::MAX), NodeId(0), NodeId(1 << 36)] {
        let mut buf = [0; 4];
        let errors = [
            layer.slot(node, &name("f")).map(drop),
            layer.list(node).map(drop),
            layer.attr(node).map(drop),
            layer.readlink(node).map(drop),
            layer.xattr(node, b"user.a").map(drop),
            layer.xattrs(node).map(drop),
            layer.read_at(node, 0, &mut buf).map(drop),
            layer.seek(node, 0, Seek::Data).map(drop),
        ];
        for (n, result) in errors.into_iter().enumerate() {
            let errno = result.expect_err("an unknown node").errno();
            assert!(matches!(errno, Errno::ESTALE | Errno::EIO), "call {n}: {errno:?}");
        }
        layer.forget(node, 1);
    }
}

fn wrong_kinds(build: Build<'_>, _: Abilities) {
    let layer = build(&[
        Item::dir("d"),
        Item::file("f", "x"),
        Item::new("p", What::Fifo),
        Item::new("l", What::Symlink(b"f".to_vec())),
    ]);
    let mut buf = [0; 4];
    for path in ["d", "p", "l"] {
        let node = walk(&*layer, path).id;
        assert!(layer.read_at(node, 0, &mut buf).is_err(), "read_at of {path}");
        assert!(layer.seek(node, 0, Seek::Data).is_err(), "seek in {path}");
    }
    for path in ["f", "p", "l"] {
        assert!(layer.list(walk(&*layer, path).id).is_err(), "list of {path}");
    }
}

fn holds(build: Build<'_>, _: Abilities) {
    let layer = build(&[Item::dir("d"), Item::file("d/f", "x")]);
    let dir = walk(&*layer, "d").id;
    let node = found(&*layer, dir, b"f").id;
    for _ in 0..3 {
        layer.hold(node, dir, &name("f"));
    }
    layer.forget(node, 2);
    assert_eq!(bytes(&*layer, node), b"x");
    layer.forget(node, 1);
    let node = found(&*layer, dir, b"f").id;
    layer.hold(node, dir, &name("f"));
    assert_eq!(bytes(&*layer, node), b"x");
    let root = layer.root().expect("root").id;
    layer.forget(root, u64::MAX);
    layer.list(root).expect("the root stays");
}

fn threads(build: Build<'_>, _: Abilities) {
    let items: Vec<Item> = (0..40)
        .flat_map(|n| {
            let text = format!("content {n}").repeat(500);
            [Item::dir(format!("{n}")), Item::file(format!("{n}/f"), text)]
        })
        .collect();
    let layer = build(&items);
    std::thread::scope(|scope| {
        for start in 0..4 {
            let layer: &dyn Lower = &*layer;
            scope.spawn(move || {
                for n in (0..80).map(|n| (n * 7 + start) % 40) {
                    let dir = walk(layer, &format!("{n}"));
                    let file = found(layer, dir.id, b"f");
                    layer.hold(file.id, dir.id, &name("f"));
                    assert_eq!(
                        bytes(layer, file.id),
                        format!("content {n}").repeat(500).as_bytes()
                    );
                    layer.forget(file.id, 1);
                    layer.forget(dir.id, 1);
                }
            });
        }
    });
}
