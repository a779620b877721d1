//! The cases of [`Upper`](crate::tree::Upper) about copying up.

use super::upper::{dir, whiteout};
use super::{Abilities, Uppers, bytes, name, names, owner, walk};
use crate::tree::{
    Attr, CopyUp, Data, Device, Errno, Error, Kind, LayerId, Leave, Node, NodeId, Origin, Place,
    Result, Seek, SetAttr, Slot, Time, TimeChange, Xattr,
};

/// Bytes of a lower file: a hole of `hole` zeros, then `tail`.
struct Sparse<'a> {
    hole: u64,
    tail: &'a [u8],
}

impl Data for Sparse<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let end = self.hole + self.tail.len() as u64;
        let n = buf.len().min(usize::try_from(end.saturating_sub(offset)).expect("small"));
        for (at, byte) in (offset..).zip(&mut buf[..n]) {
            let at = at.checked_sub(self.hole).and_then(|at| usize::try_from(at).ok());
            *byte = at.map_or(0, |at| self.tail[at]);
        }
        Ok(n)
    }

    fn seek(&self, offset: u64, seek: Seek) -> Result<u64> {
        let end = self.hole + self.tail.len() as u64;
        match seek {
            _ if offset >= end => Err(Errno::ENXIO.into()),
            Seek::Data if self.tail.is_empty() => Err(Errno::ENXIO.into()),
            Seek::Data => Ok(offset.max(self.hole)),
            Seek::Hole if offset < self.hole => Ok(offset),
            Seek::Hole => Ok(end),
        }
    }
}

/// Bytes that cannot be read.
struct Broken;

impl Data for Broken {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        if offset > 0 {
            return Err(Error::new(Errno::EIO, "broken"));
        }
        buf.fill(b'b');
        Ok(buf.len())
    }

    fn seek(&self, offset: u64, seek: Seek) -> Result<u64> {
        Ok(if seek == Seek::Data { offset } else { 1 << 24 })
    }
}

/// A lower file's attributes: times, mode and owner that nobody gets by chance.
fn lower_attr(kind: Kind, size: u64, owner: (u32, u32)) -> Attr {
    let time = |secs, nanos| Time { secs, nanos };
    Attr {
        kind,
        mode: if kind == Kind::Symlink { 0o777 } else { 0o4750 },
        uid: owner.0,
        gid: owner.1,
        size,
        blocks: 0,
        nlink: 1,
        device: Device::default(),
        atime: time(1_111_111_111, 1),
        mtime: time(-9, 123_456_789),
        ctime: time(5, 5),
    }
}

const ORIGIN: Origin =
    Origin { layer: LayerId(*b"\x00\x01layer\xff"), node: NodeId(0x12_3456_789a) };

fn up<'a>(attr: &'a Attr, data: Option<&'a dyn Data>) -> CopyUp<'a> {
    let keep = attr.size;
    CopyUp { attr, xattrs: &[], target: b"", data, keep, origin: ORIGIN, index: false }
}

fn kept(node: &Node, attr: &Attr) {
    let seen = (node.attr.kind, node.attr.mode, node.attr.uid, node.attr.gid);
    assert_eq!(seen, (attr.kind, attr.mode, attr.uid, attr.gid));
    assert_eq!((node.attr.atime, node.attr.mtime), (attr.atime, attr.mtime), "times");
}

pub(super) fn copy_up_file(uppers: &dyn Uppers, can: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 253) as u8).collect();
    let data = Sparse { hole: 0, tail: &content };
    let attr = lower_attr(Kind::File, content.len() as u64, owner(can, &*upper));
    let xattrs: [Xattr; 2] = [
        (b"user.a"[..].into(), b"1"[..].into()),
        (b"user.overlay.opaque"[..].into(), b"y"[..].into()),
    ];
    let place = Place::Entry { dir: root, name: &name("f") };
    let node =
        upper.copy_up(place, &CopyUp { xattrs: &xattrs, ..up(&attr, Some(&data)) }).expect("up");
    kept(&node, &attr);
    assert_eq!((node.attr.size, node.attr.nlink, node.origin), (attr.size, 1, Some(ORIGIN)));
    upper.hold(node.id, root, &name("f"));
    let upper = uppers.reopen(upper);
    let node = walk(&*upper, "f");
    kept(&node, &attr);
    assert_eq!(node.origin, Some(ORIGIN), "the origin is recorded");
    let mut all = upper.xattrs(node.id).expect("xattrs");
    all.sort();
    assert_eq!(all, xattrs);
    assert_eq!(bytes(&*upper, node.id), content);
}

