//! The nodes of a layer that are in use, and the names they are known by.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fds::Open;
use crate::tree::{Name, NodeId};

/// Where a file can be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The directory.
    pub(super) dir: NodeId,
    /// The name in it.
    pub(super) name: Name,
}

#[derive(Debug, Default)]
struct Known {
    /// Calls of `hold` that are not given back.
    holds: u64,
    /// Names that the file was seen under. A hint: the disk decides.
    places: Vec<Place>,
    /// Of a directory: which known file each name leads to.
    entries: HashMap<Name, NodeId>,
    /// The file itself, when it has no name any more.
    pinned: Option<Arc<Open>>,
}

/// The nodes of a layer that are in use.
///
/// A node is known while it is held or a directory on the way to a known node. One lock for
/// all, held for map operations only.
#[derive(Debug)]
pub(super) struct Tree {
    root: NodeId,
    nodes: Mutex<HashMap<NodeId, Known>>,
}

/// What [`Tree::find`] knows of a node.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing.
    Unknown,
    /// The file is open and has no name.
    Pinned(Arc<Open>),
    /// It may be found at these places.
    Places(Vec<Place>),
}

impl Tree {
    pub(super) fn new(root: NodeId) -> Self {
        let held = Known { holds: 1, ..Known::default() };
        Self { root, nodes: Mutex::new(HashMap::from([(root, held)])) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Known>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, node: NodeId) -> Found {
        match self.lock().get(&node) {
            None => Found::Unknown,
            Some(Known { pinned: Some(open), .. }) => Found::Pinned(Arc::clone(open)),
            Some(known) => Found::Places(known.places.clone()),
        }
    }

    /// Counts one use of `node`, seen as `name` in `dir`.
    pub(super) fn hold(&self, node: NodeId, dir: NodeId, name: &Name) {
        let mut nodes = self.lock();
        let known = nodes.entry(node).or_default();
        known.holds = known.holds.saturating_add(1);
        // What has no name gets none again.
        if node != self.root && known.pinned.is_none() {
            enter(&mut nodes, node, dir, name);
        }
    }

    /// Counts one use of `node`, whose name, if it has one, is not known.
    pub(super) fn hold_nameless(&self, node: NodeId) {
        let mut nodes = self.lock();
        let known = nodes.entry(node).or_default();
        known.holds = known.holds.saturating_add(1);
    }

    /// Takes back `count` uses. Says which nodes are not known any more.
    pub(super) fn forget(&self, node: NodeId, count: u64) -> Vec<NodeId> {
        let mut nodes = self.lock();
        if node == self.root {
            return Vec::new();
        }
        if let Some(known) = nodes.get_mut(&node) {
            known.holds = known.holds.saturating_sub(count);
        }
        release(&mut nodes, node)
    }

    /// The known node that is named `name` in `dir`.
    pub(super) fn named(&self, dir: NodeId, name: &Name) -> Option<NodeId> {
        self.lock().get(&dir)?.entries.get(name).copied()
    }

    /// The node of [`Tree::named`] if no other name of it is known.
    pub(super) fn last_name_of(&self, dir: NodeId, name: &Name) -> Option<NodeId> {
        let nodes = self.lock();
        let node = *nodes.get(&dir)?.entries.get(name)?;
        let known = nodes.get(&node)?;
        let others = known.places.iter().any(|place| place.dir != dir || place.name != *name);
        (!others && known.pinned.is_none()).then_some(node)
    }

    /// Keeps the file of a known node that is about to lose its last name.
    pub(super) fn pin(&self, node: NodeId, open: Arc<Open>) {
        let replaced = self.lock().get_mut(&node).and_then(|known| known.pinned.replace(open));
        drop(replaced);
    }

    /// Makes a node known that was born without a name.
    pub(super) fn adopt(&self, node: NodeId, open: Arc<Open>) {
        let replaced = self.lock().entry(node).or_default().pinned.replace(open);
        drop(replaced);
    }

    /// Takes back [`Tree::pin`]: the name stayed.
    pub(super) fn unpin(&self, node: NodeId) {
        let pinned = self.lock().get_mut(&node).and_then(|known| known.pinned.take());
        drop(pinned);
    }

    /// The name does not lead to what it led to any more.
    pub(super) fn left(&self, dir: NodeId, name: &Name) -> Vec<NodeId> {
        let mut nodes = self.lock();
        leave(&mut nodes, dir, name);
        // `dir` may have been known for the sake of this name only.
        release(&mut nodes, dir)
    }

    /// Another place where a node may soon be found, before it is moved there: so that there is
    /// no moment at which no place is right.
    pub(super) fn expect(&self, node: NodeId, dir: NodeId, name: &Name) {
        if let Some(known) = self.lock().get_mut(&node) {
            known.places.push(Place { dir, name: name.clone() });
        }
    }

    /// Takes back [`Tree::expect`].
    pub(super) fn unexpect(&self, node: NodeId, dir: NodeId, name: &Name) {
        if let Some(known) = self.lock().get_mut(&node)
            && let Some(at) = known.places.iter().rposition(|p| p.dir == dir && p.name == *name)
        {
            known.places.swap_remove(at);
        }
    }

    /// A known node is now found as `name` in `dir`.
    pub(super) fn entered(&self, node: NodeId, dir: NodeId, name: &Name) {
        let mut nodes = self.lock();
        if nodes.contains_key(&node) {
            enter(&mut nodes, node, dir, name);
        }
    }
}

type Nodes = HashMap<NodeId, Known>;

/// Notes that `name` in `dir` leads to `node`, and to nothing else.
fn enter(nodes: &mut Nodes, node: NodeId, dir: NodeId, name: &Name) {
    let entries = &mut nodes.entry(dir).or_default().entries;
    match entries.get(name) {
        Some(&named) if named == node => return,
        Some(_) => leave(nodes, dir, name),
        None => {}
    }
    let place = Place { dir, name: name.clone() };
    if let Some(known) = nodes.get_mut(&node)
        && !known.places.contains(&place)
    {
        known.places.push(place);
    }
    nodes.entry(dir).or_default().entries.insert(name.clone(), node);
}

/// Notes that `name` in `dir` leads to nothing that is known.
fn leave(nodes: &mut Nodes, dir: NodeId, name: &Name) {
    let Some(node) = nodes.get_mut(&dir).and_then(|known| known.entries.remove(name)) else {
        return;
    };
    if let Some(known) = nodes.get_mut(&node) {
        known.places.retain(|place| place.dir != dir || place.name != *name);
    }
}

/// Drops `node` if it is of no use, and then those directories that were known for its sake.
fn release(nodes: &mut Nodes, node: NodeId) -> Vec<NodeId> {
    let mut gone = Vec::new();
    let mut next = vec![node];
    while let Some(node) = next.pop() {
        if nodes.get(&node).is_none_or(|known| known.holds > 0 || !known.entries.is_empty()) {
            continue;
        }
        let Some(known) = nodes.remove(&node) else { continue };
        for place in known.places {
            if let Some(dir) = nodes.get_mut(&place.dir)
                && dir.entries.get(&place.name) == Some(&node)
            {
                dir.entries.remove(&place.name);
                next.push(place.dir);
            }
        }
        gone.push(node);
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::{Found, Tree};
    use crate::tree::{Name, NodeId};

    const ROOT: NodeId = NodeId(1);

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    fn places(tree: &Tree, node: u64) -> Vec<(u64, String)> {
        match tree.find(NodeId(node)) {
            Found::Places(places) => {
                places.into_iter().map(|p| (p.dir.0, p.name.to_string())).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_directory_is_known_as_long_as_something_in_it_is() {
        let tree = Tree::new(ROOT);
        tree.hold(NodeId(2), ROOT, &name("d"));
        tree.hold(NodeId(3), NodeId(2), &name("e"));
        tree.hold(NodeId(4), NodeId(3), &name("f"));
        assert_eq!(tree.forget(NodeId(2), 1), []);
        assert_eq!(tree.forget(NodeId(3), 1), []);
        assert_eq!(places(&tree, 3), [(2, "e".into())]);
        assert_eq!(tree.forget(NodeId(4), 1), [NodeId(4), NodeId(3), NodeId(2)]);
        assert!(matches!(tree.find(NodeId(2)), Found::Unknown));
        assert_eq!(tree.named(ROOT, &name("d")), None);
        assert!(matches!(tree.find(ROOT), Found::Places(_)), "the root stays");
    }

    #[test]
    fn a_name_leads_to_one_node_and_a_node_may_have_many() {
        let tree = Tree::new(ROOT);
        tree.hold(NodeId(2), ROOT, &name("a"));
        tree.hold(NodeId(2), ROOT, &name("b"));
        assert_eq!(tree.last_name_of(ROOT, &name("a")), None);
        tree.hold(NodeId(3), ROOT, &name("a"));
        assert_eq!(tree.named(ROOT, &name("a")), Some(NodeId(3)));
        assert_eq!(places(&tree, 2), [(1, "b".into())]);
        assert_eq!(tree.last_name_of(ROOT, &name("b")), Some(NodeId(2)));
        assert_eq!(tree.forget(NodeId(2), 2), [NodeId(2)]);
        assert_eq!(tree.named(ROOT, &name("a")), Some(NodeId(3)));
    }

    #[test]
    fn a_node_that_moves_has_a_right_place_at_every_moment() {
        let tree = Tree::new(ROOT);
        tree.hold(NodeId(2), ROOT, &name("from"));
        tree.expect(NodeId(2), ROOT, &name("to"));
        assert_eq!(places(&tree, 2), [(1, "from".into()), (1, "to".into())]);
        tree.entered(NodeId(2), ROOT, &name("to"));
        tree.left(ROOT, &name("from"));
        assert_eq!(places(&tree, 2), [(1, "to".into())]);
        tree.expect(NodeId(2), ROOT, &name("x"));
        tree.unexpect(NodeId(2), ROOT, &name("x"));
        assert_eq!(places(&tree, 2), [(1, "to".into())]);
    }
}
