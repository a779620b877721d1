//! Images that are in the store.

use std::sync::Arc;

use crate::blob::FileBlob;
use crate::layer::{self, Layer, SpanCache};
use crate::oci::{Config, DiffId, Digest, Document, Manifest, Reference};
use crate::store::{Ref, Store};

use super::{Error, Result};

/// The fewest digits of an image ID that name it.
const MIN_ID: usize = 1;

/// An image in the store, read and verified. Its layers are not looked at.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of its manifest.
    pub digest: Digest,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its config.
    pub config: Config,
    /// Its config as it came.
    pub raw_config: Vec<u8>,
}

/// What a text that names an image means in the store.
#[derive(Debug, Clone)]
pub struct Found {
    /// The digest of the manifest.
    pub manifest: Digest,
    /// The record of the name, or all records of the image when the text is an ID.
    pub refs: Vec<Ref>,
    /// How it was found.
    pub by: By,
}

/// How an image was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// By name.
    Name,
    /// By the digits of its ID.
    Id,
}

impl Image {
    /// Reads the image of the manifest `digest`.
    ///
    /// # Errors
    /// [`Error::Store`] when parts of it are missing or damaged, [`Error::Document`].
    pub fn load(store: &Store, digest: &Digest) -> Result<Self> {
        let read = |digest: &Digest| store.read_blob(digest, Document::MAX_SIZE as u64);
        let raw = read(digest)?;
        let manifest =
            Manifest::parse(&raw).map_err(|source| Error::Document { digest: *digest, source })?;
        let raw_config = read(&manifest.config.digest)?;
        let config = Config::parse(&raw_config)
            .and_then(|config| config.check_against(&manifest).map(|()| config))
            .map_err(|source| Error::Document { digest: manifest.config.digest, source })?;
        Ok(Self { digest: *digest, manifest, config, raw_config })
    }

    /// The ID of the image: the digest of its config.
    #[must_use]
    pub fn id(&self) -> &Digest {
        &self.manifest.config.digest
    }

    /// Opens its layers, bottom first. They keep the files open that they need, so that they can
    /// be read also when the image is removed from the store. What is decoded of them is kept in
    /// `cache`. A layer that occurs twice is opened where it is uppermost only: there it says again
    /// all that it says below.
    ///
    /// # Errors
    /// [`Error::Layer`].
    pub fn open_layers(&self, store: &Store, cache: &Arc<SpanCache>) -> Result<Vec<Layer>> {
        let diff_ids = &self.config.rootfs.diff_ids;
        let mut layers = Vec::with_capacity(diff_ids.len());
        for (number, (layer, diff_id)) in self.manifest.layers.iter().zip(diff_ids).enumerate() {
            let again = diff_ids.iter().skip(number + 1).any(|above| above == diff_id);
            if !again {
                layers.push(open_layer(store, &layer.digest, *diff_id, cache)?);
            }
        }
        Ok(layers)
    }

    /// How many bytes its layers and its config have, as they are stored.
    #[must_use]
    pub fn size(&self) -> u64 {
        let layers = self.manifest.layers.iter().map(|layer| layer.size);
        layers.fold(self.manifest.config.size, u64::saturating_add)
    }
}

/// Opens a layer that is in the store. The time it takes does not depend on its size.
pub(super) fn open_layer(
    store: &Store,
    digest: &Digest,
    diff_id: DiffId,
    cache: &Arc<SpanCache>,
) -> Result<Layer> {
    let failed = |error| Error::Layer { digest: *digest, source: Box::new(error) };
    let blob = FileBlob::open(&store.blob_path(digest))
        .map_err(|error| failed(layer::Error::from(error)))?;
    let directory = store.layer_path(digest);
    Layer::open(*digest, diff_id, Arc::new(blob), &directory, cache).map_err(failed)
}

