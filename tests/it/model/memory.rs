//! The union over layers in memory, driven as the kernel drives it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mica::testing::mem::{Copied, Dumped, MemUpper};
use mica::tree::{
    Attr, Errno, Ino, Kind, Lower, Name, NewKind, NewNode, SetAttr, TimeChange, XattrMode,
};
use mica::union::{Caller, Dirent, Entry, Options, RenameMode, Stack, Union};

use super::above::Above;
use super::layers::{Layer, NAMES, Path, TARGET};
use super::mem_layer::{mem_layer, name};
use super::op::{Change, MakeKind, Op, Rename, SLOTS, Set, Target};
use super::oracle::Oracle;
use super::view::{Returned, Shown, View};

type Result<T> = std::result::Result<T, Errno>;

/// Who is told when a name is not used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caching {
    /// Every lookup is forgotten as soon as it has served.
    Nothing,
    /// Lookups are kept until [`Op::Forget`].
    Everything,
}

#[derive(Debug)]
struct Opened {
    ino: Ino,
    /// Where listing goes on.
    offset: u64,
}

#[derive(Debug)]
pub(crate) struct Memory {
    lowers: Vec<Arc<dyn Lower>>,
    upper: Above,
    union: Option<Union>,
    caching: Caching,
    kept: HashMap<Ino, u64>,
    slots: [Option<Opened>; SLOTS],
    /// The tree of the lower layers alone.
    base: Oracle,
    changes: u64,
    copied: Copied,
}

impl Memory {
    /// The union of these layers, from bottom to top, under an upper layer.
    pub(crate) fn new(layers: &[Layer], stack: &[usize], upper: Above, caching: Caching) -> Self {
        let mems: Vec<Arc<dyn Lower>> = (0..)
            .zip(layers)
            .map(|(number, layer)| Arc::new(mem_layer(layer, number)) as Arc<dyn Lower>)
            .collect();
        let mut memory = Self {
            lowers: stack.iter().map(|&at| Arc::clone(&mems[at])).collect(),
            upper,
            union: None,
            caching,
            kept: HashMap::new(),
            slots: [const { None }; SLOTS],
            base: Oracle::new(stack.iter().map(|&at| &layers[at]), false),
            changes: 0,
            copied: Copied::default(),
        };
        memory.mount();
        memory
    }

    fn mount(&mut self) {
        // The old view lets go of everything before the new one takes hold.
        self.union = None;
        if let Some(upper) = self.upper.memory() {
            assert_eq!(upper.held(), 0, "nodes are held after the view has ended");
            assert_eq!(upper.orphans(), 0, "files without a name are left");
        }
        let stack = Stack { lowers: self.lowers.clone(), upper: self.upper.open() };
        self.union = Some(Union::new(stack, Options::default()).expect("a view"));
    }

    fn union(&self) -> &Union {
        self.union.as_ref().expect("mounted")
    }

    /// Takes note of a lookup that the union counted.
    fn looked_up(&mut self, ino: Ino) {
        *self.kept.entry(ino).or_default() += 1;
    }

    /// Gives back all lookups.
    fn forget_all(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        for (ino, count) in kept {
            self.union().forget(ino, count);
        }
    }

    fn lookup(&mut self, dir: Ino, base: &str) -> Result<Entry> {
        let entry = self.union().lookup(dir, &name(base)).map_err(|error| error.errno())?;
        self.looked_up(entry.ino);
        Ok(entry)
    }

