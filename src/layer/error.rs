//! Why a layer cannot be indexed or read.

use std::io;
use std::path::{Path, PathBuf};

use crate::{blob, tree};

/// Why a layer cannot be indexed or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stored bytes stopped coming.
    #[error("cannot read the layer from byte {offset} on")]
    Source {
        /// How many bytes came.
        offset: u64,
        /// Why there were no more.
        #[source]
        source: io::Error,
    },
    /// The compression is damaged.
    #[error("the compressed layer is damaged near byte {offset}: {why}")]
    Compressed {
        /// Where, in the bytes as they are stored.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// An entry of the archive cannot be accepted.
    #[error("entry \"{entry}\" at byte {offset} of the archive: {problem}")]
    Entry {
        /// Its name as it stands there, with bytes that are no printable ASCII escaped.
        entry: String,
        /// Where its header stands in the uncompressed archive.
        offset: u64,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The layer is more than [`super::Limits`] allow.
    #[error("the layer has more than {limit} {of}")]
    Limit {
        /// The limit.
        limit: u64,
        /// Of what.
        of: &'static str,
    },
    /// A file of the index cannot be written or read.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was tried: a verb.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file of the index does not hold what was written to it.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// A file of the index has a form that is not known yet.
    #[error("{} has format version {found}; this program knows version {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// The stored bytes cannot be had, or are damaged.
    #[error("cannot read the layer's stored bytes")]
    Blob(#[from] blob::Error),
}

/// What is wrong with an entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The archive ends within it.
    #[error("the archive ends within it")]
    Truncated,
    /// The sum of the bytes of the header is not the one it says.
    #[error("the header's checksum is wrong")]
    Checksum,
    /// A field does not hold a number, or one that is out of range.
    #[error("{0} is not a valid number")]
    Number(&'static str),
    /// A field of variable length is malformed.
    #[error("{0} is malformed")]
    Malformed(&'static str),
    /// A field is longer than it may be.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// The name has a `..` in it: it may lead out of the layer.
    #[error("{0} has a \"..\" in it")]
    Escapes(&'static str),
    /// The name is empty, or has a NUL in it.
    #[error("{0} is empty or has a NUL byte in it")]
    NoName(&'static str),
    /// A whiteout that names nothing, or one in the place of a directory.
    #[error("it is not a valid whiteout")]
    Whiteout,
    /// The root of the layer is no directory.
    #[error("the root is not a directory")]
    Root,
    /// A kind of entry that has no place in a layer.
    #[error("entries of type {0:?} are not supported")]
    Kind(char),
    /// A hard link to a file that this layer does not hold.
    #[error("it is a hard link to \"{0}\", which this layer does not hold as a file")]
    LinkTarget(String),
    /// Long-name or PAX headers that describe no entry, or two for one.
    #[error("its extension headers do not describe one entry")]
    Extension,
    /// The parts of a sparse file overlap, or are not what its sizes say.
    #[error("the map of the sparse file is inconsistent")]
    Sparse,
}

/// The result of work on a layer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(super) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }
}

impl From<Error> for tree::Error {
    fn from(error: Error) -> Self {
        Self::new(tree::Errno::EIO, error)
    }
}
