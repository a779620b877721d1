//! Small views by hand.

use std::sync::Arc;

use mica::testing::mem::MemUpper;
use mica::tree::{Attr, Errno, Ino, Lower, NewKind, NewNode, Result, Upper};
use mica::union::{Caller, Entry, Options, Owners, Stack, Union};

use crate::model::layers::{Layer, What};
use crate::model::mem_layer::{mem_layer, name};

pub(super) const ROOT_CALLER: Caller = Caller { uid: 0, gid: 0, umask: 0 };

/// A layer in memory.
pub(super) fn lower(number: u8, items: &[(&'static str, What)]) -> Arc<dyn Lower> {
    Arc::new(mem_layer(&Layer::plain(items), number))
}

pub(super) fn file(bytes: &str) -> What {
    What::File(bytes.into())
}

pub(super) const DIR: What = What::Directory { opaque: false };

/// A view of the layers, bottom first, and of an upper one.
pub(super) fn view(lowers: &[Arc<dyn Lower>], upper: &Arc<MemUpper>) -> Union {
    let upper: Arc<dyn Upper> = Arc::clone(upper) as _;
    Union::new(Stack { lowers: lowers.to_vec(), upper: Some(upper) }, Options::default()).unwrap()
}

/// The same where all files belong to one user.
pub(super) fn squashed(lowers: &[Arc<dyn Lower>], upper: &Arc<MemUpper>) -> Union {
    let upper: Arc<dyn Upper> = Arc::clone(upper) as _;
    let options = Options { owners: Owners::Squashed { uid: 77, gid: 78 } };
    Union::new(Stack { lowers: lowers.to_vec(), upper: Some(upper) }, options).unwrap()
}

/// The file at a path.
pub(super) fn find(union: &Union, path: &str) -> Result<Entry> {
    let mut entry = Entry { ino: Ino::ROOT, attr: union.attr(Ino::ROOT)? };
    for part in path.split('/').filter(|part| !part.is_empty()) {
        entry = union.lookup(entry.ino, &name(part))?;
    }
    Ok(entry)
}

pub(super) fn ino(union: &Union, path: &str) -> Ino {
    find(union, path).expect(path).ino
}

/// All bytes of the file at a path.
pub(super) fn bytes(union: &Union, path: &str) -> String {
    let mut buf = [0; 100];
    let count = union.read(ino(union, path), 0, &mut buf).expect(path);
    String::from_utf8(buf[..count].to_vec()).unwrap()
}

pub(super) fn make(union: &Union, dir: Ino, base: &str, kind: NewKind<'_>) -> Result<Entry> {
    let new = NewNode { kind, mode: 0o666, uid: 0, gid: 0, xattrs: &[] };
    union.make(dir, &name(base), &new, &ROOT_CALLER)
}

pub(super) fn errno<T: std::fmt::Debug>(result: Result<T>) -> Errno {
    result.expect_err("refused").errno()
}

pub(super) fn owner(attr: &Attr) -> (u32, u32) {
    (attr.uid, attr.gid)
}