    fn find(&mut self, path: &[&'static str]) -> Result<Ino> {
        let mut at = Ino::ROOT;
        for base in path {
            at = self.lookup(at, base)?.ino;
        }
        Ok(at)
    }

    fn parent(&mut self, path: &Path) -> Result<(Ino, Name)> {
        let (base, dir) = path.split_last().expect("not the root");
        let dir = self.find(dir)?;
        match self.union().attr(dir).map_err(|error| error.errno())?.kind {
            Kind::Directory => Ok((dir, name(base))),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn target(&mut self, target: &Target) -> Result<Ino> {
        match target {
            Target::Path(path) => self.find(path),
            Target::Slot(slot) => Ok(self.slots[*slot].as_ref().expect("open").ino),
        }
    }

    fn carry_out(&mut self, op: &Op) -> Result<Returned> {
        match op {
            Op::Make { path, kind, mode, umask, uid } => {
                let (dir, base) = self.parent(path)?;
                let kind = match kind {
                    MakeKind::File => NewKind::File,
                    MakeKind::Directory => NewKind::Directory { opaque: false },
                    MakeKind::Symlink => NewKind::Symlink(TARGET),
                    MakeKind::Fifo => NewKind::Fifo,
                    MakeKind::Socket => NewKind::Socket,
                    MakeKind::CharDevice(device) => NewKind::CharDevice(*device),
                };
                let new = NewNode { kind, mode: *mode, uid: 0, gid: 0, xattrs: &[] };
                let caller = Caller { uid: *uid, gid: uid + 10, umask: *umask };
                let entry =
                    self.union().make(dir, &base, &new, &caller).map_err(|error| error.errno())?;
                self.looked_up(entry.ino);
                let attr = self.union().attr(entry.ino).map_err(|error| error.errno())?;
                assert_eq!(entry.attr, attr, "the attributes of a new file");
            }
            Op::Read { at } => {
                let ino = self.target(at)?;
                return self.bytes(ino).map(Returned::Bytes);
            }
            Op::Write { at, offset, data } => {
                let ino = self.target(at)?;
                self.union().write(ino, *offset, data).map_err(|error| error.errno())?;
            }
            Op::Change { at, change } => {
                let ino = self.target(at)?;
                let change = set_attr(*change);
                let attr = self.union().set_attr(ino, &change).map_err(|error| error.errno())?;
                assert_eq!(
                    attr,
                    self.union().attr(ino).map_err(|error| error.errno())?,
                    "after the change"
                );
            }
            Op::CopyRange { from, to, from_offset, to_offset, len } => {
                let (from, to) = (self.target(from)?, self.target(to)?);
                let (from, to) = ((from, *from_offset), (to, *to_offset));
                let count =
                    self.union().copy_range(from, to, *len).map_err(|error| error.errno())?;
                return Ok(Returned::Count(count));
            }
            Op::SetXattr { at, name, value, set } => {
                let ino = self.target(at)?;
                let mode = match set {
                    Set::Any => XattrMode::Any,
                    Set::Create => XattrMode::Create,
                    Set::Replace => XattrMode::Replace,
                };
                self.union()
                    .set_xattr(ino, name.as_bytes(), value, mode)
                    .map_err(|error| error.errno())?;
            }
            Op::RemoveXattr { at, name } => {
                let ino = self.target(at)?;
                self.union().remove_xattr(ino, name.as_bytes()).map_err(|error| error.errno())?;
            }
            _ => return self.change_names(op),
        }
        Ok(Returned::Done)
    }

    fn change_names(&mut self, op: &Op) -> Result<Returned> {
        match op {
            Op::Unlink(path) => {
                let (dir, base) = self.parent(path)?;
                self.union().unlink(dir, &base).map_err(|error| error.errno())?;
            }
            Op::Rmdir(path) => {
                let (dir, base) = self.parent(path)?;
                self.union().rmdir(dir, &base).map_err(|error| error.errno())?;
            }
            Op::Rename { from, to, how } => {
                let (from, to) = (self.parent(from)?, self.parent(to)?);
                let mode = match how {
                    Rename::Replace => RenameMode::Replace,
                    Rename::NoReplace => RenameMode::NoReplace,
                    Rename::Exchange => RenameMode::Exchange,
                };
                let (from, to) = ((from.0, &from.1), (to.0, &to.1));
                self.union().rename(from, to, mode).map_err(|error| error.errno())?;
            }
            Op::Link { from, to } => {
                let ino = self.target(from)?;
                let (dir, base) = self.parent(to)?;
                let entry = self.union().link(ino, dir, &base).map_err(|error| error.errno())?;
                self.looked_up(entry.ino);
                assert_eq!(entry.ino, ino);
                assert_eq!(
                    entry.attr,
                    self.union().attr(ino).map_err(|error| error.errno())?,
                    "after the link"
                );
            }
            Op::Open { slot, path } => {
                self.close(*slot);
                let ino = self.find(path)?;
                if !path.is_empty() {
                    // The slot has a lookup of its own.
                    let (dir, base) = self.parent(path)?;
                    self.union().lookup(dir, &base).map_err(|error| error.errno())?;
                }
                self.slots[*slot] = Some(Opened { ino, offset: 0 });
            }
            Op::Close { slot } => self.close(*slot),
            Op::List { slot, count } => return self.list(*slot, *count).map(Returned::Names),
            Op::Forget => self.forget_all(),
            Op::Remount => {
                self.slots = [const { None }; SLOTS];
                self.kept.clear();
                self.mount();
            }
            other => panic!("{other:?} is no operation on names"),
        }
        Ok(Returned::Done)
    }

    fn close(&mut self, slot: usize) {
        if let Some(Opened { ino, .. }) = self.slots[slot].take() {
            self.union().forget(ino, 1);
        }
    }

    fn list(&mut self, slot: usize, count: usize) -> Result<Vec<Vec<u8>>> {
        let Opened { ino, offset: start } = *self.slots[slot].as_ref().expect("open");
        let mut offset = start;
        let mut names = Vec::new();
        let mut sink = |dirent: Dirent<'_>| {
            if names.len() == count {
                return false;
            }
            assert!(dirent.next > offset && dirent.next < 1 << 63);
            offset = dirent.next;
            if dirent.name != b"." && dirent.name != b".." {
                names.push(dirent.name.to_vec());
            }
            true
        };
        self.union().list(ino, start, &mut sink).map_err(|error| error.errno())?;
        self.slots[slot] = Some(Opened { ino, offset });
        Ok(names)
    }

    fn bytes(&self, ino: Ino) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let mut buf = [0xaa; 7];
            let offset = bytes.len() as u64;
            let count = self.union().read(ino, offset, &mut buf).map_err(|error| error.errno())?;
            bytes.extend_from_slice(&buf[..count]);
            if count < buf.len() {
                return Ok(bytes);
            }
        }
    }

