//! Errors of mounting and serving.

use std::io;
use std::path::PathBuf;

use crate::sys;

/// Why a view could not be mounted, served or unmounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no directory to mount on.
    #[error("cannot mount on {at:?}")]
    Mountpoint {
        /// Where it was to be mounted.
        at: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The FUSE device cannot be opened: no module, or no permission.
    #[error("cannot open {device:?}")]
    Device {
        /// The device.
        device: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The kernel refused the mount.
    #[error("cannot mount on {at:?}")]
    Mount {
        /// Where it was to be mounted.
        at: PathBuf,
        /// The call that failed.
        source: sys::Error,
    },
    /// The mount helper for users without privilege cannot be run.
    #[error("cannot run {helper}")]
    Helper {
        /// Its name.
        helper: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The mount helper for users without privilege refused.
    #[error("{helper} refused {at:?}: {said}")]
    Refused {
        /// Its name.
        helper: &'static str,
        /// What it was to mount on or to unmount.
        at: PathBuf,
        /// What it wrote to standard error.
        said: String,
    },
    /// The kernel and this program did not agree on a protocol, or there is no thread to serve.
    #[error("cannot start to serve {at:?}")]
    Start {
        /// Where it is mounted.
        at: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Serving ended before the filesystem was unmounted.
    #[error("{at:?} is no longer served")]
    Serve {
        /// Where it is mounted.
        at: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel refused to unmount.
    #[error("cannot unmount {at:?}")]
    Unmount {
        /// What was to be unmounted.
        at: PathBuf,
        /// The call that failed.
        source: sys::Error,
    },
}

impl Error {
    /// Whether a mount cannot be unmounted because it is in use.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Unmount { source, .. } => source.is_busy(),
            // The helper says it in words, which it does not translate.
            Self::Refused { said, .. } => said.ends_with("Device or resource busy"),
            _ => false,
        }
    }
}

/// The result of mounting, serving or unmounting.
pub type Result<T> = std::result::Result<T, Error>;
