//! Names, listings, links and renames.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::view::{View, errno, sh};

const ENAMETOOLONG: i32 = 36;

fn listed(dir: &Path) -> BTreeSet<OsString> {
    let names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    let set: BTreeSet<_> = names.iter().cloned().collect();
    assert_eq!(set.len(), names.len(), "no name twice");
    set
}

#[test]
fn a_name_is_any_255_bytes() {
    let odd = OsStr::from_bytes(b"\xff\xfe newline\n tab\t");
    let long = OsString::from("x".repeat(255));
    let mut view = View::new(|lower| {
        fs::write(lower.join(&long), b"long").unwrap();
        fs::write(lower.join(odd), b"odd").unwrap();
    });
    let new = OsString::from("y".repeat(255));
    fs::write(view.path(&new), b"new").unwrap();
    for _ in 0..2 {
        assert_eq!(fs::read(view.path(&long)).unwrap(), b"long");
        assert_eq!(fs::read(view.path(odd)).unwrap(), b"odd");
        let all = BTreeSet::from([long.clone(), odd.to_owned(), new.clone()]);
        assert_eq!(listed(&view.root()), all);
        view.remount();
    }
    let too_long = view.path("x".repeat(256));
    assert_eq!(errno(fs::metadata(&too_long)), ENAMETOOLONG);
    assert_eq!(errno(File::create(&too_long)), ENAMETOOLONG);
    fs::remove_file(view.path(&long)).unwrap();
    view.remount();
    assert_eq!(listed(&view.root()), BTreeSet::from([odd.to_owned(), new]));
}

#[test]
fn a_name_that_was_absent_is_found_once_it_is_made() {
    let view = View::new(|_| {});
    for make in ["echo x > a", "mkdir a", "ln -s t a", "mkfifo a", "echo x > b; mv b a"] {
        assert!(fs::symlink_metadata(view.path("a")).is_err());
        assert!(fs::symlink_metadata(view.path("a")).is_err());
        sh(&view.root(), make);
        assert!(fs::symlink_metadata(view.path("a")).is_ok(), "{make}");
        sh(&view.root(), "rm -rf a");
    }
}

#[test]
fn a_listing_is_complete_while_its_entries_are_deleted() {
    let view = View::new(|lower| {
        for i in 0..2500 {
            fs::write(lower.join(format!("lower-{i}")), b"").unwrap();
        }
    });
    for i in 0..2500 {
        fs::write(view.path(format!("upper-{i}")), b"").unwrap();
    }
    let mut seen = 0;
    for entry in fs::read_dir(view.root()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
        seen += 1;
    }
    assert_eq!(seen, 5000);
    assert_eq!(listed(&view.root()).len(), 0);
    fs::remove_dir_all(view.root()).expect_err("a mount point cannot be removed");
}

#[test]
fn a_large_tree_is_removed_in_one_go() {
    let mut view = View::new(|lower| {
        for dir in 0..5 {
            let path = lower.join(format!("tree/{dir}/deeper"));
            fs::create_dir_all(&path).unwrap();
            for file in 0..300 {
                fs::write(path.join(format!("{file}")), b"x").unwrap();
            }
        }
    });
    sh(&view.root(), "rm -r tree");
    view.remount();
    assert_eq!(listed(&view.root()).len(), 0);
}

#[test]
fn what_a_listing_says_of_a_file_is_what_stat_says() {
    use std::os::unix::fs::DirEntryExt as _;
    let view = View::new(|lower| {
        sh(lower, "mkdir dir; echo a > file; ln -s file link; mkfifo fifo; ln file hard");
    });
    sh(&view.root(), "echo b > new; mkdir made");
    for entry in fs::read_dir(view.root()).unwrap() {
        let entry = entry.unwrap();
        let seen = fs::symlink_metadata(entry.path()).unwrap();
        assert_eq!(entry.ino(), seen.ino(), "{entry:?}");
        assert_eq!(entry.file_type().unwrap(), seen.file_type(), "{entry:?}");
        assert!(seen.ino() < 1 << 48);
    }
}

#[test]
fn hard_links_are_one_file_through_copy_up_and_remount() {
    let mut view = View::new(|lower| sh_drop(lower, "echo x > a; ln a b; mkdir d; ln a d/c"));
    sh(&view.root(), "echo y >> d/c; ln a e");
    for _ in 0..2 {
        let names = ["a", "b", "d/c", "e"];
        let inodes: BTreeSet<_> =
            names.iter().map(|n| fs::metadata(view.path(n)).unwrap().ino()).collect();
        assert_eq!(inodes.len(), 1, "{inodes:?}");
        for name in names {
            assert_eq!(fs::read(view.path(name)).unwrap(), b"x\ny\n", "{name}");
        }
        view.remount();
    }
}

fn sh_drop(dir: &Path, script: &str) {
    sh(dir, script);
}

#[test]
fn the_count_of_links_follows_links_and_unlinks() {
    let view = View::new(|lower| fs::write(lower.join("a"), b"").unwrap());
    let count = |name| fs::metadata(view.path(name)).unwrap().nlink();
    assert_eq!(count("a"), 1);
    fs::hard_link(view.path("a"), view.path("b")).unwrap();
    assert_eq!((count("a"), count("b")), (2, 2));
    fs::remove_file(view.path("a")).unwrap();
    assert_eq!(count("b"), 1);
}

#[test]
fn a_symbolic_link_is_read_and_replaced() {
    let view = View::new(|lower| symlink("old", lower.join("link")).unwrap());
    assert_eq!(fs::read_link(view.path("link")).unwrap(), Path::new("old"));
    sh(&view.root(), "ln -sfn new link");
    assert_eq!(fs::read_link(view.path("link")).unwrap(), Path::new("new"));
    let long = "t".repeat(4095);
    symlink(&long, view.path("long")).unwrap();
    assert_eq!(fs::read_link(view.path("long")).unwrap(), Path::new(&long));
}

#[test]
fn renames_replace_refuse_and_exchange_as_asked() {
    let mut view = View::new(|lower| sh_drop(lower, "echo a > a; echo b > b"));
    let rename = |from: &str, to: &str, flags| {
        renameat_with(CWD, view.path(from), CWD, view.path(to), flags)
    };
    assert_eq!(rename("a", "b", RenameFlags::NOREPLACE), Err(Errno::EXIST));
    assert_eq!(rename("a", "b", RenameFlags::EXCHANGE), Ok(()));
    assert_eq!(rename("a", "none", RenameFlags::EXCHANGE), Err(Errno::NOENT));
    assert_eq!(rename("a", "b", RenameFlags::WHITEOUT), Err(Errno::INVAL));
    assert_eq!(rename("a", "c", RenameFlags::NOREPLACE), Ok(()));
    for _ in 0..2 {
        assert_eq!(sh(&view.root(), "head *"), "==> b <==\na\n\n==> c <==\nb\n");
        view.remount();
    }
}
