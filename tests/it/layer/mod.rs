//! Layers: archives go in, trees and bytes come out, and nothing else ever does.

mod conformance;
mod damage;
mod entries;
mod hostile;
mod random;
mod real;
mod tree;

use std::io::{Cursor, Read};
use std::sync::Arc;

use mica::blob::{FileBlob, ReadAt};
use mica::layer::{Error, Layer, Limits, SpanCache, Summary, build};
use mica::oci::Digest;
use mica::tree::{Attr, Kind, Lower as _, Name, Node, NodeId, Slot};

/// A layer that was indexed, in a directory of its own. The stored bytes are in `blob` there.
struct Built {
    dir: tempfile::TempDir,
    digest: Digest,
    summary: Summary,
}

impl Built {
    fn try_new(stored: &[u8]) -> Result<Self, Error> {
        Self::with(stored, &Limits::default())
    }

    fn with(stored: &[u8], limits: &Limits) -> Result<Self, Error> {
        Self::read(&mut Cursor::new(stored), stored, limits)
    }

    /// The layer that `source` gives, which is `stored` in the end.
    fn from_source(source: &mut dyn Read, stored: &[u8]) -> Self {
        Self::read(source, stored, &Limits::default()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn read(source: &mut dyn Read, stored: &[u8], limits: &Limits) -> Result<Self, Error> {
        let dir = tempfile::tempdir().unwrap();
        let summary = build(source, dir.path(), limits)?;
        std::fs::write(dir.path().join("blob"), stored).unwrap();
        Ok(Self { dir, digest: Digest::of(stored), summary })
    }

    fn new(stored: &[u8]) -> Self {
        Self::try_new(stored).unwrap_or_else(|error| panic!("{error}"))
    }

    fn open(&self) -> Result<Layer, Error> {
        let blob: Arc<dyn ReadAt> = Arc::new(FileBlob::open(&self.dir.path().join("blob"))?);
        let cache = Arc::new(SpanCache::new(4 << 20));
        Layer::open(self.digest, self.summary.diff_id, blob, self.dir.path(), &cache)
    }
}

/// The layer of `stored`; its files stay open when the directory is gone.
pub(crate) fn layer(stored: &[u8]) -> Layer {
    Built::new(stored).open().unwrap()
}

fn name(text: impl AsRef<[u8]>) -> Name {
    Name::new(text.as_ref()).unwrap()
}

/// What the layer says of `path`; [`Slot::Absent`] also when there is no such directory.
fn slot(layer: &Layer, path: &str) -> Slot {
    let mut slot = Slot::Node(layer.root().unwrap());
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let Slot::Node(dir) = slot else { return Slot::Absent };
        if dir.attr.kind != Kind::Directory {
            return Slot::Absent;
        }
        slot = layer.slot(dir.id, &name(part)).unwrap();
    }
    slot
}

fn node(layer: &Layer, path: &str) -> Node {
    match slot(layer, path) {
        Slot::Node(node) => node,
        slot => panic!("{path}: {slot:?}"),
    }
}

fn attr(layer: &Layer, path: &str) -> Attr {
    node(layer, path).attr
}

/// All bytes of a file.
fn bytes(layer: &Layer, node: NodeId) -> Vec<u8> {
    let size = layer.attr(node).unwrap().size;
    let mut buf = vec![0xaa; usize::try_from(size).unwrap() + 1];
    let count = layer.read_at(node, 0, &mut buf).unwrap();
    buf.truncate(count);
    buf
}

fn read(layer: &Layer, path: &str) -> Vec<u8> {
    bytes(layer, node(layer, path).id)
}

/// The names of a directory, in the order of the archive; deleted ones with `-` in front.
fn names(layer: &Layer, path: &str) -> Vec<String> {
    let listed = layer.list(node(layer, path).id).unwrap();
    assert!(listed.windows(2).all(|pair| pair[0].position < pair[1].position));
    let text = |slot: &Slot| if *slot == Slot::Whiteout { "-" } else { "" };
    listed.iter().map(|listed| format!("{}{}", text(&listed.slot), listed.name)).collect()
}
