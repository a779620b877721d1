//! Removing what nothing needs: everything that no name and no container refers to.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::ops::Deref;
use std::path::Path;

use serde::Deserialize;

use super::error::failed;
use super::refs::{read_record, remove_ref};
use super::{Error, Result, Store, temp};
use crate::oci::{Digest, Document, Manifest};

/// The right to remove content. While there is one, there are no sessions.
#[derive(Debug)]
pub struct Collector {
    store: Store,
    _alone: fs::File,
}

/// What a collection removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Freed {
    /// Blobs.
    pub blobs: u64,
    /// Indexes of layers, with their seek points.
    pub layers: u64,
    /// Bytes on the disk, with what dead processes left behind.
    pub bytes: u64,
}

/// What `containers/<id>/config.json` says of the image; the rest is not for us.
#[derive(Debug, Deserialize)]
struct Container {
    image: Digest,
}

impl Store {
    /// The right to remove content, or `None` while others use the store.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn try_collector(&self) -> Result<Option<Collector>> {
        let alone = self.try_lock_alone()?;
        Ok(alone.map(|alone| Collector { store: self.clone(), _alone: alone }))
    }

    /// The containers, each with the manifest of its image.
    ///
    /// # Errors
    /// [`Error::Record`], [`Error::Io`].
    pub fn container_images(&self) -> Result<Vec<(String, Digest)>> {
        let directory = self.containers_path();
        let mut images = Vec::new();
        for entry in directory.read_dir().map_err(failed("list", &directory))? {
            let entry = entry.map_err(failed("list", &directory))?;
            // One without a record is being made or being removed.
            if let Some(found) = read_record::<Container>(&entry.path().join("config.json"))? {
                images.push((entry.file_name().to_string_lossy().into_owned(), found.image));
            }
        }
        Ok(images)
    }

    /// Everything that names and containers refer to.
    fn needed(&self) -> Result<HashSet<Digest>> {
        let refs = self.refs()?;
        let mut needed: HashSet<_> = refs.iter().map(|found| found.source).collect();
        let manifests: HashSet<_> = refs
            .iter()
            .map(|found| found.manifest)
            .chain(self.container_images()?.into_iter().map(|(_, image)| image))
            .collect();
        for digest in manifests {
            needed.insert(digest);
            needed.extend(self.parts(&digest)?);
        }
        Ok(needed)
    }

    /// The config and the layers of an image.
    pub(super) fn parts(&self, manifest: &Digest) -> Result<Vec<Digest>> {
        let raw = self.read_blob(manifest, Document::MAX_SIZE as u64)?;
        let parsed = Manifest::parse(&raw)
            .map_err(|source| Error::Manifest { digest: *manifest, source })?;
        let layers = parsed.layers.iter().map(|layer| layer.digest);
        Ok(std::iter::once(parsed.config.digest).chain(layers).collect())
    }
}

impl Collector {
    /// Removes the record of `name`; says whether there was one.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Io`].
    pub fn remove_ref(&self, name: &str) -> Result<bool> {
        remove_ref(self, name)
    }

    /// Removes what no name and no container refers to.
    ///
    /// # Errors
    /// When it cannot be known what is needed, nothing is removed: [`Error::Record`],
    /// [`Error::Manifest`], [`Error::Missing`], [`Error::Damaged`]. Else [`Error::Io`].
    pub fn collect(&self) -> Result<Freed> {
        let needed = self.needed()?;
        self.sweep(|digest| !needed.contains(digest))
    }

    /// As [`Collector::collect`], but only blobs in `candidates`, and what was made of them.
    ///
    /// # Errors
    /// As [`Collector::collect`].
    pub fn collect_of(&self, candidates: &HashSet<Digest>) -> Result<Freed> {
        let needed = self.needed()?;
        self.sweep(|digest| candidates.contains(digest) && !needed.contains(digest))
    }

    fn sweep(&self, unwanted: impl Fn(&Digest) -> bool) -> Result<Freed> {
        let mut freed = Freed { bytes: temp::sweep(self)?, ..Freed::default() };
        // What is made of a blob goes before the blob, as it came after it.
        for (path, digest) in digests_in(&self.root().join("layers"))? {
            if unwanted(&digest) {
                freed.bytes = freed.bytes.saturating_add(temp::remove_directory(self, &path)?);
                freed.layers += 1;
            }
        }
        for (path, digest) in digests_in(&self.root().join("blobs/sha256"))? {
            if unwanted(&digest) {
                let bytes = temp::disk_usage(&path);
                fs::remove_file(&path).map_err(failed("remove", &path))?;
                freed.bytes = freed.bytes.saturating_add(bytes);
                freed.blobs += 1;
            }
        }
        // Nobody fetches a layer now: these are of processes that were killed.
        for (path, _layer) in digests_in(&self.root().join("locks"))? {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
        Ok(freed)
    }
}

impl Deref for Collector {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// What stands in `directory` under a digest. Other things are not ours and are left alone.
pub(super) fn digests_in(directory: &Path) -> Result<Vec<(std::path::PathBuf, Digest)>> {
    let entries = directory
        .read_dir()
        .and_then(Iterator::collect::<io::Result<Vec<_>>>)
        .map_err(failed("list", directory))?;
    let mut found = Vec::with_capacity(entries.len());
    for entry in entries {
        match entry.file_name().to_str().map(Digest::from_hex) {
            Some(Ok(digest)) => found.push((entry.path(), digest)),
            _ => log::warn!("{} does not belong in a store", entry.path().display()),
        }
    }
    Ok(found)
}
