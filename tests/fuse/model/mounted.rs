//! A mount of the layers of a case, as the model sees it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use mica::fuse::{MountOptions, Session};
use mica::tree::Lower;
use mica::union::{Options, Stack, Union};
use tempfile::TempDir;

use super::above::Above;
use super::calls::{Calls, Result};
use super::layers::{Layer, Path};
use super::mem_layer::mem_layer;
use super::op::{Op, Target};
use super::oracle::{Content, Oracle};
use super::view::{Returned, Shown, View};

/// What shows layers in a directory.
pub(crate) trait Engine: Debug {
    fn mount(&mut self, at: &std::path::Path);

    fn unmount(&mut self);

    /// Checks what only this engine has; called after every operation.
    fn check(&self) {}
}

/// Layers that an engine shows, and that are operated on by system calls.
#[derive(Debug)]
pub(crate) struct Mounted<E: Engine> {
    calls: Calls,
    // The mount goes before the directory that it is in.
    engine: E,
    at: TempDir,
}

impl<E: Engine> Mounted<E> {
    pub(crate) fn new(mut engine: E) -> Self {
        let at = tempfile::tempdir().expect("a directory");
        engine.mount(at.path());
        Self { calls: Calls::new(at.path().to_owned()), engine, at }
    }

    /// Unmounts, and gives back what was mounted.
    pub(crate) fn end(mut self) -> E {
        self.calls.close_all();
        self.engine.unmount();
        self.engine
    }
}

impl<E: Engine> View for Mounted<E> {
    fn takes(&self, oracle: &Oracle, op: &Op) -> bool {
        // What the kernel does not let through to the filesystem, or does by itself.
        let plain = |target: &Target| match oracle.target(target) {
            Ok(id) => {
                matches!(oracle.files[id].content, Content::File(_) | Content::Directory(_))
            }
            Err(_) => true,
        };
        match op {
            Op::RemoveXattr { at, .. } => plain(at),
            // A link to a directory is refused, but before or after the new name is looked at.
            Op::Link { from, .. } => !oracle.target(from).is_ok_and(|id| oracle.is_dir(id)),
            Op::List { .. } | Op::Forget => false,
            _ => true,
        }
    }

    fn apply(&mut self, op: &Op) -> Result<Returned> {
        if matches!(op, Op::Remount) {
            self.calls.close_all();
            self.engine.unmount();
            self.engine.mount(self.at.path());
            return Ok(Returned::Done);
        }
        self.calls.carry_out(op)
    }

    fn walk(&mut self) -> BTreeMap<Path, Shown> {
        self.calls.walk()
    }

    fn names(&mut self, slot: usize) -> Vec<Vec<u8>> {
        self.calls.names(slot)
    }

    fn slot(&mut self, slot: usize) -> Shown {
        self.calls.slot(slot)
    }

    fn fail_after(&mut self, _changes: Option<u64>) -> bool {
        panic!("a mount cannot be made to fail")
    }

    fn check(&mut self, _op: &Op, _done: bool, _open: usize) {
        self.engine.check();
    }
}

/// Our view, of lower layers in memory.
#[derive(Debug)]
pub(crate) struct Ours {
    lowers: Vec<Arc<dyn Lower>>,
    upper: Above,
    session: Option<Session>,
}

impl Ours {
    pub(crate) fn new(layers: &[Layer], stack: &[usize], upper: Above) -> Self {
        let layers: Vec<Arc<dyn Lower>> = (0..)
            .zip(layers)
            .map(|(number, layer)| Arc::new(mem_layer(layer, number)) as Arc<dyn Lower>)
            .collect();
        let lowers = stack.iter().map(|&at| Arc::clone(&layers[at])).collect();
        Self { lowers, upper, session: None }
    }

    pub(crate) fn into_upper(self) -> Above {
        self.upper
    }
}

impl Engine for Ours {
    fn mount(&mut self, at: &std::path::Path) {
        let stack = Stack { lowers: self.lowers.clone(), upper: self.upper.open() };
        let union = Arc::new(Union::new(stack, Options::default()).expect("a view"));
        let source = "a-test".into();
        let options =
            MountOptions { source, allow_other: true, suid: true, dev: true, ..Default::default() };
        self.session = Some(mica::fuse::serve(union, at, &options).expect("a mount"));
    }

    fn unmount(&mut self) {
        self.session.take().expect("mounted").unmount().expect("nothing is open");
        if let Some(upper) = self.upper.memory() {
            assert_eq!(upper.held(), 0, "nodes are held after the view has ended");
            assert_eq!(upper.orphans(), 0, "files without a name are left");
        }
    }

    fn check(&self) {
        if let Some(upper) = self.upper.memory() {
            assert_eq!(upper.complaints(), Vec::<String>::new());
        }
    }
}
