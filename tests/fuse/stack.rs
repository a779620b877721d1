//! The layers of a view, in the forms that images and containers have.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use mica::blob::{FileBlob, ReadAt};
use mica::layer::{Layer, Limits, SpanCache, build};
use mica::oci::Digest;
use mica::tree::Lower;
use mica::union::{Options, Stack, Union};
use mica::upper::{UpperDir, UpperOptions};

/// The view of the directory `lower`, as an archive of what is in it the first time, below the
/// directory `upper`; all are in `dir`.
pub(crate) fn union(dir: &Path) -> Arc<Union> {
    let (upper, work) = (dir.join("upper"), dir.join("work"));
    let upper = UpperDir::open(&upper, &work, &UpperOptions::default()).expect("an upper layer");
    let stack = Stack { lowers: vec![archive(dir)], upper: Some(Arc::new(upper)) };
    Arc::new(Union::new(stack, Options::default()).expect("a view"))
}

fn archive(dir: &Path) -> Arc<dyn Lower> {
    let tar = dir.join("layer.tar");
    if !tar.exists() {
        let packed = Command::new("tar")
            .args(["--format=posix", "--xattrs", "--xattrs-include=*", "--sparse", "-cf"])
            .args([&tar, Path::new("-C"), &dir.join("lower"), Path::new(".")])
            .status();
        assert!(packed.expect("tar is installed").success());
    }
    let bytes = fs::read(&tar).expect("an archive");
    // What is open of the index stays when its directory goes.
    let index = tempfile::tempdir().expect("a directory");
    let built = build(&mut &*bytes, index.path(), &Limits::default()).expect("an index");
    let blob: Arc<dyn ReadAt> = Arc::new(FileBlob::open(&tar).expect("an archive"));
    let cache = Arc::new(SpanCache::new(4 << 20));
    let layer = Layer::open(Digest::of(&bytes), built.diff_id, blob, index.path(), &cache);
    Arc::new(layer.expect("a layer"))
}
