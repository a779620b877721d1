//! `mica images`.

use crate::oci::{Digest, Reference};
use crate::store::Store;

use super::{Image, Result};

/// A name in the store, with what is known of its image.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The name.
    pub reference: Reference,
    /// What the registry has under the name: the digest of the manifest or of the index.
    pub source: Digest,
    /// When it was fetched or given this name, in seconds since 1970.
    pub updated: u64,
    /// The image.
    pub image: Image,
}

/// All names in the store, in their order. An image that cannot be read is logged and left out:
/// it must not hide the others.
///
/// # Errors
/// [`super::Error::Store`] when the store cannot be listed.
pub fn list(store: &Store) -> Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for record in store.refs()? {
        let image = super::parse(&record.name)
            .and_then(|reference| Ok((reference, Image::load(store, &record.manifest)?)));
        match image {
            Ok((reference, image)) => listed.push(Listed {
                reference,
                source: record.source,
                updated: record.updated,
                image,
            }),
            Err(error) => log::warn!("image {}: {error}", record.name),
        }
    }
    Ok(listed)
}
