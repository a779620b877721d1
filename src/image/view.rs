//! An image as a view: its layers, opened where the store keeps them, below what is written.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::layer::SpanCache;
use crate::store::Store;
use crate::tree::{Attr, Ino, Lower, SetAttr, TimeChange, Upper};
use crate::union::{Options, Owners, Stack, Union};
use crate::upper::{self, UpperDir, UpperOptions};

use super::{Error, Image, Result};

/// How long an upper directory that is in use may take to become free: the server of a mount
/// ends a moment after the mount is gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_millis(10);

/// Where what is written goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writable {
    /// The upper directory; made when it is not there, with the attributes of the image's root.
    pub upper: PathBuf,
    /// The work directory, on the same filesystem; made when it is not there.
    pub work: PathBuf,
    /// Whether what is written may be lost when the machine crashes.
    pub volatile: bool,
}

/// The view of `image`, whose layers are in `store`. How long it takes does not depend on the size
/// of the image: layers are opened, not read.
///
/// # Errors
/// [`Error::Layer`] when a layer is missing or damaged, [`Error::Upper`] when the upper directory
/// cannot be used or is in use, [`Error::View`].
pub(super) fn view(
    store: &Store,
    image: &Image,
    writable: Option<&Writable>,
    owners: Owners,
) -> Result<Arc<Union>> {
    let layers = image.open_layers(store, &Arc::new(SpanCache::new(SpanCache::DEFAULT)))?;
    let roots = layers.iter().rev().map(|layer| layer.root().map_err(Error::View));
    let roots = roots.collect::<Result<Vec<_>>>()?;
    let top = roots.iter().find(|root| !root.implied).or(roots.first()).copied();
    let lowers = layers.into_iter().map(|layer| Arc::new(layer) as Arc<dyn Lower>).collect();
    let (upper, new) = match writable {
        Some(writable) => {
            let (upper, new) = open_upper(writable)?;
            (Some(upper), new)
        }
        None => (None, false),
    };
    let union = Union::new(Stack { lowers, upper }, Options { owners }).map_err(Error::View)?;
    if let Some(root) = top.filter(|_| new) {
        union.set_attr(Ino::ROOT, &like(&root.attr)).map_err(Error::View)?;
    }
    Ok(Arc::new(union))
}

/// Opens the upper directory; says whether it is new.
fn open_upper(writable: &Writable) -> Result<(Arc<dyn Upper>, bool)> {
    let new = make_directory(&writable.upper)?;
    make_directory(&writable.work)?;
    let options = UpperOptions { volatile: writable.volatile, ..UpperOptions::default() };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UpperDir::open(&writable.upper, &writable.work, &options) {
            Ok(upper) => return Ok((Arc::new(upper), new)),
            Err(upper::Error::InUse { .. }) if Instant::now() < deadline => {
                std::thread::sleep(PAUSE);
            }
            Err(source) => return Err(Error::Upper { path: writable.upper.clone(), source }),
        }
    }
}

/// Makes a directory unless it is there; says whether it made one.
fn make_directory(path: &Path) -> Result<bool> {
    match DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(source) => Err(Error::Directory { path: path.to_owned(), source }),
    }
}

/// The change that makes a file like another one.
fn like(attr: &Attr) -> SetAttr {
    SetAttr {
        mode: Some(attr.mode),
        uid: Some(attr.uid),
        gid: Some(attr.gid),
        size: None,
        atime: Some(TimeChange::To(attr.atime)),
        mtime: Some(TimeChange::To(attr.mtime)),
    }
}
