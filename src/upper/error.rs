//! Why a layer on disk cannot be opened, or an operation on it failed.

use std::path::PathBuf;

use crate::sys;
use crate::tree::{self, Errno};

/// Why a layer on disk cannot be opened, or an operation on it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] sys::Error),
    /// The operation is refused with this number; there is nothing more to say.
    #[error("{0}")]
    Refused(Errno),
    /// The lower file that is copied up cannot be read.
    #[error("cannot read the file that is copied up: {0}")]
    Source(#[source] tree::Error),
    /// Another process uses the directory for a mount.
    #[error("{path:?} is in use by another mount")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The two directories cannot be used together.
    #[error("the upper directory {upper:?} and the work directory {work:?} {why}")]
    Apart {
        /// The upper directory.
        upper: PathBuf,
        /// The work directory.
        work: PathBuf,
        /// What is wrong with them.
        why: &'static str,
    },
    /// The filesystem cannot do what an upper layer needs.
    #[error("the filesystem of {path:?} cannot be used for an upper layer: {lacks}")]
    Unsuitable {
        /// The upper directory.
        path: PathBuf,
        /// What it lacks.
        lacks: &'static str,
    },
    /// A file was written by overlayfs in a way that is not understood here.
    #[error("{name:?} carries {mark}, which is not supported: it was written with {option}")]
    Foreign {
        /// The name of the file.
        name: String,
        /// The attribute.
        mark: &'static str,
        /// The mount option of overlayfs that leads to it.
        option: &'static str,
    },
    /// A name in the layer is on another filesystem.
    #[error("{name:?} is on another filesystem than the layer that it is in")]
    Crosses {
        /// The name.
        name: String,
    },
}

/// The result of an operation on a layer on disk.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The number for the caller of an operation.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::Sys(error) => Errno::from_raw(error.errno()),
            Self::Refused(errno) => *errno,
            Self::Source(error) => error.errno(),
            Self::InUse { .. } => Errno::EBUSY,
            Self::Apart { .. } => Errno::EINVAL,
            Self::Unsuitable { .. } => Errno::ENOTSUP,
            Self::Foreign { .. } => Errno::EIO,
            Self::Crosses { .. } => Errno::EXDEV,
        }
    }

    /// Whether the operation failed with this number.
    pub(super) fn is(&self, errno: Errno) -> bool {
        self.errno() == errno
    }
}

impl From<Error> for tree::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(errno) => errno.into(),
            other => Self::new(other.errno(), other),
        }
    }
}