pub(super) fn copy_up_kinds(uppers: &dyn Uppers, can: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let owner = owner(can, &*upper);
    let mut kinds = vec![Kind::Directory, Kind::Symlink, Kind::Fifo, Kind::Socket];
    if can.devices {
        kinds.extend([Kind::CharDevice, Kind::BlockDevice]);
    }
    for kind in kinds {
        let base = name(format!("{kind:?}"));
        let device = Device { major: 5, minor: 1000 };
        let attr = Attr { device, ..lower_attr(kind, 6, owner) };
        let target: &[u8] = if kind == Kind::Symlink { b"target" } else { b"" };
        let place = Place::Entry { dir: root, name: &base };
        let node = upper.copy_up(place, &CopyUp { target, ..up(&attr, None) }).expect("copy_up");
        kept(&node, &attr);
        assert_eq!((node.attr.nlink, node.opaque), (1, false), "{base}");
        assert_eq!(upper.slot(root, &base).expect("slot"), Slot::Node(node), "{base}");
        upper.hold(node.id, root, &base);
        match kind {
            Kind::Symlink => assert_eq!(&*upper.readlink(node.id).expect("readlink"), b"target"),
            Kind::CharDevice | Kind::BlockDevice => assert_eq!(node.attr.device, device),
            _ => {}
        }
        if kind == Kind::Directory || can.origin_of_special {
            assert_eq!(node.origin, Some(ORIGIN), "{base}");
        }
    }
}

pub(super) fn copy_up_holes(uppers: &dyn Uppers, can: Abilities) {
    const HOLE: u64 = 64 << 20;
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    for (base, tail) in [("tail", &b"the end"[..]), ("hole-only", b"")] {
        let attr = lower_attr(Kind::File, HOLE + tail.len() as u64, owner(can, &*upper));
        let data = Sparse { hole: HOLE, tail };
        let place = Place::Entry { dir: root, name: &name(base) };
        let node = upper.copy_up(place, &up(&attr, Some(&data))).expect("copy_up");
        upper.hold(node.id, root, &name(base));
        assert_eq!(node.attr.size, attr.size);
        assert!(node.attr.blocks <= 64, "{} blocks", node.attr.blocks);
        let mut buf = [1; 8];
        let n = upper.read_at(node.id, HOLE - 1, &mut buf).expect("read_at");
        assert_eq!(buf[..n], *[b"\0", tail].concat());
        assert_eq!(upper.seek(node.id, 0, Seek::Hole).expect("a hole"), 0);
    }
}

pub(super) fn copy_up_keep(uppers: &dyn Uppers, can: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let attr = lower_attr(Kind::File, 10, owner(can, &*upper));
    let data = Sparse { hole: 0, tail: b"0123456789" };
    for (base, keep, expected) in [("none", 0, &b""[..]), ("some", 4, b"0123")] {
        let place = Place::Entry { dir: root, name: &name(base) };
        let node = upper.copy_up(place, &CopyUp { keep, ..up(&attr, Some(&data)) }).expect(base);
        upper.hold(node.id, root, &name(base));
        assert_eq!(bytes(&*upper, node.id)[..], *expected, "{base}");
    }
}

