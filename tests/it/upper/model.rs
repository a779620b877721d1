//! Random changes, compared with a tree in memory after each of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use mica::testing::conformance::{Uppers as _, name};
use mica::tree::{
    Attr, CopyUp, Data, Device, Errno, Exchange, Kind, LayerId, Leave, Listed, NewKind, NewNode,
    NodeId, Origin, Place, Renamed, Result, Seek, SetAttr, Slot, Time, Upper, XattrMode,
};
use mica::upper::{DotWh, FdCache, MarkFamily, UpperOptions, WhiteoutForm};
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use super::fixture::Dirs;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

#[derive(Debug, Clone)]
enum Op {
    Make { dir: usize, name: usize, kind: usize },
    CopyUp { dir: usize, name: usize, index: bool },
    Remove { dir: usize, name: usize, whiteout: bool },
    Rename { from: (usize, usize), to: (usize, usize), swap: bool, whiteout: bool, opaque: bool },
    Link { node: usize, dir: usize, name: usize },
    Write { node: usize, offset: u64, byte: u8 },
    Cut { node: usize, size: u64 },
    Mode { node: usize, mode: u16 },
    Attribute { node: usize, value: u8 },
    Forget,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0..64_usize;
    let at = || (0..64_usize, 0..NAMES.len());
    prop_oneof![
        4 => (at(), 0..4_usize).prop_map(|((dir, name), kind)| Op::Make { dir, name, kind }),
        2 => (at(), any::<bool>()).prop_map(|((dir, name), index)| Op::CopyUp { dir, name, index }),
        4 => (at(), any::<bool>()).prop_map(|((dir, name), whiteout)| {
            Op::Remove { dir, name, whiteout }
        }),
        4 => (at(), at(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(from, to, swap, whiteout, opaque)| Op::Rename { from, to, swap, whiteout, opaque }
        ),
        2 => (n.clone(), at()).prop_map(|(node, (dir, name))| Op::Link { node, dir, name }),
        2 => (n.clone(), 0..5000_u64, any::<u8>()).prop_map(|(node, offset, byte)| {
            Op::Write { node, offset, byte }
        }),
        1 => (n.clone(), 0..3000_u64).prop_map(|(node, size)| Op::Cut { node, size }),
        1 => (n.clone(), 0..0o1000_u16).prop_map(|(node, mode)| Op::Mode { node, mode }),
        1 => (n, any::<u8>()).prop_map(|(node, value)| Op::Attribute { node, value }),
        1 => proptest::strategy::Just(Op::Forget),
        1 => proptest::strategy::Just(Op::Reopen),
    ]
}

#[derive(Debug, Clone)]
enum What {
    File(Vec<u8>),
    Dir { opaque: bool, entries: BTreeMap<String, Option<NodeId>> },
    Link,
}

#[derive(Debug, Clone)]
struct Node {
    what: What,
    mode: u16,
    attribute: Option<u8>,
    origin: Option<Origin>,
    /// Names that the layer was told are in use.
    holds: u64,
}

struct Model {
    dirs: Dirs,
    upper: Option<Arc<dyn Upper>>,
    root: NodeId,
    nodes: BTreeMap<NodeId, Node>,
    next_origin: u64,
}

struct Bytes(&'static [u8]);

impl Data for Bytes {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let rest = &self.0[usize::try_from(offset).expect("small").min(self.0.len())..];
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn seek(&self, offset: u64, seek: Seek) -> Result<u64> {
        Ok(if seek == Seek::Data { offset } else { self.0.len() as u64 })
    }
}

impl Model {
    fn new(options: UpperOptions) -> Self {
        let dirs = Dirs::new(options);
        let upper = dirs.fresh();
        let root = upper.root().expect("root").id;
        let what = What::Dir { opaque: false, entries: BTreeMap::new() };
        let node = Node { what, mode: 0o755, attribute: None, origin: None, holds: 1 };
        let upper = Some(upper);
        Self { dirs, upper, root, nodes: BTreeMap::from([(root, node)]), next_origin: 1 }
    }

    fn upper(&self) -> &dyn Upper {
        &**self.upper.as_ref().expect("open")
    }

    fn entries(&self, dir: NodeId) -> &BTreeMap<String, Option<NodeId>> {
        match &self.nodes[&dir].what {
            What::Dir { entries, .. } => entries,
            _ => panic!("no directory"),
        }
    }

    fn entries_mut(&mut self, dir: NodeId) -> &mut BTreeMap<String, Option<NodeId>> {
        match &mut self.nodes.get_mut(&dir).expect("known").what {
            What::Dir { entries, .. } => entries,
            _ => panic!("no directory"),
        }
    }

    /// The names that lead to a node.
    fn names_of(&self, node: NodeId) -> u32 {
        let dirs = self.nodes.values().filter_map(|known| match &known.what {
            What::Dir { entries, .. } => Some(entries),
            _ => None,
        });
        let names = dirs.flat_map(BTreeMap::values).filter(|named| **named == Some(node));
        u32::try_from(names.count()).expect("few")
    }

    fn is_dir(&self, node: NodeId) -> bool {
        matches!(self.nodes[&node].what, What::Dir { .. })
    }

    fn pick_dir(&self, n: usize) -> NodeId {
        let live = |id: &NodeId| *id == self.root || self.names_of(*id) > 0;
        let dirs: Vec<NodeId> =
            self.nodes.keys().copied().filter(|id| self.is_dir(*id) && live(id)).collect();
        dirs[n % dirs.len()]
    }

    fn pick(&self, n: usize) -> NodeId {
        *self.nodes.keys().nth(n % self.nodes.len()).expect("the root at least")
    }

    /// Whether `dir` is `node` or below it.
    fn within(&self, dir: NodeId, node: NodeId) -> bool {
        dir == node
            || self.is_dir(node)
                && self.entries(node).values().flatten().any(|inner| self.within(dir, *inner))
    }

    fn only_whiteouts(&self, node: NodeId) -> bool {
        self.is_dir(node) && self.entries(node).values().all(Option::is_none)
    }

    fn enter(&mut self, dir: NodeId, base: &str, id: NodeId, node: Node) {
        self.upper().hold(id, dir, &name(base));
        self.nodes.insert(id, node);
        self.entries_mut(dir).insert(base.into(), Some(id));
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Make { dir, name, kind } => self.make(self.pick_dir(dir), NAMES[name], kind),
            Op::CopyUp { dir, name, index } => {
                self.copy_up(self.pick_dir(dir), NAMES[name], index);
            }
            Op::Remove { dir, name, whiteout } => {
                self.remove(self.pick_dir(dir), NAMES[name], whiteout);
            }
            Op::Rename { from, to, swap, whiteout, opaque } => {
                let from = (self.pick_dir(from.0), NAMES[from.1]);
                let to = (self.pick_dir(to.0), NAMES[to.1]);
                self.rename(from, to, swap, whiteout, opaque);
            }
            Op::Link { node, dir, name } => {
                self.link(self.pick(node), self.pick_dir(dir), NAMES[name]);
            }
            Op::Write { .. } | Op::Cut { .. } | Op::Mode { .. } | Op::Attribute { .. } => {
                self.change(op);
            }
            Op::Forget => self.forget(),
            Op::Reopen => self.reopen(),
        }
    }

    fn make(&mut self, dir: NodeId, base: &str, kind: usize) {
        let (new_kind, what) = match kind {
            0 => (NewKind::File, What::File(Vec::new())),
            1 => (NewKind::Symlink(b"there"), What::Link),
            n => {
                let opaque = n == 3;
                let what = What::Dir { opaque, entries: BTreeMap::new() };
                (NewKind::Directory { opaque }, what)
            }
        };
        let owner = self.upper().root().expect("root").attr;
        let new =
            NewNode { kind: new_kind, mode: 0o700, uid: owner.uid, gid: owner.gid, xattrs: &[] };
        let result = self.upper().make(dir, &name(base), &new);
        if self.entries(dir).get(base).is_some_and(Option::is_some) {
            assert_eq!(result.expect_err("taken").errno(), Errno::EEXIST);
            return;
        }
        let id = result.expect("make").id;
        let mode = if kind == 1 { 0o777 } else { 0o700 };
        self.enter(dir, base, id, Node { what, mode, attribute: None, origin: None, holds: 1 });
    }

    fn copy_up(&mut self, dir: NodeId, base: &str, index: bool) {
        if self.entries(dir).get(base).is_some_and(Option::is_some) {
            return;
        }
        let time = Time { secs: 1_000, nanos: 1 };
        let owner = self.upper().root().expect("root").attr;
        let attr = Attr {
            kind: Kind::File,
            mode: 0o640,
            size: 5,
            blocks: 0,
            nlink: 1,
            device: Device::default(),
            atime: time,
            mtime: time,
            ctime: time,
            ..owner
        };
        let origin = Origin { layer: LayerId([9; 8]), node: NodeId(self.next_origin) };
        self.next_origin += 1;
        let data = Bytes(b"lower");
        let from = CopyUp {
            attr: &attr,
            xattrs: &[],
            target: b"",
            data: Some(&data),
            keep: 5,
            origin,
            index,
        };
        let place = Place::Entry { dir, name: &name(base) };
        let id = self.upper().copy_up(place, &from).expect("copy_up").id;
        assert_eq!(self.upper().indexed(origin).expect("indexed").map(|node| node.id), {
            index.then_some(id)
        });
        let what = What::File(b"lower".to_vec());
        let origin = Some(origin);
        self.enter(dir, base, id, Node { what, mode: 0o640, attribute: None, origin, holds: 1 });
    }

    fn remove(&mut self, dir: NodeId, base: &str, whiteout: bool) {
        let leave = if whiteout { Leave::Whiteout } else { Leave::Nothing };
        let result = self.upper().remove(dir, &name(base), leave);
        let errno = result.err().map(|error| error.errno());
        match self.entries(dir).get(base).copied() {
            None if !whiteout => return assert_eq!(errno, Some(Errno::ENOENT)),
            Some(Some(node)) if self.is_dir(node) && !self.only_whiteouts(node) => {
                return assert_eq!(errno, Some(Errno::ENOTEMPTY));
            }
            Some(Some(node)) if self.is_dir(node) => self.entries_mut(node).clear(),
            _ => {}
        }
        assert_eq!(errno, None);
        self.entries_mut(dir).remove(base);
        if whiteout {
            self.entries_mut(dir).insert(base.into(), None);
        }
    }

    /// Only what the union would ask for.
    fn rename(
        &mut self,
        from: (NodeId, &str),
        to: (NodeId, &str),
        swap: bool,
        whiteout: bool,
        opaque: bool,
    ) {
        let Some(Some(source)) = self.entries(from.0).get(from.1).copied() else { return };
        let target = self.entries(to.0).get(to.1).copied();
        let there = target.flatten();
        if there == Some(source) || self.within(to.0, source) {
            return;
        }
        let fits = match there {
            Some(target) if swap => !self.within(from.0, target),
            None => !swap,
            Some(target) if self.is_dir(target) => {
                self.is_dir(source) && self.only_whiteouts(target) && from.0 != target
            }
            Some(_) => !self.is_dir(source),
        };
        if !fits {
            return;
        }
        let leave = if whiteout { Leave::Whiteout } else { Leave::Nothing };
        let exchange = if swap { Exchange::Yes } else { Exchange::No(leave) };
        self.upper()
            .rename(&Renamed {
                from_dir: from.0,
                from: &name(from.1),
                to_dir: to.0,
                to: &name(to.1),
                exchange,
                opaque,
            })
            .expect("rename");
        if let Some(target) = there.filter(|target| !swap && self.is_dir(*target)) {
            self.entries_mut(target).clear();
        }
        self.entries_mut(from.0).remove(from.1);
        self.entries_mut(to.0).insert(to.1.into(), Some(source));
        match there {
            Some(target) if swap => {
                self.entries_mut(from.0).insert(from.1.into(), Some(target));
            }
            _ if whiteout => {
                self.entries_mut(from.0).insert(from.1.into(), None);
            }
            _ => {}
        }
        for node in [Some(source), there.filter(|_| swap)].into_iter().flatten() {
            if let What::Dir { opaque: marked, .. } =
                &mut self.nodes.get_mut(&node).expect("known").what
            {
                *marked |= opaque;
            }
        }
    }

    fn link(&mut self, node: NodeId, dir: NodeId, base: &str) {
        if self.is_dir(node) || self.names_of(node) == 0 {
            return;
        }
        let result = self.upper().link(node, dir, &name(base));
        if self.entries(dir).get(base).is_some_and(Option::is_some) {
            return assert_eq!(result.expect_err("taken").errno(), Errno::EEXIST);
        }
        self.entries_mut(dir).insert(base.into(), Some(node));
        assert_eq!(result.expect("link").nlink, self.names_of(node));
        self.upper().hold(node, dir, &name(base));
        self.nodes.get_mut(&node).expect("known").holds += 1;
    }

    fn change(&mut self, op: &Op) {
        let (Op::Write { node, .. }
        | Op::Cut { node, .. }
        | Op::Mode { node, .. }
        | Op::Attribute { node, .. }) = *op
        else {
            return;
        };
        let id = self.pick(node);
        let upper = Arc::clone(self.upper.as_ref().expect("open"));
        let known = self.nodes.get_mut(&id).expect("known");
        match (op, &mut known.what) {
            (Op::Write { offset, byte, .. }, What::File(bytes)) => {
                upper.write_at(id, *offset, &[*byte; 3]).expect("write_at");
                let offset = usize::try_from(*offset).expect("small");
                bytes.resize(bytes.len().max(offset + 3), 0);
                bytes[offset..offset + 3].fill(*byte);
            }
            (Op::Cut { size, .. }, What::File(bytes)) => {
                let change = SetAttr { size: Some(*size), ..SetAttr::default() };
                assert_eq!(upper.set_attr(id, &change).expect("set_attr").size, *size);
                bytes.resize(usize::try_from(*size).expect("small"), 0);
            }
            (Op::Mode { mode, .. }, What::File(_) | What::Dir { .. }) => {
                // The owner keeps the bits without which a plain user could not go on.
                let mode = mode | 0o700;
                let change = SetAttr { mode: Some(mode), ..SetAttr::default() };
                upper.set_attr(id, &change).expect("set_attr");
                known.mode = mode;
            }
            (Op::Attribute { value, .. }, What::File(_) | What::Dir { .. }) => {
                upper.set_xattr(id, b"user.x", &[*value], XattrMode::Any).expect("set_xattr");
                known.attribute = Some(*value);
            }
            _ => {}
        }
    }

    /// Forgets what has no name.
    fn forget(&mut self) {
        let gone: Vec<NodeId> = self
            .nodes
            .keys()
            .copied()
            .filter(|id| *id != self.root && self.names_of(*id) == 0)
            .collect();
        for id in gone {
            let node = self.nodes.remove(&id).expect("known");
            self.upper().forget(id, node.holds);
        }
    }

    fn reopen(&mut self) {
        self.forget();
        let closed = self.upper.take().expect("open");
        self.upper = Some(self.dirs.reopen(closed));
        let mut todo = vec![self.root];
        while let Some(dir) = todo.pop() {
            for (base, id) in self.entries(dir).clone() {
                let Some(id) = id else { continue };
                self.upper().hold(id, dir, &name(&base));
                if self.is_dir(id) {
                    todo.push(id);
                }
            }
        }
    }

    /// The whole layer against the whole model, and what has no name any more too.
    fn compare(&self) {
        for (&id, node) in &self.nodes {
            let attr = self.upper().attr(id).expect("attr");
            let names = if id == self.root { 1 } else { self.names_of(id) };
            assert_eq!(attr.nlink, names, "{id:?} {node:?}");
            if id != self.root {
                assert_eq!(attr.mode, node.mode, "{id:?}");
            }
            match &node.what {
                What::File(bytes) => {
                    let mut buf = vec![1; bytes.len() + 1];
                    let n = self.upper().read_at(id, 0, &mut buf).expect("read_at");
                    assert_eq!(buf[..n], bytes[..]);
                }
                What::Link => {
                    assert_eq!(&*self.upper().readlink(id).expect("readlink"), b"there");
                    continue;
                }
                What::Dir { entries, .. } => self.compare_dir(id, entries),
            }
            let shown = self.upper().xattrs(id).expect("xattrs");
            let shown: Vec<u8> =
                shown.iter().flat_map(|(_, value)| value.iter().copied()).collect();
            assert_eq!(shown, node.attribute.into_iter().collect::<Vec<u8>>());
        }
    }

    fn compare_dir(&self, dir: NodeId, entries: &BTreeMap<String, Option<NodeId>>) {
        let listed = self.upper().list(dir).expect("list");
        assert_eq!(listed.len(), entries.len(), "{listed:?} {entries:?}");
        for Listed { name: base, slot, .. } in listed {
            let expected = entries.get(&base.to_string()).expect("a name of the model");
            match (slot, expected) {
                (Slot::Whiteout, None) => {}
                (Slot::Node(node), Some(id)) => {
                    let known = &self.nodes[id];
                    let opaque = matches!(known.what, What::Dir { opaque: true, .. });
                    let seen = (node.id, node.opaque, node.origin);
                    assert_eq!(seen, (*id, opaque, known.origin), "{base}");
                }
                (slot, expected) => panic!("{base}: {slot:?} instead of {expected:?}"),
            }
        }
    }
}

fn run(cases: u32, options: &UpperOptions) {
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let ops = proptest::collection::vec(op(), 1..40);
    // So few that files are opened again and again, by the places where they are known to be.
    let fds = FdCache::new(std::num::NonZeroUsize::MIN);
    let options = UpperOptions { fds, ..options.clone() };
    let result = runner.run(&ops, |ops| {
        let mut model = Model::new(options.clone());
        for op in &ops {
            model.apply(op);
            model.compare();
        }
        model.reopen();
        model.compare();
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn any_sequence_of_changes_gives_the_tree_that_a_model_gives() {
    run(150, &UpperOptions { volatile: true, ..UpperOptions::default() });
}

#[test]
fn marks_of_other_forms_change_nothing_that_is_seen() {
    let family = MarkFamily::User;
    let dot_wh = DotWh::Marks;
    for whiteouts in [WhiteoutForm::Attribute, WhiteoutForm::Name] {
        run(40, &UpperOptions { volatile: true, family, whiteouts, dot_wh, ..Default::default() });
    }
}
