//! Why bytes cannot be had.

use crate::oci::Digest;

/// Why bytes cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The range asked for does not lie within the blob.
    #[error("bytes {offset}..{end} were asked for, but there are only {len}")]
    PastEnd {
        /// The first byte asked for.
        offset: u64,
        /// The byte after the last one asked for.
        end: u64,
        /// How many there are.
        len: u64,
    },
    /// The bytes are not those that were verified when they came.
    #[error("bytes {offset}..{end} of blob {blob} are damaged: expected {expected}, found {found}")]
    Mismatch {
        /// The blob.
        blob: Digest,
        /// The first byte of the damaged range.
        offset: u64,
        /// The byte after its last.
        end: u64,
        /// The digest the range should have.
        expected: Digest,
        /// The digest it has.
        found: Digest,
    },
    /// Reading failed.
    #[error("cannot read {what}")]
    Io {
        /// What was read, for a person.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// The result of reading bytes.
pub type Result<T> = std::result::Result<T, Error>;