pub(super) fn copy_up_place(uppers: &dyn Uppers, can: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let d = dir(&*upper, root, "d");
    whiteout(&*upper, d, "f");
    whiteout(&*upper, d, "sub");
    let time = Some(TimeChange::To(Time { secs: 77, nanos: 7 }));
    let old = SetAttr { atime: time, mtime: time, ..SetAttr::default() };
    upper.set_attr(d, &old).expect("set_attr");
    let attr = lower_attr(Kind::File, 1, owner(can, &*upper));
    let place = Place::Entry { dir: d, name: &name("f") };
    upper.copy_up(place, &up(&attr, Some(&Sparse { hole: 0, tail: b"x" }))).expect("file");
    let attr = lower_attr(Kind::Directory, 1, owner(can, &*upper));
    let place = Place::Entry { dir: d, name: &name("sub") };
    upper.copy_up(place, &up(&attr, None)).expect("directory");
    assert_eq!(names(&*upper, d), [(b"f".to_vec(), "file"), (b"sub".to_vec(), "directory")]);
    let mtime = upper.attr(d).expect("attr").mtime;
    assert_eq!(mtime, Time { secs: 77, nanos: 7 }, "the directory did not change for anyone");
}

pub(super) fn copy_up_fails(uppers: &dyn Uppers, can: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let attr = lower_attr(Kind::File, 1 << 24, owner(can, &*upper));
    let place = Place::Entry { dir: root, name: &name("f") };
    let from = CopyUp { index: true, ..up(&attr, Some(&Broken)) };
    let error = upper.copy_up(place, &from).expect_err("broken");
    assert_eq!(error.errno(), Errno::EIO);
    assert_eq!(upper.list(root).expect("list"), []);
    assert_eq!(upper.indexed(ORIGIN).expect("indexed"), None);
}

pub(super) fn orphan(uppers: &dyn Uppers, can: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let attr = lower_attr(Kind::File, 4, owner(can, &*upper));
    let data = Sparse { hole: 0, tail: b"data" };
    let node = upper.copy_up(Place::Orphan, &up(&attr, Some(&data))).expect("copy_up");
    assert_eq!(node.attr.nlink, 0);
    upper.hold_nameless(node.id);
    upper.write_at(node.id, 4, b"base").expect("write_at");
    assert_eq!(bytes(&*upper, node.id), b"database");
    let mode = SetAttr { mode: Some(0o600), ..SetAttr::default() };
    assert_eq!(upper.set_attr(node.id, &mode).expect("set_attr").mode, 0o600);
    assert_eq!(upper.list(root).expect("list"), []);
    upper.forget(node.id, 1);
    let upper = uppers.reopen(upper);
    assert_eq!(upper.list(root).expect("list"), []);
}

pub(super) fn index(uppers: &dyn Uppers, can: Abilities) {
    let upper = uppers.fresh();
    let root = upper.root().expect("root").id;
    let other = Origin { node: NodeId(ORIGIN.node.0 + 1), ..ORIGIN };
    let attr = Attr { nlink: 2, ..lower_attr(Kind::File, 4, owner(can, &*upper)) };
    let data = Sparse { hole: 0, tail: b"data" };
    let place = Place::Entry { dir: root, name: &name("a") };
    let from = CopyUp { index: true, ..up(&attr, Some(&data)) };
    let node = upper.copy_up(place, &from).expect("copy_up");
    upper.hold(node.id, root, &name("a"));
    assert_eq!(node.attr.nlink, 1, "the index is no name");
    let d = dir(&*upper, root, "d");
    let upper = uppers.reopen(upper);
    let indexed = upper.indexed(ORIGIN).expect("indexed").expect("is found");
    assert_eq!((indexed.id, indexed.attr.nlink), (node.id, 1));
    assert_eq!(indexed.origin, Some(ORIGIN));
    assert_eq!(upper.indexed(other).expect("indexed"), None);
    walk(&*upper, "d");
    upper.hold_nameless(node.id);
    upper.write_at(node.id, 4, b"base").expect("by the index alone");
    assert_eq!(upper.link(node.id, d, &name("b")).expect("link").nlink, 2);
    assert_eq!(walk(&*upper, "d/b").id, node.id);
    upper.remove(root, &name("a"), Leave::Whiteout).expect("remove");
    assert_eq!(upper.attr(node.id).expect("attr").nlink, 1);
    assert_eq!(bytes(&*upper, node.id), b"database");
    let again = upper.indexed(ORIGIN).expect("indexed").expect("is found");
    assert_eq!((again.id, again.attr.nlink), (node.id, 1));
}
