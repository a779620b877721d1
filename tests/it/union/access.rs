//! Attributes, inheritance, sizes, and what it costs to change them.

use std::sync::Arc;

use mica::testing::mem::{Copied, MemUpper};
use mica::tree::{Errno, FsStats, Ino, NewKind, NewNode, Seek, SetAttr, SyncMode, XattrMode};
use mica::union::{Caller, Options, Stack, Union};

use super::support::{DIR, bytes, errno, file, find, ino, lower, make, owner, squashed, view};
use crate::model::mem_layer::name;

#[test]
fn where_one_user_owns_all_a_change_of_owner_succeeds_and_changes_nothing() {
    let upper = Arc::new(MemUpper::new());
    let union = squashed(&[lower(1, &[("a", file("x")), ("d", DIR)])], &upper);
    assert_eq!(owner(&find(&union, "a").unwrap().attr), (77, 78));
    let chown = SetAttr { uid: Some(5), gid: Some(6), ..SetAttr::default() };
    let attr = union.set_attr(ino(&union, "a"), &chown).unwrap();
    assert_eq!(owner(&attr), (77, 78));
    assert_eq!(upper.changes(), 0, "it was copied up for nothing");
    let both = SetAttr { mode: Some(0o600), ..chown };
    let attr = union.set_attr(ino(&union, "a"), &both).unwrap();
    assert_eq!((owner(&attr), attr.mode), ((77, 78), 0o600));
    let made = make(&union, ino(&union, "d"), "b", NewKind::File).unwrap();
    assert_eq!(owner(&made.attr), (77, 78));
    // The upper layer got files of that owner, and no other.
    drop(union);
    let plain = view(&[], &upper);
    for path in ["a", "d", "d/b"] {
        assert_eq!(owner(&find(&plain, path).unwrap().attr), (77, 78), "{path}");
    }
}

#[test]
fn cutting_a_file_copies_only_what_stays() {
    let text = "0123456789".repeat(1000);
    for (size, expected) in [(0, 0), (4, 4), (20_000, 10_000)] {
        let upper = Arc::new(MemUpper::new());
        let union = view(&[lower(1, &[("a", file(&text))])], &upper);
        let cut = SetAttr { size: Some(size), ..SetAttr::default() };
        assert_eq!(union.set_attr(ino(&union, "a"), &cut).unwrap().size, size);
        assert_eq!(upper.copied(), Copied { files: 1, bytes: expected });
    }
    // With a change that may be refused, all is copied: a refusal must not have cost bytes.
    let upper = Arc::new(MemUpper::new());
    let union = view(&[lower(1, &[("a", file(&text))])], &upper);
    let cut = SetAttr { size: Some(0), uid: Some(1), ..SetAttr::default() };
    union.set_attr(ino(&union, "a"), &cut).unwrap();
    assert_eq!(upper.copied().bytes, 10_000);
}

/// A default list: the owner all, user 1000 all, the group and others read and search.
const DEFAULT_ACL: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 0xe8, 3, 0, 0, 4, 0, 5, 0, 255, 255,
    255, 255, 16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255,
];

#[test]
fn new_files_inherit_the_default_acl_instead_of_the_umask() {
    const DEFAULT: &[u8] = b"system.posix_acl_default";
    const ACCESS: &[u8] = b"system.posix_acl_access";
    let upper = Arc::new(MemUpper::new());
    let union = view(&[lower(1, &[("d", DIR)])], &upper);
    let dir = ino(&union, "d");
    let caller = Caller { uid: 1, gid: 1, umask: 0o077 };
    let new = |kind| NewNode { kind, mode: 0o777, uid: 0, gid: 0, xattrs: &[] };
    let make = |base: &str, kind| union.make(dir, &name(base), &new(kind), &caller).unwrap();
    let mkdir = NewKind::Directory { opaque: false };
    assert_eq!(make("before", NewKind::File).attr.mode, 0o700);
    union.set_xattr(dir, DEFAULT, &DEFAULT_ACL, XattrMode::Any).unwrap();
    let made = make("file", NewKind::File);
    assert_eq!(made.attr.mode, 0o775);
    assert_eq!(*union.xattr(made.ino, ACCESS).unwrap(), DEFAULT_ACL);
    assert_eq!(errno(union.xattr(made.ino, DEFAULT)), Errno::ENODATA);
    let made = make("dir", mkdir);
    assert_eq!(*union.xattr(made.ino, DEFAULT).unwrap(), DEFAULT_ACL);
    assert_eq!(union.xattrs(make("link", NewKind::Symlink(b"x")).ino).unwrap(), []);
    union.remove_xattr(dir, DEFAULT).unwrap();
    assert_eq!(make("after", NewKind::File).attr.mode, 0o700);
    union.set_xattr(dir, DEFAULT, b"nonsense", XattrMode::Any).unwrap();
    assert_eq!(errno(union.make(dir, &name("x"), &new(mkdir), &caller)), Errno::EIO);
}

#[test]
fn new_files_in_a_set_group_id_directory_get_its_group_also_after_it_changes() {
    let upper = Arc::new(MemUpper::new());
    let union = view(&[lower(1, &[("d", DIR)])], &upper);
    let dir = ino(&union, "d");
    assert_eq!(make(&union, dir, "a", NewKind::File).unwrap().attr.gid, 0);
    let change = SetAttr { mode: Some(0o2755), gid: Some(9), ..SetAttr::default() };
    union.set_attr(dir, &change).unwrap();
    assert_eq!(make(&union, dir, "b", NewKind::File).unwrap().attr.gid, 9);
    let made = make(&union, dir, "c", NewKind::Directory { opaque: false }).unwrap().attr;
    assert_eq!((made.gid, made.mode), (9, 0o2666));
}

