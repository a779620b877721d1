//! Mounting, being unmounted, and unmounting.

use std::fs::{self, File};
use std::path::Path;

use mica::fuse::{Error, Means, MountOptions};
use mica::sys::mount::Busy;

use crate::view::{View, errno, is_root, options, sh};

const ENOENT: i32 = 2;
const ENOTDIR: i32 = 20;
const EROFS: i32 = 30;
const EBUSY: i32 = 16;

/// The line of this process's mount table for `at`.
fn mounted(at: &Path) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let at = at.canonicalize().unwrap_or_else(|_| at.to_owned());
    table.lines().find(|l| l.split(' ').nth(1) == at.to_str()).map(str::to_owned)
}

#[test]
fn the_mount_table_names_the_source_and_the_type() {
    let source = "registry.example/app:1, with spaces\\".into();
    let view = View::with(MountOptions { source, ..options() }, |_| {});
    let line = mounted(&view.root()).expect("a mount");
    let fields: Vec<_> = line.split(' ').collect();
    assert_eq!(fields[0], "registry.example/app:1,\\040with\\040spaces\\134");
    assert_eq!(fields[2], "fuse.mica");
    assert!(fields[3].contains("default_permissions"), "{line}");
}

#[test]
fn a_view_unmounted_from_outside_ends_its_session() {
    let mut view = View::new(|_| {});
    let session = view.take_session();
    let root = view.root();
    let waiter = std::thread::spawn(move || session.wait());
    sh(Path::new("/"), &format!("{} '{}'", unmount_command(), root.display()));
    waiter.join().unwrap().expect("an orderly end");
    assert_eq!(mounted(&root), None);
}

fn unmount_command() -> &'static str {
    if is_root() { "umount" } else { "fusermount3 -u" }
}

#[test]
fn a_dropped_session_leaves_no_mount_even_when_in_use() {
    let mut view = View::new(|lower| fs::write(lower.join("file"), b"x").unwrap());
    let file = File::open(view.path("file")).unwrap();
    drop(view.take_session());
    assert_eq!(mounted(&view.root()), None);
    drop(file);
}

#[test]
fn a_view_in_use_is_busy_and_can_be_detached() {
    let mut view = View::new(|lower| fs::write(lower.join("file"), b"text").unwrap());
    let session = view.take_session();
    let unmounter = session.unmounter();
    let file = File::open(view.path("file")).unwrap();
    match unmounter.unmount(Busy::Refuse) {
        Err(Error::Unmount { source, .. }) => assert_eq!(source.errno(), EBUSY),
        Err(Error::Refused { said, .. }) => assert!(said.contains("busy"), "{said}"),
        other => panic!("{other:?}"),
    }
    unmounter.unmount(Busy::Detach).unwrap();
    assert_eq!(mounted(&view.root()), None);
    assert_eq!(std::io::read_to_string(&file).unwrap(), "text");
    drop(file);
    session.wait().unwrap();
    unmounter.unmount(Busy::Refuse).expect("nothing is left to do");
}

#[test]
fn another_mount_at_the_same_place_is_left_alone() {
    if crate::view::cannot_without_root() {
        return;
    }
    let mut view = View::new(|_| {});
    let session = view.take_session();
    let root = view.root();
    sh(Path::new("/"), &format!("mount -t tmpfs over '{}'", root.display()));
    session.unmounter().unmount(Busy::Detach).unwrap();
    assert!(mounted(&root).is_some());
    sh(Path::new("/"), &format!("umount '{}'", root.display()));
    session.unmount().unwrap();
}

#[test]
fn a_read_only_mount_refuses_changes() {
    let options = MountOptions { read_only: true, ..options() };
    let view = View::with(options, |lower| fs::write(lower.join("file"), b"x").unwrap());
    assert_eq!(fs::read(view.path("file")).unwrap(), b"x");
    assert_eq!(errno(fs::write(view.path("file"), b"y")), EROFS);
    assert_eq!(errno(fs::create_dir(view.path("dir"))), EROFS);
    assert_eq!(errno(fs::remove_file(view.path("file"))), EROFS);
}

#[test]
fn a_place_that_is_no_directory_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["lower", "upper", "work"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    fs::write(dir.path().join("file"), b"").unwrap();
    for (name, why) in [("none", ENOENT), ("file", ENOTDIR)] {
        let union = crate::stack::union(dir.path());
        let error = mica::fuse::serve(union, &dir.path().join(name), &options()).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        let Error::Mountpoint { source, .. } = error else { panic!("{error:?}") };
        assert_eq!(source.raw_os_error(), Some(why));
    }
}

#[test]
fn the_helper_mounts_and_unmounts() {
    let options = MountOptions { means: Means::Helper, source: "a,b".into(), ..options() };
    let mut view = View::with(options, |lower| fs::write(lower.join("file"), b"x").unwrap());
    assert_eq!(fs::read(view.path("file")).unwrap(), b"x");
    let line = mounted(&view.root()).expect("a mount");
    assert!(line.starts_with("a,b ") && line.contains(" fuse.mica "), "{line}");
    view.remount();
    view.take_session().unmount().unwrap();
    assert_eq!(mounted(&view.root()), None);
}
