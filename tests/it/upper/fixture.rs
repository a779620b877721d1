//! Upper layers in temporary directories.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mica::testing::conformance::{Abilities, Item, Uppers, What, name};
use mica::tree::{
    Kind, Leave, Lower, NewKind, NewNode, NodeId, SetAttr, Slot, TimeChange, Upper, Xattr,
};
use mica::upper::{LowerDir, UpperDir, UpperOptions};

/// A temporary directory with pairs of upper and work directories in it.
pub(super) struct Dirs {
    root: tempfile::TempDir,
    count: AtomicUsize,
    pub(super) options: UpperOptions,
}

impl Dirs {
    pub(super) fn new(options: UpperOptions) -> Self {
        Self { root: tempfile::tempdir().expect("tempdir"), count: AtomicUsize::new(0), options }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.root.path().to_owned()
    }

    /// A fresh pair of an upper and a work directory.
    pub(super) fn pair(&self) -> (PathBuf, PathBuf) {
        let base = self.path().join(self.count.fetch_add(1, Ordering::Relaxed).to_string());
        let (upper, work) = (base.join("upper"), base.join("work"));
        std::fs::create_dir_all(&upper).expect("upper");
        std::fs::create_dir(&work).expect("work");
        (upper, work)
    }

    /// Opens the pair that was made last.
    pub(super) fn open_last(&self) -> UpperDir {
        let last = self.count.load(Ordering::Relaxed) - 1;
        let base = self.path().join(last.to_string());
        UpperDir::open(&base.join("upper"), &base.join("work"), &self.options).expect("open")
    }

    /// Builds a layer with an upper directory and reads it as a lower one.
    pub(super) fn lower(&self, items: &[Item]) -> LowerDir {
        let (path, work) = self.pair();
        let upper = UpperDir::open(&path, &work, &self.options).expect("open");
        build(&upper, items);
        drop(upper);
        LowerDir::open(&path, self.options.dot_wh, &self.options.fds).expect("open")
    }
}

impl Uppers for Dirs {
    fn fresh(&self) -> Arc<dyn Upper> {
        self.pair();
        Arc::new(self.open_last())
    }

    fn reopen(&self, upper: Arc<dyn Upper>) -> Arc<dyn Upper> {
        assert_eq!(Arc::strong_count(&upper), 1);
        drop(upper);
        Arc::new(self.open_last())
    }
}

/// Makes items in an upper layer.
pub(super) fn build(upper: &dyn Upper, items: &[Item]) {
    let root = upper.root().expect("root");
    let mut times = Vec::new();
    for item in items {
        let (parent, base) = match item.path.iter().rposition(|&byte| byte == b'/') {
            Some(at) => (walk(upper, &item.path[..at]), &item.path[at + 1..]),
            None => (root.id, &item.path[..]),
        };
        let base = name(base);
        let kind = match &item.what {
            What::Directory { opaque } => NewKind::Directory { opaque: *opaque },
            What::File(_) => NewKind::File,
            What::Symlink(target) => NewKind::Symlink(target),
            What::Fifo => NewKind::Fifo,
            What::Socket => NewKind::Socket,
            What::CharDevice(device) => NewKind::CharDevice(*device),
            What::BlockDevice(device) => NewKind::BlockDevice(*device),
            What::HardLink(target) => {
                upper.link(walk(upper, target), parent, &base).expect("link");
                continue;
            }
            What::Whiteout => {
                upper.remove(parent, &base, Leave::Whiteout).expect("whiteout");
                continue;
            }
        };
        let (uid, gid) = item.owner.unwrap_or((root.attr.uid, root.attr.gid));
        let xattrs: &[Xattr] = &item.xattrs;
        let new = NewNode { kind, mode: item.mode, uid, gid, xattrs };
        let node = upper.make(parent, &base, &new).expect("make").id;
        upper.hold(node, parent, &base);
        if let What::File(bytes) = &item.what {
            upper.write_at(node, 0, bytes).expect("write_at");
        }
        let is_link = matches!(item.what, What::Symlink(_));
        times.push((node, item.mtime, (!is_link).then_some(item.mode)));
    }
    // Last, since making what is in a directory changes its time, and writing may clear bits.
    for (node, mtime, mode) in times {
        let mtime = Some(TimeChange::To(mtime));
        upper.set_attr(node, &SetAttr { mode, mtime, ..SetAttr::default() }).expect("set_attr");
    }
}

/// The node at `path`, each step held.
pub(super) fn walk(layer: &(impl Lower + ?Sized), path: &[u8]) -> NodeId {
    let mut node = layer.root().expect("root").id;
    for part in path.split(|&byte| byte == b'/').filter(|part| !part.is_empty()) {
        match layer.slot(node, &name(part)).expect("slot") {
            Slot::Node(found) => {
                layer.hold(found.id, node, &name(part));
                node = found.id;
            }
            other => panic!("{}: {other:?}", part.escape_ascii()),
        }
    }
    node
}

pub(super) fn is_root() -> bool {
    let out = Command::new("id").arg("-u").output().expect("id");
    out.stdout == b"0\n"
}

/// Whether this process is root of a user namespace that is not the first one.
pub(super) fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").expect("uid_map");
    map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"]
}

/// What this process can do with files on disk.
pub(super) fn abilities() -> Abilities {
    let privileged = is_root() && !in_user_namespace();
    Abilities {
        owners: privileged,
        devices: privileged,
        sockets: true,
        trusted: privileged,
        overrides: is_root(),
        origin_of_special: privileged,
    }
}

/// Runs a script, and returns what it printed.
pub(super) fn shell(script: &str) -> String {
    let out = Command::new("sh").args(["-eu", "-c", script]).output().expect("sh");
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{script}\n{errors}");
    String::from_utf8(out.stdout).expect("text")
}

/// What a layer says, as lines; whiteouts with `!`, opaque directories with `*`.
pub(super) fn said(layer: &dyn Lower, dir: NodeId, path: &str, lines: &mut Vec<String>) {
    let mut listed = layer.list(dir).expect("list");
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    for listed in listed {
        let path = format!("{path}/{}", listed.name);
        assert_eq!(layer.slot(dir, &listed.name).expect("slot"), listed.slot, "{path}");
        match listed.slot {
            Slot::Whiteout => lines.push(format!("!{path}")),
            Slot::Node(node) => {
                lines.push(if node.opaque { format!("{path}*") } else { path.clone() });
                if node.attr.kind == Kind::Directory {
                    layer.hold(node.id, dir, &listed.name);
                    said(layer, node.id, &path, lines);
                }
            }
            Slot::Absent => panic!("{path} is listed and absent"),
        }
    }
}
