//! Running a case on a view of the layers, and comparing it with the oracle after every step.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mica::tree::{Device, Errno, Kind, Time};

use super::layers::Path;
use super::op::{Op, SLOTS};
use super::oracle::{Content, Expected, Id, Oracle, ROOT, target_of};

/// All that a view shows of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) ino: u64,
    pub(crate) kind: Kind,
    pub(crate) mode: u16,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: Time,
    pub(crate) nlink: u32,
    pub(crate) device: Device,
    pub(crate) size: u64,
    /// Of a regular file.
    pub(crate) bytes: Option<Vec<u8>>,
    /// Of a symbolic link.
    pub(crate) target: Option<Vec<u8>>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What an operation returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Returned {
    Done,
    Bytes(Vec<u8>),
    Count(u64),
    /// The next names of a directory, without `.` and `..`; fewer than asked for at the end.
    Names(Vec<Vec<u8>>),
}

/// Something that shows the layers and can be operated on.
pub(crate) trait View {
    /// Whether an operation on the files of the oracle has a meaning here.
    fn takes(&self, _oracle: &Oracle, _op: &Op) -> bool {
        true
    }

    fn apply(&mut self, op: &Op) -> Result<Returned, Errno>;

    /// All files by path, the root included.
    fn walk(&mut self) -> BTreeMap<Path, Shown>;

    /// The names in the directory that is open as a slot, from the start.
    fn names(&mut self, slot: usize) -> Vec<Vec<u8>>;

    /// The file that is open as a slot.
    fn slot(&mut self, slot: usize) -> Shown;

    /// From now on this many changes of the upper layer succeed, and the others fail; `None` is
    /// all. Returns whether any has failed since the last time this was called.
    fn fail_after(&mut self, changes: Option<u64>) -> bool;

    /// Checks what only this view has; called after every operation.
    fn check(&mut self, op: &Op, done: bool, open: usize);
}

/// How far the listing of an open directory has come.
#[derive(Debug)]
struct Cursor {
    dir: Id,
    /// What is there from the start until now.
    steady: BTreeMap<&'static str, Id>,
    /// What was seen, and as which file.
    seen: BTreeSet<(Vec<u8>, Option<Id>)>,
}

/// A case: the oracle, and what was learned of the view.
pub(crate) struct Case {
    pub(crate) oracle: Oracle,
    /// The inode number of each file that was ever seen.
    inos: HashMap<Id, u64>,
    cursors: [Option<Cursor>; SLOTS],
    /// Whether times are to be compared.
    pub(crate) times: bool,
    /// Whether the numbers of links of directories, and of files without a name, are to be
    /// compared.
    pub(crate) all_links: bool,
    /// Whether every operation is tried with failures of the upper layer first.
    pub(crate) failures: bool,
    /// After how many operations the trees are compared.
    pub(crate) every: usize,
}

impl Case {
    pub(crate) fn new(oracle: Oracle) -> Self {
        let (inos, cursors) = (HashMap::new(), [const { None }; SLOTS]);
        Self { oracle, inos, cursors, times: true, all_links: true, failures: false, every: 1 }
    }

    /// Runs the operations on the view.
    pub(crate) fn run(&mut self, view: &mut dyn View, ops: &[Op]) {
        self.compare(view);
        for (n, op) in (1..).zip(ops.iter().chain([&Op::Remount])) {
            let removal = match op {
                Op::RemoveTree(path) => self.oracle.removal(path),
                _ => Vec::new(),
            };
            for op in removal.iter().chain([op]) {
                self.step(view, op);
            }
            if n % self.every == 0 || n > ops.len() {
                self.compare(view);
            }
        }
    }

    fn step(&mut self, view: &mut dyn View, op: &Op) {
        let mut after = self.oracle.clone();
        let expected = after.apply(op);
        if expected == Ok(Expected::Skip) || !view.takes(&self.oracle, op) {
            return;
        }
        let returned = if self.failures { self.fail(view, op) } else { view.apply(op) };
        self.oracle = after;
        self.follow(op);
        match (&expected, &returned) {
            (Err(expected), Err(errno)) if expected == errno => {}
            (Ok(Expected::Done), Ok(Returned::Done)) => {}
            (Ok(Expected::Bytes(expected)), Ok(Returned::Bytes(bytes))) if expected == bytes => {}
            (Ok(Expected::Count(expected)), Ok(Returned::Count(count))) if expected == count => {}
            (Ok(Expected::Names), Ok(Returned::Names(names))) => self.listed(op, names),
            _ => panic!("{op:?}: {returned:?} instead of {expected:?}"),
        }
        let open = self.oracle.slots.iter().flatten().count();
        view.check(op, expected.is_ok(), open);
    }

    /// Tries an operation with one change of the upper layer more succeeding each time, until it
    /// succeeds. What fails shows nothing of it.
    fn fail(&mut self, view: &mut dyn View, op: &Op) -> Result<Returned, Errno> {
        for changes in 0.. {
            view.fail_after(Some(changes));
            let returned = view.apply(op);
            if !view.fail_after(None) {
                return returned;
            }
            assert_eq!(returned, Err(Errno::ENOSPC), "{op:?} with {changes} changes");
            self.compare(view);
        }
        unreachable!("an operation makes no end of changes")
    }