    fn shown(&self, ino: Ino, attr: &Attr) -> Shown {
        let union = self.union();
        let bytes = (attr.kind == Kind::File).then(|| self.bytes(ino).expect("bytes"));
        let target =
            (attr.kind == Kind::Symlink).then(|| union.readlink(ino).expect("target").into());
        let xattrs = union.xattrs(ino).expect("xattrs").into_iter();
        let xattrs = xattrs.map(|(name, value)| (name.into(), value.into()));
        Shown {
            ino: ino.raw(),
            kind: attr.kind,
            mode: attr.mode,
            owner: (attr.uid, attr.gid),
            mtime: attr.mtime,
            nlink: attr.nlink,
            device: attr.device,
            size: attr.size,
            bytes,
            target,
            xattrs: xattrs.collect(),
        }
    }

    /// The entries of a directory, in two calls, and compared with what a plain listing says.
    fn entries(&mut self, dir: Ino) -> Vec<(&'static str, Entry)> {
        let mut entries: Vec<(Vec<u8>, Entry)> = Vec::new();
        let mut offset = 0;
        for most in [3, usize::MAX] {
            let (mut left, start) = (most, offset);
            let mut sink = |dirent: Dirent<'_>, entry: &Entry| {
                if left == 0 {
                    return false;
                }
                left -= 1;
                assert!(dirent.next > offset, "cookies ascend");
                assert_eq!((dirent.ino, dirent.kind), (entry.ino, entry.attr.kind));
                offset = dirent.next;
                entries.push((dirent.name.to_vec(), *entry));
                true
            };
            self.union().list_plus(dir, start, &mut sink).expect("list_plus");
        }
        let mut plain = Vec::new();
        let mut sink = |dirent: Dirent<'_>| {
            plain.push((dirent.name.to_vec(), dirent.ino));
            true
        };
        self.union().list(dir, 0, &mut sink).expect("list");
        let listed: Vec<_> =
            entries.iter().map(|(name, entry)| (name.clone(), entry.ino)).collect();
        assert_eq!(plain, listed, "list and list_plus differ");
        assert_eq!((&*plain[0].0, &*plain[1].0), (&b"."[..], &b".."[..]));
        let entries = entries.split_off(2).into_iter().map(|(name, entry)| {
            self.looked_up(entry.ino);
            let known = NAMES.iter().find(|known| known.as_bytes() == name);
            (*known.expect("a name of the model"), entry)
        });
        entries.collect()
    }

    /// The upper layer holds nothing it need not.
    fn check_upper(&self, upper: &MemUpper) {
        assert_eq!(upper.complaints(), Vec::<String>::new());
        let dump = upper.dump();
        let opaque: Vec<&Vec<Name>> = dump
            .iter()
            .filter(|(_, dumped)| *dumped == Dumped::Directory { opaque: true })
            .map(|(path, _)| path)
            .collect();
        for (path, dumped) in &dump {
            if *dumped != Dumped::Whiteout {
                continue;
            }
            let within = |dir: &&&Vec<Name>| path.starts_with(dir);
            let hidden = opaque.iter().find(within);
            assert!(hidden.is_none(), "a whiteout at {path:?} in an opaque directory");
            let names: Vec<&'static str> = path
                .iter()
                .map(|part| {
                    *NAMES.iter().find(|known| known.as_bytes() == part.as_bytes()).unwrap()
                })
                .collect();
            assert!(self.base.find(&names).is_ok(), "a whiteout at {path:?} hides nothing");
        }
    }
}

