//! Directories that a layer has something in without saying what they are like.

use std::sync::Arc;

use mica::testing::mem::MemUpper;
use mica::testing::tar::Tar;
use mica::tree::{Ino, Lower, NewKind, SetAttr, Time};

use super::support::{find, make, view};
use crate::layer::layer;

fn archive(tar: &Tar) -> Arc<dyn Lower> {
    Arc::new(layer(&tar.bytes()))
}

fn base() -> Arc<dyn Lower> {
    archive(
        &Tar::new()
            .dir("./")
            .mode(0o751)
            .dir("tmp")
            .mode(0o1777)
            .owner(3, 4)
            .mtime(1000, 0)
            .xattr("user.kept", "yes")
            .file("tmp/low", "low"),
    )
}

/// What view shows of `/` and of `/tmp`.
fn shown(union: &mica::union::Union) -> (u16, u16, (u32, u32), i64, Vec<u8>) {
    let root = union.attr(Ino::ROOT).unwrap();
    let tmp = find(union, "tmp").unwrap();
    let xattr = union.xattr(tmp.ino, b"user.kept").unwrap().into_vec();
    assert_eq!(union.attr(tmp.ino).unwrap().mode, tmp.attr.mode);
    let (attr, owner) = (tmp.attr, (tmp.attr.uid, tmp.attr.gid));
    (root.mode, attr.mode, owner, attr.mtime.secs, xattr)
}

#[test]
fn a_directory_that_a_layer_only_has_something_in_stays_as_it_was() {
    let top = archive(&Tar::new().file("tmp/high", "high"));
    let upper = Arc::new(MemUpper::new());
    let lowers = [base(), top];
    let expected = (0o751, 0o1777, (3, 4), 1000, b"yes".to_vec());
    // Without an upper layer the root is a lower one, too.
    let stack = mica::union::Stack { lowers: lowers.to_vec(), upper: None };
    let union = mica::union::Union::new(stack, mica::union::Options::default()).unwrap();
    assert_eq!(shown(&union), expected);
    drop(union);

    let union = view(&lowers, &upper);
    for path in ["tmp/low", "tmp/high"] {
        find(&union, path).unwrap();
    }
    // A copy is like what was shown.
    let tmp = find(&union, "tmp").unwrap().ino;
    make(&union, tmp, "new", NewKind::File).unwrap();
    let back = SetAttr {
        mtime: Some(mica::tree::TimeChange::To(Time { secs: 1000, nanos: 0 })),
        ..SetAttr::default()
    };
    union.set_attr(tmp, &back).unwrap();
    let (_, mode, owner, mtime, xattr) = shown(&union);
    assert_eq!((mode, owner, mtime, xattr), (0o1777, (3, 4), 1000, b"yes".to_vec()));
}

#[test]
fn a_directory_that_no_layer_describes_belongs_to_root() {
    let top = archive(&Tar::new().file("only/implied", ""));
    let union = view(&[base(), top], &Arc::new(MemUpper::new()));
    let attr = find(&union, "only").unwrap().attr;
    assert_eq!((attr.mode, attr.uid, attr.gid), (0o755, 0, 0));
}
