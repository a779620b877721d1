//! What can go wrong in the store.

use std::io;
use std::path::{Path, PathBuf};

use crate::oci::{Digest, DocumentError};

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The directory holds something else.
    #[error("{} is not a mica store: it is not empty and has no file `version`", .0.display())]
    NotAStore(PathBuf),
    /// The store was written by a newer mica, or `version` is damaged.
    #[error(
        "the store {} is of version \"{found}\"; this mica reads version {known}",
        path.display()
    )]
    Version {
        /// The root of the store.
        path: PathBuf,
        /// What its version file says.
        found: String,
        /// The version this program reads and writes.
        known: u32,
    },
    /// Bytes came that are not those that were named.
    #[error("expected {expected}, but the bytes that came are {found}")]
    Mismatch {
        /// The digest of the bytes that were wanted.
        expected: Digest,
        /// The digest of those that came.
        found: Digest,
    },
    /// Another number of bytes came than was named.
    #[error("{digest} has {expected} bytes, but {found} came")]
    Length {
        /// The blob.
        digest: Digest,
        /// The size it should have.
        expected: u64,
        /// How many came.
        found: u64,
    },
    /// There is no such blob.
    #[error("the store has no blob {0}")]
    Missing(Digest),
    /// A stored blob is not what its name says.
    #[error("the stored blob {expected} is damaged: its bytes are now {found}")]
    Damaged {
        /// The name it has.
        expected: Digest,
        /// The name it should have.
        found: Digest,
    },
    /// A blob that was to be read into memory is too large for that.
    #[error("the blob {digest} has {len} bytes; at most {max} were expected")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size.
        len: u64,
        /// The most that would be read.
        max: u64,
    },
    /// A record is not of the form that docs/FORMATS.md gives.
    #[error("the record {} is damaged", path.display())]
    Record {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A manifest that is needed cannot be understood.
    #[error("the manifest {digest} cannot be read")]
    Manifest {
        /// The manifest.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: DocumentError,
    },
    /// A name for an image is empty or too long for a record.
    #[error("\"{0}\" cannot be the name of an image")]
    Name(String),
    /// Others use the store.
    #[error("another mica command is using the store {}", .0.display())]
    Busy(PathBuf),
}

/// The result of an operation on the store.
pub type Result<T> = std::result::Result<T, Error>;

/// Makes an [`Error::Io`] of the failure to `action` `path`.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { action, path: path.to_owned(), source }
}

/// Makes an [`Error::Io`] of the failure to lock `path`.
pub(super) fn lock_failed(path: &Path) -> impl FnOnce(crate::sys::Error) -> Error {
    move |error| Error::Io { action: "lock", path: path.to_owned(), source: error.into() }
}