#[test]
fn a_deleted_directory_is_empty_and_stays_so() {
    let upper = Arc::new(MemUpper::new());
    let union = view(&[lower(1, &[("d/a", file("x")), ("e", DIR)])], &upper);
    let dir = ino(&union, "d");
    union.unlink(dir, &name("a")).unwrap();
    union.rmdir(Ino::ROOT, &name("d")).unwrap();
    assert_eq!(union.attr(dir).unwrap().nlink, 0);
    assert_eq!(errno(union.lookup(dir, &name("a"))), Errno::ENOENT);
    assert_eq!(errno(make(&union, dir, "b", NewKind::File)), Errno::ENOENT);
    make(&union, Ino::ROOT, "f", NewKind::File).unwrap();
    let (from, to) = ((Ino::ROOT, &name("f")), (dir, &name("f")));
    let mode = mica::union::RenameMode::Replace;
    assert_eq!(errno(union.rename(from, to, mode)), Errno::ENOENT);
    // The one with a part in the upper layer can still be changed, the other one cannot.
    let chmod = SetAttr { mode: Some(0o700), ..SetAttr::default() };
    assert_eq!(union.set_attr(dir, &chmod).unwrap().mode, 0o700);
    let lower_only = ino(&union, "e");
    union.rmdir(Ino::ROOT, &name("e")).unwrap();
    assert_eq!(errno(union.set_attr(lower_only, &chmod)), Errno::ENOENT);
}

#[test]
fn a_listing_goes_on_where_it_was_after_a_remount() {
    let upper = Arc::new(MemUpper::new());
    let layers = [lower(1, &[("d/a", file("x")), ("d/b", file("x"))]), lower(2, &[("d/c", DIR)])];
    let mut seen = Vec::new();
    let mut offset = 0;
    for step in 0..8 {
        let union = view(&layers, &upper);
        let dir = ino(&union, "d");
        if step == 0 {
            make(&union, dir, "e", NewKind::File).unwrap();
            make(&union, dir, "f", NewKind::File).unwrap();
        }
        let start = offset;
        let mut taken = false;
        union
            .list(dir, start, &mut |dirent| {
                if taken {
                    return false;
                }
                seen.push(String::from_utf8(dirent.name.to_vec()).unwrap());
                (taken, offset) = (true, dirent.next);
                true
            })
            .unwrap();
        // Copied up, what is seen already and what is not yet keep their places.
        union.write(ino(&union, "d/a"), 0, b"y").unwrap();
    }
    assert_eq!(seen, [".", "..", "a", "b", "c", "e", "f"]);
}

#[test]
fn a_deleted_lower_file_can_be_changed_until_it_is_forgotten() {
    let upper = Arc::new(MemUpper::new());
    let union = view(&[lower(1, &[("a", file("lower"))])], &upper);
    let file = ino(&union, "a");
    union.unlink(Ino::ROOT, &name("a")).unwrap();
    assert_eq!(upper.copied().files, 0, "deleting copied it");
    union.write(file, 5, b" and more").unwrap();
    let mut buf = [0; 20];
    let count = union.read(file, 0, &mut buf).unwrap();
    assert_eq!(&buf[..count], b"lower and more");
    assert_eq!(union.attr(file).unwrap().nlink, 0);
    assert_eq!(errno(union.link(file, Ino::ROOT, &name("b"))), Errno::ENOENT);
    union.forget(file, 1);
    assert_eq!(upper.orphans(), 0);
    assert_eq!(errno(union.attr(file)), Errno::ESTALE);
}

#[test]
fn holes_are_found_and_kept() {
    let upper = Arc::new(MemUpper::new());
    let union = view(&[lower(1, &[("a", file("lower"))])], &upper);
    let file = ino(&union, "a");
    assert_eq!(union.seek(file, 1, Seek::Data).unwrap(), 1);
    assert_eq!(union.seek(file, 1, Seek::Hole).unwrap(), 5);
    assert_eq!(errno(union.seek(file, 5, Seek::Data)), Errno::ENXIO);
    assert_eq!(upper.changes(), 0);
    union.allocate(file, 0, 1 << 20, 0).unwrap();
    assert_eq!(union.attr(file).unwrap().size, 1 << 20);
    union.sync(file, SyncMode::All).unwrap();
    let made = make(&union, Ino::ROOT, "b", NewKind::File).unwrap().ino;
    union.write(made, 1 << 20, b"end").unwrap();
    assert_eq!(union.seek(made, 0, Seek::Data).unwrap(), 1 << 20);
    // A range is copied from the one to the other, in pieces if need be.
    assert_eq!(union.copy_range((file, 0), (made, 0), 5).unwrap(), 5);
    assert!(bytes(&union, "b").starts_with("lower"));
    assert_eq!(errno(union.copy_range((made, u64::MAX), (file, 0), 1)), Errno::EOVERFLOW);
}

#[test]
fn sizes_are_those_of_the_upper_layer_or_nothing_is_free() {
    let layers = [lower(1, &[("a", file("x"))]), lower(2, &[])];
    let upper = Arc::new(MemUpper::new());
    let stats = view(&layers, &upper).stats().unwrap();
    assert_eq!((stats.blocks, stats.free), (2000, 1000));
    let stack = Stack { lowers: layers.to_vec(), upper: None };
    let stats = Union::new(stack, Options::default()).unwrap().stats().unwrap();
    let expected = FsStats { block_size: 4096, blocks: 2000, files: 2000, ..FsStats::default() };
    assert_eq!(stats, expected);
}

#[test]
fn a_view_of_no_layers_is_refused() {
    let stack = Stack { lowers: Vec::new(), upper: None };
    assert_eq!(errno(Union::new(stack, Options::default())), Errno::EINVAL);
}
