//! Opening an upper layer: what is refused, what is cleared up.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use mica::testing::conformance::{Uppers as _, name};
use mica::tree::{Device, Errno, Exchange, Leave, NewKind, NewNode, NodeId, Renamed};
use mica::upper::{DotWh, Error, FdCache, UpperDir, UpperOptions};

use super::fixture::Dirs;

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("read_dir");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("entry").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_directory_that_is_in_use_is_refused_until_it_is_free() {
    let dirs = Dirs::new(UpperOptions::default());
    let (upper, work) = dirs.pair();
    let (other_upper, other_work) = dirs.pair();
    let open = |upper: &Path, work: &Path| UpperDir::open(upper, work, &dirs.options);
    let first = open(&upper, &work).expect("first");
    for (upper, work) in [(&upper, &work), (&upper, &other_work), (&other_upper, &work)] {
        let error = open(upper, work).expect_err("in use");
        assert!(matches!(error, Error::InUse { .. }), "{error}");
        assert_eq!(error.errno(), Errno::EBUSY);
    }
    drop(first);
    open(&upper, &work).expect("free again");
}

#[test]
fn directories_that_do_not_go_together_are_refused() {
    let dirs = Dirs::new(UpperOptions::default());
    let (upper, work) = dirs.pair();
    let within = upper.join("work");
    std::fs::create_dir(&within).expect("within");
    for (upper, work) in [(&upper, &within), (&upper, &upper), (&within, &upper)] {
        let error = UpperDir::open(upper, work, &dirs.options).expect_err("refused");
        assert!(matches!(error, Error::Apart { .. }), "{error}");
    }
    let error = UpperDir::open(Path::new("/dev/shm"), &work, &dirs.options).expect_err("refused");
    assert!(error.to_string().contains("same filesystem"), "{error}");
    let missing = UpperDir::open(&upper.join("missing"), &work, &dirs.options);
    assert_eq!(missing.expect_err("missing").errno(), Errno::ENOENT);
}

#[test]
fn what_a_dead_mount_left_is_cleared_however_deep() {
    let dirs = Dirs::new(UpperOptions::default());
    let (upper, work) = dirs.pair();
    let deep = work.join("work/#1/a/b/c/d");
    std::fs::create_dir_all(&deep).expect("deep");
    std::fs::write(deep.join("file"), "x").expect("file");
    std::fs::write(work.join("work/#2"), "x").expect("file");
    // overlayfs leaves it like this.
    let nobody = Permissions::from_mode(0o000);
    std::fs::set_permissions(work.join("work"), nobody).expect("mode");
    let open = UpperDir::open(&upper, &work, &dirs.options).expect("open");
    assert_eq!(names(&work.join("work")), <[String; 0]>::default());
    assert_eq!(names(&work), ["mica", "work"]);
    drop(open);
}

#[test]
fn nothing_stays_in_the_work_directory_after_any_promise_is_kept() {
    let dirs = Dirs::new(UpperOptions::default());
    let upper = dirs.fresh();
    let root = upper.root().expect("root");
    let new =
        |kind| NewNode { kind, mode: 0o700, uid: root.attr.uid, gid: root.attr.gid, xattrs: &[] };
    for base in ["f", "d", "g"] {
        upper.remove(root.id, &name(base), Leave::Whiteout).expect("whiteout");
    }
    upper.make(root.id, &name("f"), &new(NewKind::File)).expect("f");
    let dir = new(NewKind::Directory { opaque: true });
    let d = upper.make(root.id, &name("d"), &dir).expect("d").id;
    upper.hold(d, root.id, &name("d"));
    upper.remove(d, &name("w"), Leave::Whiteout).expect("w");
    upper.make(root.id, &name("f"), &new(NewKind::Fifo)).expect_err("taken");
    upper.remove(root.id, &name("d"), Leave::Whiteout).expect("remove");
    upper.remove(root.id, &name("f"), Leave::Whiteout).expect("remove");
    assert_eq!(names(&dirs.path().join("0/work/work")), <[String; 0]>::default());
    assert_eq!(names(&dirs.path().join("0/upper")), ["d", "f", "g"]);
}

#[test]
fn nobody_makes_a_whiteout_by_making_a_device() {
    let dirs = Dirs::new(UpperOptions::default());
    let upper = dirs.fresh();
    let root = upper.root().expect("root");
    let kind = NewKind::CharDevice(Device { major: 0, minor: 0 });
    let new = NewNode { kind, mode: 0o600, uid: 0, gid: 0, xattrs: &[] };
    let error = upper.make(root.id, &name("c"), &new).expect_err("refused");
    assert_eq!(error.errno(), Errno::EPERM);
}

