//! What a registry serves as a "manifest": a manifest or an index, and how one is told from the
//! other without doubt.
//!
//! A document that could be read both ways lets one signature stand for two contents
//! (CVE-2021-41190), so everything that contradicts itself is refused: both `layers` and
//! `manifests`, a `mediaType` that its fields or its sender deny.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::descriptor::null_is_default;
use super::{Descriptor, Index, Manifest, MediaKind, MediaType};

/// A manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several images for one name.
    Index(Index),
}

/// Why some bytes are no manifest, index or config.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// More bytes than [`Document::MAX_SIZE`].
    #[error("it has {0} bytes, more than 4 MiB")]
    TooLarge(usize),
    /// Not the JSON it must be.
    #[error("it is not valid JSON of its kind")]
    Json(#[from] serde_json::Error),
    /// Docker's schema 1.
    #[error(
        "it has the obsolete Docker format \"schema 1\", which is not supported: \
         the image must be pushed again by a current tool"
    )]
    SchemaOne,
    /// Another schema version than 2.
    #[error("its schemaVersion is {0}, and only 2 is known")]
    SchemaVersion(i64),
    /// It can be read in two ways.
    #[error("it is ambiguous: it has the fields of a manifest and of an index")]
    Ambiguous,
    /// Its fields are of neither kind.
    #[error("it is neither a manifest nor an index: {0}")]
    Neither(&'static str),
    /// What it says it is and what it has or what it was sent as are different.
    #[error("it is of type {found}, not {expected}")]
    Contradiction {
        /// What its sender or its own fields say.
        expected: String,
        /// What its `mediaType` says.
        found: MediaType,
    },
    /// More layers or manifests than anyone needs.
    #[error("it lists {0} entries, more than 1000")]
    TooMany(usize),
    /// Config and manifest are not of one image.
    #[error("the config names {diff_ids} layers, the manifest {layers}")]
    LayerCount {
        /// How many the config names.
        diff_ids: usize,
        /// How many the manifest names.
        layers: usize,
    },
    /// The root filesystem is not made of layers.
    #[error("the config has a root filesystem of type \"{0}\", and only \"layers\" is known")]
    RootFs(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    media_type: Option<MediaType>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: BTreeMap<String, String>,
    fs_layers: Option<IgnoredAny>,
}

/// Read before anything else, since schema 1 has other fields in the same places.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    schema_version: i64,
}

impl Document {
    /// The largest document that is read, in bytes.
    pub const MAX_SIZE: usize = 4 << 20;
    /// The most layers or manifests that one may list.
    pub const MAX_ENTRIES: usize = 1000;

    /// Reads a document whose digest is verified already. `sent_as` is what its sender calls it:
    /// the `Content-Type` of the answer, or the media type in an index.
    ///
    /// # Errors
    /// [`DocumentError`], for each thing that is not as it must be.
    pub fn parse(raw: &[u8], sent_as: Option<&MediaType>) -> Result<Self, DocumentError> {
        if raw.len() > Self::MAX_SIZE {
            return Err(DocumentError::TooLarge(raw.len()));
        }
        match serde_json::from_slice::<Version>(raw)?.schema_version {
            2 => {}
            1 => return Err(DocumentError::SchemaOne),
            other => return Err(DocumentError::SchemaVersion(other)),
        }
        let mut raw: Raw = serde_json::from_slice(raw)?;
        raw.media_type = raw.media_type.filter(|said| !said.as_str().is_empty());
        if raw.fs_layers.is_some() {
            return Err(DocumentError::Ambiguous);
        }
        let said = raw.media_type.clone();
        let document = Self::from_fields(raw)?;
        document.agree(said.as_ref(), sent_as)?;
        Ok(document)
    }

    /// What it is.
    #[must_use]
    pub fn media_type(&self) -> &MediaType {
        match self {
            Self::Manifest(manifest) => &manifest.media_type,
            Self::Index(index) => &index.media_type,
        }
    }

    fn from_fields(raw: Raw) -> Result<Self, DocumentError> {
        let entries = raw.layers.as_ref().or(raw.manifests.as_ref()).map_or(0, Vec::len);
        if entries > Self::MAX_ENTRIES {
            return Err(DocumentError::TooMany(entries));
        }
        let or = |default| raw.media_type.clone().unwrap_or_else(|| MediaType::new(default));
        match (raw.config, raw.layers, raw.manifests) {
            (Some(config), Some(layers), None) => Ok(Self::Manifest(Manifest {
                media_type: or(MediaType::OCI_MANIFEST),
                config,
                layers,
                annotations: raw.annotations,
            })),
            (None, None, Some(manifests)) => Ok(Self::Index(Index {
                media_type: or(MediaType::OCI_INDEX),
                manifests,
                annotations: raw.annotations,
            })),
            (_, _, Some(_)) => Err(DocumentError::Ambiguous),
            (Some(_), None, None) => Err(DocumentError::Neither("it lists no layers")),
            (None, Some(_), None) => Err(DocumentError::Neither("it names no config")),
            (None, None, None) => Err(DocumentError::Neither("it lists nothing")),
        }
    }

    /// Checks what the document says of itself and what its sender says against its fields.
    fn agree(
        &self,
        said: Option<&MediaType>,
        sent_as: Option<&MediaType>,
    ) -> Result<(), DocumentError> {
        let kind = match self {
            Self::Manifest(_) => MediaKind::Manifest,
            Self::Index(_) => MediaKind::Index,
        };
        if let Some(said) = said.filter(|said| said.kind() != kind) {
            let expected = format!("a document with the fields of {}", self.article());
            return Err(DocumentError::Contradiction { expected, found: said.clone() });
        }
        // Some registries send everything as octets or plain JSON: that says nothing.
        let Some(sent_as) = sent_as.filter(|sent| sent.kind() != MediaKind::Other) else {
            return Ok(());
        };
        let agrees = match said {
            Some(said) => said == sent_as,
            None => sent_as.kind() == kind,
        };
        if agrees {
            return Ok(());
        }
        let expected = sent_as.to_string();
        Err(DocumentError::Contradiction { expected, found: self.media_type().clone() })
    }

    fn article(&self) -> &'static str {
        match self {
            Self::Manifest(_) => "a manifest",
            Self::Index(_) => "an index",
        }
    }
}
