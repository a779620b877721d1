//! Many threads at once.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use mica::testing::mem::MemUpper;
use mica::tree::{
    Attr, Errno, FsStats, Ino, LayerId, Listed, Lower, Name, NewKind, Node, NodeId, Result, Seek,
    SetAttr, Slot, Xattr, XattrMode,
};
use mica::union::{RenameMode, Union};

use super::support::{bytes, errno, file, find, ino, lower, make, view};
use crate::model::layers::What;
use crate::model::mem_layer::name;

/// A layer whose file of this size is read only when the gate is open.
struct Gated {
    layer: Arc<dyn Lower>,
    slow_size: u64,
    open: Mutex<bool>,
    opened: Condvar,
    reading: mpsc::Sender<()>,
}

impl fmt::Debug for Gated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gated")
    }
}

impl Lower for Gated {
    fn id(&self) -> LayerId {
        self.layer.id()
    }
    fn root(&self) -> Result<Node> {
        self.layer.root()
    }
    fn slot(&self, dir: NodeId, name: &Name) -> Result<Slot> {
        self.layer.slot(dir, name)
    }
    fn list(&self, dir: NodeId) -> Result<Vec<Listed>> {
        self.layer.list(dir)
    }
    fn attr(&self, node: NodeId) -> Result<Attr> {
        self.layer.attr(node)
    }
    fn readlink(&self, node: NodeId) -> Result<Box<[u8]>> {
        self.layer.readlink(node)
    }
    fn xattr(&self, node: NodeId, name: &[u8]) -> Result<Box<[u8]>> {
        self.layer.xattr(node, name)
    }
    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        self.layer.xattrs(node)
    }
    fn read_at(&self, node: NodeId, offset: u64, buf: &mut [u8]) -> Result<usize> {
        // Copying reads in large pieces; what a reader of the test asks for is not delayed.
        if self.layer.attr(node)?.size == self.slow_size && buf.len() > 100 {
            self.reading.send(()).expect("the test waits");
            let mut open = self.open.lock().expect("no panic");
            while !*open {
                open = self.opened.wait(open).expect("no panic");
            }
        }
        self.layer.read_at(node, offset, buf)
    }
    fn seek(&self, node: NodeId, offset: u64, seek: Seek) -> Result<u64> {
        self.layer.seek(node, offset, seek)
    }
    fn stats(&self) -> Result<FsStats> {
        self.layer.stats()
    }
}

fn gated(items: &[(&'static str, What)]) -> (Arc<Gated>, mpsc::Receiver<()>) {
    let (reading, is_reading) = mpsc::channel();
    let (open, opened) = (Mutex::new(false), Condvar::new());
    (Arc::new(Gated { layer: lower(1, items), slow_size: 4000, open, opened, reading }), is_reading)
}

impl Gated {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

#[test]
fn copying_one_file_up_delays_no_other_file_and_no_reader() {
    let slow = "s".repeat(4000);
    let items = [("d/a", file(&slow)), ("d/b", file("b")), ("d/c", file("c"))];
    let (gated, is_reading) = gated(&items);
    let upper = Arc::new(MemUpper::new());
    let union = view(&[Arc::clone(&gated) as Arc<dyn Lower>], &upper);
    let (dir, slow_file) = (ino(&union, "d"), ino(&union, "d/a"));
    let (done, is_done) = mpsc::channel();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| union.write(slow_file, 0, b"new"));
        is_reading.recv().expect("the copy begins");
        let union = &union;
        scope.spawn(move || {
            // All this while the copy waits.
            assert!(bytes(union, "d/a").starts_with("sss"));
            assert_eq!(union.attr(slow_file).unwrap().size, 4000);
            union.write(ino(union, "d/b"), 0, b"B").unwrap();
            union.unlink(dir, &name("c")).unwrap();
            make(union, dir, "e", NewKind::File).unwrap();
            let mode = SetAttr { mode: Some(0o700), ..SetAttr::default() };
            union.set_attr(dir, &mode).unwrap();
            let mut names = 0;
            union
                .list(dir, 0, &mut |_| {
                    names += 1;
                    true
                })
                .unwrap();
            assert_eq!(names, 5);
            done.send(()).unwrap();
        });
        let others = is_done.recv_timeout(Duration::from_secs(20));
        gated.open();
        others.expect("others had to wait for the copy");
        writer.join().unwrap().unwrap();
    });
    assert!(bytes(&union, "d/a").starts_with("newsss"));
    assert_eq!(upper.complaints(), Vec::<String>::new());
}

#[test]
fn a_file_that_is_deleted_while_it_is_copied_up_stays_deleted() {
    let slow = "s".repeat(4000);
    let (gated, is_reading) = gated(&[("d/a", file(&slow))]);
    let upper = Arc::new(MemUpper::new());
    let layers = [Arc::clone(&gated) as Arc<dyn Lower>];
    let union = view(&layers, &upper);
    let (dir, slow_file) = (ino(&union, "d"), ino(&union, "d/a"));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| union.write(slow_file, 0, b"new"));
        is_reading.recv().expect("the copy begins");
        let remover = scope.spawn(|| union.unlink(dir, &name("a")));
        // Time for the unlink to go wrong.
        std::thread::sleep(Duration::from_millis(50));
        gated.open();
        writer.join().unwrap().unwrap();
        remover.join().unwrap().unwrap();
    });
    assert_eq!(errno(union.lookup(dir, &name("a"))), Errno::ENOENT);
    assert_eq!(union.attr(slow_file).unwrap().nlink, 0);
    drop(union);
    assert_eq!(errno(find(&view(&layers, &upper), "d/a")), Errno::ENOENT);
    assert_eq!(upper.complaints(), Vec::<String>::new());
}