/// Reads a reference.
///
/// # Errors
/// [`Error::Reference`].
pub fn parse(text: &str) -> Result<Reference> {
    text.parse().map_err(|source| Error::Reference { text: text.to_owned(), source })
}

/// Finds the image that `text` names: a reference; a reference without its registry, when only
/// one name in the store ends so; or the first digits of an ID.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Ambiguous`], [`Error::Reference`], [`Error::Store`].
pub fn find(store: &Store, text: &str) -> Result<Found> {
    let refs = store.refs()?;
    let reference = parse(text);
    if let Ok(reference) = &reference {
        let exact = by_reference(&refs, reference);
        let found =
            exact.map_or_else(|| by_ending(&refs, text, reference), |found| Ok(Some(found)));
        if let Some(found) = found? {
            let refs = vec![found.clone()];
            return Ok(Found { manifest: found.manifest, refs, by: By::Name });
        }
    }
    if let Some(found) = by_id(store, &refs, text)? {
        return Ok(found);
    }
    reference?;
    Err(Error::NotFound { text: text.to_owned(), near: near(&refs, text) })
}

/// The record that stands for exactly `reference`.
fn by_reference<'r>(refs: &'r [Ref], reference: &Reference) -> Option<&'r Ref> {
    let name = reference.to_string();
    if let Some(found) = refs.iter().find(|found| found.name == name) {
        return Some(found);
    }
    // A digest decides alone: any name of the repository that has it will do.
    let digest = reference.digest()?;
    refs.iter().find(|found| {
        (found.source == *digest || found.manifest == *digest)
            && parse(&found.name).is_ok_and(|name| name.repository() == reference.repository())
    })
}

/// The one record whose name is `text` behind some registry.
fn by_ending<'r>(refs: &'r [Ref], text: &str, reference: &Reference) -> Result<Option<&'r Ref>> {
    let text = text.strip_prefix("docker://").unwrap_or(text);
    let tag = match reference.tag() {
        Some(tag) if !text.ends_with(&format!(":{tag}")) => format!(":{tag}"),
        _ => String::new(),
    };
    let ending = format!("/{text}{tag}");
    let found: Vec<_> = refs.iter().filter(|found| found.name.ends_with(&ending)).collect();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        several => Err(Error::Ambiguous {
            text: text.to_owned(),
            found: several.iter().map(|found| found.name.clone()).collect(),
        }),
    }
}

/// The image whose ID begins with the digits `text`.
fn by_id(store: &Store, refs: &[Ref], text: &str) -> Result<Option<Found>> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    if digits.len() < MIN_ID || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let digits = digits.to_ascii_lowercase();
    let mut found: Option<(Digest, Found)> = None;
    for record in refs {
        let image = match Image::load(store, &record.manifest) {
            Ok(image) => image,
            Err(error) => {
                log::warn!("image {}: {error}", record.name);
                continue;
            }
        };
        if !image.id().hex().starts_with(&digits) {
            continue;
        }
        match &mut found {
            Some((id, found)) if id == image.id() => found.refs.push(record.clone()),
            Some((id, _)) => {
                let found = vec![id.to_string(), image.id().to_string()];
                return Err(Error::Ambiguous { text: text.to_owned(), found });
            }
            None => {
                let (manifest, refs) = (record.manifest, vec![record.clone()]);
                found = Some((*image.id(), Found { manifest, refs, by: By::Id }));
            }
        }
    }
    Ok(found.map(|(_, found)| found))
}

/// Names in the store that someone who typed `text` may have meant.
fn near(refs: &[Ref], text: &str) -> Vec<String> {
    let path = |name: &str| {
        let last = name.rsplit('/').next().unwrap_or(name);
        last.split([':', '@']).next().unwrap_or(last).to_owned()
    };
    let wanted = path(text);
    let names = refs.iter().filter(|found| {
        let name = path(&found.name);
        name.contains(&wanted) || wanted.contains(&name)
    });
    names.map(|found| found.name.clone()).take(5).collect()
}