#[test]
fn names_that_would_be_marks_cannot_be_made_where_they_are() {
    for (dot_wh, allowed) in [(DotWh::Plain, true), (DotWh::Marks, false)] {
        let dirs = Dirs::new(UpperOptions { dot_wh, ..UpperOptions::default() });
        let upper = dirs.fresh();
        let root = upper.root().expect("root");
        let (uid, gid) = (root.attr.uid, root.attr.gid);
        let new = NewNode { kind: NewKind::File, mode: 0o600, uid, gid, xattrs: &[] };
        let result = upper.make(root.id, &name(".wh.x"), &new);
        assert_eq!(result.is_ok(), allowed);
        if let Err(error) = result {
            assert_eq!(error.errno(), Errno::EINVAL);
        }
    }
}

#[test]
fn few_open_files_are_enough_for_many_nodes() {
    // A quarter of 64 files is the least that is kept open.
    let exe = std::env::current_exe().expect("current_exe");
    let test = "upper::opening::a_thousand_nodes_are_used_in_turn";
    let script = format!("ulimit -n 64 && exec {exe:?} {test} --exact --nocapture");
    let out = std::process::Command::new("sh").args(["-c", &script]).output().expect("sh");
    let text = String::from_utf8_lossy(&out.stdout);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}

#[test]
fn a_thousand_nodes_are_used_in_turn() {
    let dirs = Dirs::new(UpperOptions::default());
    let upper = dirs.fresh();
    let root = upper.root().expect("root");
    let (uid, gid) = (root.attr.uid, root.attr.gid);
    let new = |kind| NewNode { kind, mode: 0o700, uid, gid, xattrs: &[] };
    let mut nodes = Vec::new();
    let mut dir = root.id;
    for n in 0..250_u32 {
        for (base, kind) in [("f", NewKind::File), ("d", NewKind::Directory { opaque: false })] {
            let node = upper.make(dir, &name(base), &new(kind)).expect("make").id;
            upper.hold(node, dir, &name(base));
            if base == "f" {
                upper.write_at(node, 0, &n.to_le_bytes()).expect("write_at");
                nodes.push(node);
            } else {
                dir = node;
            }
        }
    }
    for (n, &node) in (0..250_u32).zip(&nodes).rev() {
        let mut buf = [0; 4];
        assert_eq!(upper.read_at(node, 0, &mut buf).expect("read_at"), 4);
        assert_eq!(u32::from_le_bytes(buf), n);
    }
    let open = std::fs::read_dir("/proc/self/fd").expect("fd").count();
    assert!(open < 5000, "{open} files are open");
}

#[test]
fn a_file_that_is_moved_all_the_time_is_never_mistaken_for_another() {
    let fds = FdCache::new(std::num::NonZeroUsize::MIN);
    let dirs = Dirs::new(UpperOptions { volatile: true, fds, ..UpperOptions::default() });
    let upper = dirs.fresh();
    let root = upper.root().expect("root");
    let (uid, gid) = (root.attr.uid, root.attr.gid);
    let make = |dir, base, kind| {
        let new = NewNode { kind, mode: 0o700, uid, gid, xattrs: &[] };
        let node = upper.make(dir, &name(base), &new).expect("make").id;
        upper.hold(node, dir, &name(base));
        node
    };
    let files = ["one", "two"].map(|base| {
        let dir = make(root.id, base, NewKind::Directory { opaque: false });
        let file = make(dir, "file", NewKind::File);
        upper.write_at(file, 0, base.as_bytes()).expect("write_at");
        (dir, file, base)
    });
    let swap = |from: (NodeId, &str), to: (NodeId, &str)| {
        let (from_name, to_name) = (name(from.1), name(to.1));
        let (from_dir, to_dir) = (from.0, to.0);
        let (exchange, opaque) = (Exchange::Yes, false);
        let (from, to) = (&from_name, &to_name);
        upper.rename(&Renamed { from_dir, from, to_dir, to, exchange, opaque }).expect("rename");
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (_, file, content) in files {
            let (upper, done) = (&upper, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let mut buf = [0; 3];
                    upper.read_at(file, 0, &mut buf).expect("read_at");
                    assert_eq!(buf, content.as_bytes());
                }
            });
        }
        for _ in 0..2000 {
            swap((root.id, "one"), (root.id, "two"));
            swap((files[0].0, "file"), (files[1].0, "file"));
        }
        done.store(true, Ordering::Relaxed);
    });
}