/// Does this and that in `dir`, differently for each `seed`; what others do there too may make
/// any of it fail.
fn busy(union: &Union, dir: Ino, seed: u32) {
    let names = ["a", "b", "c", "d"].map(name);
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut dice = move |sides: u32| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state % sides
    };
    for _ in 0..300 {
        let (one, two) = (&names[dice(4) as usize], &names[dice(4) as usize]);
        let found = union.lookup(dir, one).map(|entry| entry.ino);
        let result = match (dice(10), &found) {
            (0, _) => union.unlink(dir, one),
            (1, _) => union.rmdir(dir, one),
            (2, _) => union.rename((dir, one), (dir, two), RenameMode::Replace),
            (3, _) => union.rename((dir, one), (dir, two), RenameMode::Exchange),
            (4, _) => make(union, dir, &one.to_string(), NewKind::File)
                .map(|entry| union.forget(entry.ino, 1)),
            (5, _) => make(union, dir, &one.to_string(), NewKind::Directory { opaque: false })
                .map(|entry| union.forget(entry.ino, 1)),
            (6, Ok(ino)) => union.write(*ino, 0, &seed.to_le_bytes()),
            (7, Ok(ino)) => union.link(*ino, dir, two).map(|entry| union.forget(entry.ino, 1)),
            (8, Ok(ino)) => union.set_xattr(*ino, b"user.x", b"1", XattrMode::Any),
            (9, _) => union.list_plus(dir, 0, &mut |dirent, entry| {
                if dirent.name != b"." && dirent.name != b".." {
                    union.forget(entry.ino, 1);
                }
                true
            }),
            _ => Ok(()),
        };
        if let Err(error) = result {
            let errno = error.errno();
            assert!(errno.raw() != 5 && errno.raw() != 116 && errno.raw() != 11, "{error}");
        }
        if let Ok(ino) = found {
            union.forget(ino, 1);
        }
    }
}

/// Every path with its bytes, kind and number.
fn tree(union: &Union, dir: Ino, at: &str, into: &mut Vec<(String, Ino, Attr, Vec<u8>)>) {
    let mut below = Vec::new();
    union
        .list_plus(dir, 0, &mut |dirent, entry| {
            if dirent.name != b"." && dirent.name != b".." {
                let base = String::from_utf8(dirent.name.to_vec()).unwrap();
                below.push((format!("{at}/{base}"), *entry));
            }
            true
        })
        .unwrap();
    below.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, entry) in below {
        let mut bytes = vec![0; 64];
        let count = union.read(entry.ino, 0, &mut bytes).unwrap_or(0);
        bytes.truncate(count);
        into.push((path.clone(), entry.ino, entry.attr, bytes));
        if entry.attr.kind == mica::tree::Kind::Directory {
            tree(union, entry.ino, &path, into);
        }
        union.forget(entry.ino, 1);
    }
}

#[test]
fn what_many_threads_did_is_the_same_after_a_remount() {
    let dirs = ["a", "b", "c", "d"];
    let items = [
        ("a/a", file("1")),
        ("a/b/c", file("2")),
        ("b/a", file("3")),
        ("b/d", super::support::DIR),
        ("c/c", file("4")),
    ];
    for round in 0..20 {
        let upper = Arc::new(MemUpper::new());
        let layers = [lower(1, &items), lower(2, &[("d/d", file("5")), ("a/b/d", file("6"))])];
        let union = view(&layers, &upper);
        // Two threads in each directory, and moves between directories by all.
        std::thread::scope(|scope| {
            for (n, dir) in (0..).zip(dirs.iter().chain(&dirs)) {
                let dir = ino(&union, dir);
                let union = &union;
                scope.spawn(move || busy(union, dir, 8 * round + n + 1));
            }
            let union = &union;
            scope.spawn(move || {
                let inos = dirs.map(|dir| ino(union, dir));
                for n in 0..200 {
                    let (from, to) = (inos[n % 4], inos[n / 4 % 4]);
                    let base = name(dirs[n / 16 % 4]);
                    if let Err(error) =
                        union.rename((from, &base), (to, &base), RenameMode::Replace)
                    {
                        assert!(error.errno().raw() != 5 && error.errno().raw() != 116, "{error}");
                    }
                }
            });
        });
        let mut before = Vec::new();
        tree(&union, Ino::ROOT, "", &mut before);
        drop(union);
        assert_eq!(upper.complaints(), Vec::<String>::new());
        assert_eq!((upper.held(), upper.orphans()), (0, 0), "round {round}");
        let mut after = Vec::new();
        tree(&view(&layers, &upper), Ino::ROOT, "", &mut after);
        assert_eq!(before, after, "round {round}");
    }
}
