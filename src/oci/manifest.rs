//! The manifest of one image (image-spec, manifest.md; Docker manifest v2, schema 2).

use std::collections::BTreeMap;

use super::{Descriptor, Document, DocumentError, MediaKind, MediaType};

/// One image: its config and its layers.
///
/// What is not kept here survives in the raw bytes, which callers store as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What the document says it is; the OCI type when it says nothing.
    pub media_type: MediaType,
    /// The config.
    pub config: Descriptor,
    /// The layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// Free text by key.
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads a manifest whose digest is verified already.
    ///
    /// # Errors
    /// [`DocumentError`]; an index is a [`DocumentError::Contradiction`].
    pub fn parse(raw: &[u8]) -> Result<Self, DocumentError> {
        match Document::parse(raw, None)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(index) => Err(DocumentError::Contradiction {
                expected: "a manifest".to_owned(),
                found: index.media_type,
            }),
        }
    }

    /// Whether it describes an image that can run: a chart or a signature does not.
    #[must_use]
    pub fn is_image(&self) -> bool {
        self.config.media_type.kind() == MediaKind::Config
    }
}
