//! The verbs on images: against a registry in memory, and against Debian's.

mod local;
mod peer;
mod pull;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mica::image::{Error, Image, Progress, Quiet, Remote, Step, Store, parse};
use mica::layer::SpanCache;
use mica::oci::{Descriptor, DiffId, Digest, MediaType};
use mica::registry::{Client, Options, RetryPolicy};
use mica::testing::tar::Tar;
use mica::testing::transport::MemTransport;
use mica::tree::{Lower as _, Name, Slot};
use serde_json::json;

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Everything below a directory: name, and bytes of files.
fn listing(root: &Path) -> BTreeMap<String, Vec<u8>> {
    crate::store::listing(root)
}

fn new_store() -> (tempfile::TempDir, Store) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("store")).unwrap();
    (home, store)
}

/// The way to a registry in memory, for images of one platform. Retries at once.
fn remote(transport: &MemTransport) -> Remote {
    let retry = RetryPolicy {
        tries: 2,
        first_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(1),
        max_retry_after: Duration::from_millis(1),
    };
    let options = Options { retry, ..Options::default() };
    let client = Client::with_transport(Box::new(transport.clone()), options);
    Remote::with_client(client, Some("linux/amd64".parse().unwrap()))
}

/// A layer as it is sent, with the digest of its archive.
struct Sent {
    bytes: Vec<u8>,
    diff_id: DiffId,
}

impl Sent {
    fn plain(tar: &Tar) -> Self {
        Self::of(tar, tar.bytes())
    }

    fn gzip(tar: &Tar) -> Self {
        Self::of(tar, tar.gzip())
    }

    fn zstd(tar: &Tar) -> Self {
        Self::of(tar, tar.zstd())
    }

    fn of(tar: &Tar, bytes: Vec<u8>) -> Self {
        Self { bytes, diff_id: DiffId::new(Digest::of(&tar.bytes())) }
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

/// Puts an image of `layers` into the registry under `tag`.
fn offer(transport: &MemTransport, tag: &str, layers: &[&Sent]) -> Descriptor {
    let descriptors: Vec<_> =
        layers.iter().map(|layer| transport.put_blob(GZIP, &layer.bytes)).collect();
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id).collect();
    let config = json!({
        "os": "linux", "architecture": "amd64", "config": {"Env": [format!("TAG={tag}")]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = transport.put_blob(MediaType::OCI_CONFIG, config.to_string().as_bytes());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
        "config": config, "layers": descriptors,
    });
    transport.put_document(tag, MediaType::OCI_MANIFEST, manifest.to_string().as_bytes())
}

fn pull(store: &Store, transport: &MemTransport, name: &str) -> Result<Image, Error> {
    let reference = parse(name).unwrap();
    mica::image::pull(store, &remote(transport), &reference, &Quiet).map(|(_, image)| image)
}

/// The bytes of the file `name` in the root of a layer, read through its index.
fn read(store: &Store, image: &Image, layer: usize, name: &str) -> Vec<u8> {
    let layers = image.open_layers(store, &Arc::new(SpanCache::new(1 << 20))).unwrap();
    let layer = &layers[layer];
    let name = Name::new(name.as_bytes()).unwrap();
    let Slot::Node(node) = layer.slot(layer.root().unwrap().id, &name).unwrap() else {
        panic!("there is no {name}");
    };
    let mut bytes = vec![0; usize::try_from(node.attr.size).unwrap()];
    let count = layer.read_at(node.id, 0, &mut bytes).unwrap();
    assert_eq!(count, bytes.len());
    bytes
}

/// All messages of an error.
fn chain(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Remembers what it was told.
#[derive(Default)]
struct Told(Mutex<Vec<(Digest, Step)>>, Mutex<BTreeMap<Digest, u64>>);

impl Progress for Told {
    fn layers(&self, _layers: &[(Digest, u64)]) {}

    fn step(&self, layer: &Digest, step: Step) {
        self.0.lock().unwrap().push((*layer, step));
    }

    fn fetched(&self, layer: &Digest, bytes: u64) {
        let earlier = self.1.lock().unwrap().insert(*layer, bytes);
        assert!(earlier.is_none_or(|earlier| earlier <= bytes), "progress goes backwards");
    }
}