    /// Keeps what is known of listings up to date.
    fn follow(&mut self, op: &Op) {
        for slot in 0..SLOTS {
            let opened = matches!(op, Op::Open { slot: opened, .. } if *opened == slot);
            let names = self.oracle.slots[slot].and_then(|id| {
                let Content::Directory(names) = &self.oracle.files[id].content else {
                    return None;
                };
                Some((id, names))
            });
            match (&mut self.cursors[slot], names) {
                (Some(cursor), Some((dir, names))) if !opened && cursor.dir == dir => {
                    cursor.steady.retain(|name, id| names.get(name) == Some(id));
                }
                (cursor, Some((dir, names))) => {
                    let (steady, seen) = (names.clone(), BTreeSet::new());
                    *cursor = Some(Cursor { dir, steady, seen });
                }
                (cursor, None) => *cursor = None,
            }
        }
    }

    fn listed(&mut self, op: &Op, names: &[Vec<u8>]) {
        let Op::List { slot, count } = op else { panic!("{op:?} lists nothing") };
        let cursor = self.cursors[*slot].as_mut().expect("a directory is open");
        let there = self.oracle.names(cursor.dir).clone();
        for name in names {
            let text = std::str::from_utf8(name).expect("a name of the model");
            let id = there.get(text).copied();
            assert!(id.is_some(), "{text} is listed, but gone");
            let first = cursor.seen.insert((name.clone(), id));
            // What came meanwhile may stand in two places, one after the other.
            let steady = cursor.steady.get(text).copied() == id;
            assert!(first || !steady, "{text} is listed twice");
        }
        if names.len() < *count {
            for (name, id) in &cursor.steady {
                let seen = cursor.seen.contains(&(name.as_bytes().to_vec(), Some(*id)));
                assert!(seen, "{name} was there all the time, but is not listed");
            }
        }
    }

    /// Compares everything.
    fn compare(&mut self, view: &mut dyn View) {
        let shown = view.walk();
        let mut expected = Vec::new();
        self.paths(ROOT, &mut Vec::new(), &mut expected);
        let expected_paths: Vec<&Path> = expected.iter().map(|(path, _)| path).collect();
        let mut paths: Vec<&Path> = shown.keys().collect();
        paths.sort();
        assert_eq!(paths, expected_paths, "the names differ");
        let mut current: HashMap<u64, Id> = HashMap::new();
        for (path, id) in &expected {
            self.compare_file(&format!("{path:?}"), *id, &shown[path], &mut current);
        }
        for slot in 0..SLOTS {
            if let Some(id) = self.oracle.slots[slot] {
                let shown = view.slot(slot);
                self.compare_file(&format!("slot {slot}"), id, &shown, &mut current);
                if self.oracle.is_deleted_dir(id) {
                    let names = view.names(slot);
                    assert!(names.is_empty(), "a deleted directory still has {names:?}");
                }
            }
        }
    }

    fn paths(&self, dir: Id, at: &mut Path, into: &mut Vec<(Path, Id)>) {
        into.push((at.clone(), dir));
        let Content::Directory(names) = &self.oracle.files[dir].content else { return };
        for (name, id) in names {
            at.push(name);
            self.paths(*id, at, into);
            at.pop();
        }
    }

    fn compare_file(&mut self, at: &str, id: Id, shown: &Shown, current: &mut HashMap<u64, Id>) {
        let file = &self.oracle.files[id];
        assert_eq!(shown.kind, file.kind(), "{at}: kind");
        if !self.oracle.is_deleted_dir(id) {
            assert_eq!(shown.mode, file.mode, "{at}: mode");
            assert_eq!(shown.owner, file.owner, "{at}: owner");
            let xattrs = file.xattrs.iter().map(|(k, v)| (k.as_bytes().to_vec(), v.clone()));
            assert_eq!(shown.xattrs, xattrs.collect(), "{at}: extended attributes");
            if let (Some(mtime), true) = (file.mtime, self.times) {
                assert_eq!(shown.mtime, mtime, "{at}: mtime");
            }
        }
        match (shown.kind, file.nlink) {
            (Kind::Directory, _) | (_, Some(0)) if !self.all_links => {}
            (Kind::Directory, Some(0)) => assert_eq!(shown.nlink, 0, "{at}: nlink"),
            (Kind::Directory, _) => assert_eq!(shown.nlink, 1, "{at}: nlink"),
            (_, Some(nlink)) => assert_eq!(shown.nlink, nlink, "{at}: nlink"),
            (_, None) => {
                let named = !at.starts_with("slot");
                assert!(shown.nlink > 0 || !named, "{at}: a file with a name has no links");
            }
        }
        match &file.content {
            Content::File(bytes) => {
                assert_eq!(shown.bytes.as_ref(), Some(bytes), "{at}: bytes");
                assert_eq!(shown.size, bytes.len() as u64, "{at}: size");
            }
            Content::Special(_, device) => assert_eq!(shown.device, *device, "{at}: device"),
            Content::Directory(_) | Content::Symlink => {}
        }
        assert_eq!(shown.target.as_deref(), target_of(file), "{at}: target");
        let ino = *self.inos.entry(id).or_insert(shown.ino);
        assert_eq!(shown.ino, ino, "{at}: the inode number is another one than before");
        let owner = *current.entry(ino).or_insert(id);
        assert_eq!(owner, id, "{at}: inode number {ino:x} belongs to another file");
    }
}
