//! The content store on this disk.
//!
//! ```text
//! version                  which form the store has
//! lock                     locked shared by those who use the store, exclusively by who collects
//! blobs/sha256/<hex>       whole verified blobs: manifests, indexes, configs, layers as they came
//! layers/<hex>/            what we know of the layer blob <hex>: its index and its seek points
//! images/<name>.json       which manifest a name stands for
//! containers/<id>/         containers; their config.json says which image they need
//! locks/<hex>              locked by who fetches the layer blob <hex>
//! tmp/<pid>.<n>.<random>   what is being written, locked by who writes it
//! ```
//!
//! What is visible is whole: files and directories are written under `tmp/`, checked, made
//! durable, and then moved to their place by one rename. So no state has to be repaired after a
//! crash; what a killed process left in `tmp/` is no longer locked, and the next one removes it.
//!
//! Who writes, or needs what it found to stay, holds a [`Session`]; who removes content holds the
//! [`Collector`], which no session runs beside. `docs/FORMATS.md` has the forms of the files.

mod check;
mod error;
mod gc;
mod ingest;
mod refs;
mod session;
mod temp;

pub use check::{Damage, Report};
pub use error::{Error, Result};
pub use gc::{Collector, Freed};
pub use ingest::{BlobWriter, LayerWriter};
pub use refs::Ref;
pub use session::{LayerLock, Session};

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::oci::Digest;
use error::failed;

/// The version this program reads and writes.
const VERSION: u32 = 1;
const VERSION_PREFIX: &str = "mica-store ";

/// What stands in the root of a store.
const DIRECTORIES: [&str; 7] =
    ["blobs", "blobs/sha256", "layers", "images", "containers", "locks", "tmp"];

/// The content store in one directory.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store in `root`, making it when there is none. Only the owner has access to a
    /// store that is made.
    ///
    /// # Errors
    /// [`Error::NotAStore`] for a directory that holds other things, [`Error::Version`] for the
    /// store of a newer program, [`Error::Io`].
    pub fn open(root: &Path) -> Result<Self> {
        make_directory(root)?;
        let root = root.canonicalize().map_err(failed("find", root))?;
        let store = Self { root };
        match store.read_version()? {
            Some(()) => {}
            None => store.create()?,
        }
        Ok(store)
    }

    /// The directory the store is in, as an absolute path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the blob `digest` is, or would be.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Where the index and the seek points of the layer blob `digest` are, or would be.
    #[must_use]
    pub fn layer_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("layers").join(digest.hex())
    }

    /// Where containers are.
    #[must_use]
    pub fn containers_path(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// The size of the blob `digest`, if the store has it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn blob_len(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.blob_path(digest);
        match path.symlink_metadata() {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("examine", &path)(error)),
        }
    }

    /// Whether the store has the layer blob `digest` and all that was made of it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn has_layer(&self, digest: &Digest) -> Result<bool> {
        let path = self.layer_path(digest);
        Ok(path.try_exists().map_err(failed("examine", &path))? && self.blob_len(digest)?.is_some())
    }

    /// Opens the blob `digest` for reading. Its bytes are not verified here.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`].
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::Missing(*digest),
            _ => failed("open", &path)(error),
        })
    }

    /// The bytes of the blob `digest`, which has at most `max` of them, verified now.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::TooLarge`], [`Error::Damaged`], [`Error::Io`].
    pub fn read_blob(&self, digest: &Digest, max: u64) -> Result<Vec<u8>> {
        let file = self.open_blob(digest)?;
        let path = self.blob_path(digest);
        let len = file.metadata().map_err(failed("examine", &path))?.len();
        if len > max {
            return Err(Error::TooLarge { digest: *digest, len, max });
        }
        let mut bytes = Vec::new();
        file.take(max).read_to_end(&mut bytes).map_err(failed("read", &path))?;
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(Error::Damaged { expected: *digest, found });
        }
        Ok(bytes)
    }

    /// Makes the directories, then the version file: whoever finds the file finds them all.
    fn create(&self) -> Result<()> {
        let listing = self.root.read_dir().map_err(failed("list", &self.root))?;
        for entry in listing {
            let name = entry.map_err(failed("list", &self.root))?.file_name();
            // A filesystem of its own has `lost+found` at its root.
            let others = ["lock", "version", "lost+found"];
            if !DIRECTORIES.iter().chain(&others).any(|known| name == *known) {
                return Err(Error::NotAStore(self.root.clone()));
            }
        }
        for directory in DIRECTORIES {
            make_directory(&self.root.join(directory))?;
        }
        session::make_lock(self)?;
        let text = format!("{VERSION_PREFIX}{VERSION}\n");
        self.publish_bytes(text.as_bytes(), &self.root.join("version"))
    }

    /// Reads the version file, if there is one.
    fn read_version(&self) -> Result<Option<()>> {
        let path = self.root.join("version");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open", &path)(error)),
        };
        let mut text = Vec::new();
        file.take(64).read_to_end(&mut text).map_err(failed("read", &path))?;
        let text = String::from_utf8_lossy(&text);
        match text.strip_prefix(VERSION_PREFIX).map(|version| version.trim_end().parse::<u32>()) {
            Some(Ok(VERSION)) => Ok(Some(())),
            _ => Err(Error::Version {
                path: self.root.clone(),
                found: text.trim_end().strip_prefix(VERSION_PREFIX).unwrap_or(&text).to_owned(),
                known: VERSION,
            }),
        }
    }

    /// Puts a small file at `target`, at once and durably, in place of what is there.
    fn publish_bytes(&self, bytes: &[u8], target: &Path) -> Result<()> {
        let mut temp = temp::TempFile::new(self)?;
        temp.file().write_all(bytes).map_err(failed("write", temp.path()))?;
        temp.publish(target)
    }
}

/// Makes a directory that only its owner may enter, and those above it; it may be there already.
fn make_directory(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make", path))
}

/// Makes the names in `directory` durable.
fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(failed("sync", directory))
}

/// Takes away the right to write: what is published does not change.
fn make_read_only(file: &File, path: &Path) -> Result<()> {
    let permissions = std::fs::Permissions::from_mode(0o444);
    file.set_permissions(permissions).map_err(failed("protect", path))
}
