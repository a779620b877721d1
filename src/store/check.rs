//! Reading everything again: is what is stored what its name says?

use std::fmt;
use std::io::{self, Read as _};

use super::error::failed;
use super::gc::digests_in;
use super::{Error, Result, Store};
use crate::oci::{Digest, Hasher};

/// How much of a blob is read at a time.
const PIECE: usize = 1024 * 1024;

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// How many blobs were read.
    pub blobs: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// What is not as it should be.
    pub damage: Vec<Damage>,
}

/// One thing that is not as it should be.
#[derive(Debug)]
pub enum Damage {
    /// A blob that is not what its name says, or that cannot be read.
    Blob(Digest, Error),
    /// The index of a layer whose blob is not there.
    Layer(Digest),
    /// A name whose image is not there.
    Ref(String, Error),
    /// The records of names cannot be read.
    Records(Error),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(digest, error) => write!(f, "blob {digest}: {error}"),
            Self::Layer(digest) => write!(f, "layer {digest}: its blob is not in the store"),
            Self::Ref(name, error) => write!(f, "image {name}: {error}"),
            Self::Records(error) => error.fmt(f),
        }
    }
}

impl Store {
    /// Reads every blob again and follows every name. Damage is reported, not an error.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be listed.
    pub fn check(&self) -> Result<Report> {
        let mut report = Report::default();
        for (_, digest) in digests_in(&self.root().join("blobs/sha256"))? {
            report.blobs += 1;
            match self.hash_blob(&digest) {
                Ok((len, found)) => {
                    report.bytes = report.bytes.saturating_add(len);
                    if found != digest {
                        let error = Error::Damaged { expected: digest, found };
                        report.damage.push(Damage::Blob(digest, error));
                    }
                }
                Err(error) => report.damage.push(Damage::Blob(digest, error)),
            }
        }
        for (_, digest) in digests_in(&self.root().join("layers"))? {
            if self.blob_len(&digest)?.is_none() {
                report.damage.push(Damage::Layer(digest));
            }
        }
        match self.refs() {
            Ok(refs) => {
                for record in refs {
                    if let Err(error) = self.follow(&record.manifest) {
                        report.damage.push(Damage::Ref(record.name, error));
                    }
                }
            }
            Err(error) => report.damage.push(Damage::Records(error)),
        }
        Ok(report)
    }

    /// Whether all parts of an image are there.
    fn follow(&self, manifest: &Digest) -> Result<()> {
        for part in self.parts(manifest)? {
            if self.blob_len(&part)?.is_none() {
                return Err(Error::Missing(part));
            }
        }
        Ok(())
    }

    /// The length and the digest of a blob as it is now.
    fn hash_blob(&self, digest: &Digest) -> Result<(u64, Digest)> {
        let mut file = self.open_blob(digest)?;
        let path = self.blob_path(digest);
        let mut hasher = Hasher::new();
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok((hasher.len(), hasher.finish())),
                Ok(read) => hasher.update(piece.get(..read).unwrap_or(&piece)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("read", &path)(error)),
            }
        }
    }
}
