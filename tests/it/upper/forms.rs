//! What is on disk, seen by others.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use mica::testing::conformance::{Item, What, name};
use mica::tree::{Lower as _, Slot};
use mica::upper::{DotWh, FdCache, LowerDir, UpperDir, UpperOptions};

use super::fixture::{Dirs, build, said, shell};

/// What a tree looks like: one line for each file, with kind, mode, size and content.
fn look(root: &Path) -> String {
    shell(&format!(
        "cd {} && find . -printf '%y %m %U %G %s %p\\n' | sed 's/^d \\([^ ]* [^ ]* [^ ]*\\) \
         [0-9]*/d \\1/' | sort -k 6 && find . -type f | sort | xargs -r sha256sum",
        root.display()
    ))
}

#[test]
fn a_layer_unpacked_by_other_tools_is_read_by_its_names() {
    let dirs = Dirs::new(UpperOptions::default());
    let path = dirs.path().join("layer");
    shell(&format!(
        "mkdir -p {0}/d/o {0}/e && cd {0} && touch .wh.gone d/.wh.x d/.wh.both d/both \
         d/o/.wh..wh..opq d/o/f .wh..wh.plnk e/.wh..opq",
        path.display()
    ));
    let lower = LowerDir::open(&path, DotWh::Marks, &FdCache::default()).expect("open");
    let root = lower.root().expect("root").id;
    let mut lines = Vec::new();
    said(&lower, root, "", &mut lines);
    assert_eq!(lines.join(" "), "/d /d/both /d/o* /d/o/f !/d/x /e !/e/.opq !/gone");
    assert_eq!(lower.slot(root, &name(".wh.gone")).expect("slot"), Slot::Absent);
    let plain = LowerDir::open(&path, DotWh::Plain, &FdCache::default()).expect("open");
    assert_eq!(plain.list(plain.root().expect("root").id).expect("list").len(), 4);
}

#[test]
fn a_plain_tree_is_on_disk_as_it_was_described() {
    let dirs = Dirs::new(UpperOptions::default());
    let (path, work) = dirs.pair();
    let upper = UpperDir::open(&path, &work, &dirs.options).expect("open");
    let items = [
        Item::dir("d").mode(0o1750),
        Item::file("d/f", "text").mode(0o640),
        Item::new("d/g", What::HardLink(b"d/f".to_vec())),
        Item::new("l", What::Symlink(b"d/f".to_vec())),
        Item::new("p", What::Fifo).mode(0o604),
        Item::new("w", What::Whiteout),
    ];
    build(&upper, &items);
    let user = std::fs::metadata(&path).expect("metadata");
    let (uid, gid) = (user.uid(), user.gid());
    let seen = look(&path);
    for line in [
        format!("d 1750 {uid} {gid} ./d"),
        format!("f 640 {uid} {gid} 4 ./d/f"),
        format!("f 640 {uid} {gid} 4 ./d/g"),
        format!("p 604 {uid} {gid} 0 ./p"),
    ] {
        assert!(seen.contains(&line), "{line}\n{seen}");
    }
    let whiteout = std::fs::symlink_metadata(path.join("w")).expect("whiteout");
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    assert_eq!(std::fs::metadata(path.join("d/f")).expect("d/f").nlink(), 2);
}