impl View for Memory {
    fn apply(&mut self, op: &Op) -> Result<Returned> {
        let returned = self.carry_out(op);
        if self.caching == Caching::Nothing {
            self.forget_all();
        }
        returned
    }

    fn walk(&mut self) -> BTreeMap<Path, Shown> {
        let mut all = BTreeMap::new();
        let root = self.union().attr(Ino::ROOT).expect("the root");
        let mut dirs = vec![(Vec::new(), Ino::ROOT)];
        all.insert(Vec::new(), self.shown(Ino::ROOT, &root));
        while let Some((path, dir)) = dirs.pop() {
            for (base, listed) in self.entries(dir) {
                let path: Path = [&path[..], &[base]].concat();
                let entry = self.lookup(dir, base).expect("a name that is listed");
                // Another name of it may have been read since.
                let atime = entry.attr.atime;
                let listed = Entry { attr: Attr { atime, ..listed.attr }, ..listed };
                assert_eq!(entry, listed, "{path:?}: lookup and listing differ");
                let attr = self.union().attr(entry.ino).expect("attr");
                assert_eq!(entry.attr, attr, "{path:?}: lookup and attr differ");
                all.insert(path.clone(), self.shown(entry.ino, &attr));
                if attr.kind == Kind::Directory {
                    dirs.push((path, entry.ino));
                }
            }
        }
        if self.caching == Caching::Nothing {
            self.forget_all();
        }
        all
    }

    fn names(&mut self, slot: usize) -> Vec<Vec<u8>> {
        let ino = self.slots[slot].as_ref().expect("open").ino;
        let mut names = Vec::new();
        let mut sink = |dirent: Dirent<'_>| {
            names.push(dirent.name.to_vec());
            true
        };
        self.union().list(ino, 0, &mut sink).expect("list");
        names.split_off(2)
    }

    fn slot(&mut self, slot: usize) -> Shown {
        let ino = self.slots[slot].as_ref().expect("open").ino;
        let attr = self.union().attr(ino).expect("attr");
        self.shown(ino, &attr)
    }

    fn fail_after(&mut self, changes: Option<u64>) -> bool {
        self.upper.memory().is_some_and(|upper| upper.fail_after(changes))
    }

    fn check(&mut self, op: &Op, done: bool, open: usize) {
        let Some(upper) = self.upper.memory() else { return };
        self.check_upper(&upper);
        let reads = matches!(op, Op::Read { .. } | Op::Open { .. } | Op::List { .. });
        let changes = upper.changes();
        if reads || !done {
            assert_eq!(changes, self.changes, "{op:?} changed the upper layer");
        }
        self.changes = changes;
        let copied = upper.copied();
        if matches!(op, Op::Unlink(_) | Op::Rmdir(_)) {
            assert_eq!(copied, self.copied, "{op:?} copied a file");
        }
        self.copied = copied;
        if self.caching == Caching::Nothing && open == 0 {
            assert_eq!(upper.held(), 0, "nodes are held, but nobody uses them");
        }
    }
}

fn set_attr(change: Change) -> SetAttr {
    let none = SetAttr::default();
    match change {
        Change::Mode(mode) => SetAttr { mode: Some(mode), ..none },
        Change::Owner(uid, gid) => SetAttr { uid: Some(uid), gid: Some(gid), ..none },
        Change::Size(size) => SetAttr { size: Some(size), ..none },
        Change::Mtime(time) => SetAttr { mtime: Some(TimeChange::To(time)), ..none },
    }
}
