//! A list of manifests for one name (image-spec, image-index.md; Docker manifest list).

use std::collections::BTreeMap;

use super::{Descriptor, Document, DocumentError, MediaKind, MediaType, Platform};

/// The manifests of one name: one for each platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// What the document says it is; the OCI type when it says nothing.
    pub media_type: MediaType,
    /// The manifests, in the publisher's order.
    pub manifests: Vec<Descriptor>,
    /// Free text by key.
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// Reads an index whose digest is verified already.
    ///
    /// # Errors
    /// [`DocumentError`]; a manifest is a [`DocumentError::Contradiction`].
    pub fn parse(raw: &[u8]) -> Result<Self, DocumentError> {
        match Document::parse(raw, None)? {
            Document::Index(index) => Ok(index),
            Document::Manifest(manifest) => Err(DocumentError::Contradiction {
                expected: "an index".to_owned(),
                found: manifest.media_type,
            }),
        }
    }

    /// The manifest that fits `wanted` best, the first of equals.
    ///
    /// When no entry fits, a single one that does not say what it is for is taken: its config
    /// says it. Attestations and other things that are no images have the platform
    /// `unknown/unknown` or a media type of their own and are never taken.
    #[must_use]
    pub fn choose(&self, wanted: &Platform) -> Option<&Descriptor> {
        let images = || {
            self.manifests.iter().filter(|entry| {
                matches!(entry.media_type.kind(), MediaKind::Manifest | MediaKind::Index)
            })
        };
        let rank = |entry: &&Descriptor| wanted.rank(entry.platform.as_ref()?);
        let best =
            images().filter_map(|entry| Some((rank(&entry)?, entry))).min_by_key(|(r, _)| *r);
        if let Some((_, entry)) = best {
            return Some(entry);
        }
        let mut unnamed = images().filter(|entry| entry.platform.is_none());
        match (unnamed.next(), unnamed.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    }

    /// The platforms there are images for.
    #[must_use]
    pub fn platforms(&self) -> Vec<&Platform> {
        let known = |platform: &&Platform| platform.os != "unknown";
        self.manifests.iter().filter_map(|entry| entry.platform.as_ref()).filter(known).collect()
    }
}
