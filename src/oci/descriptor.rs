//! Descriptors and media types (image-spec, descriptor.md and media-types.md).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use super::{Digest, Platform};

/// What some bytes are, as `type/subtype` without parameters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaType(String);

/// What a [`MediaType`] means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    /// A manifest: OCI, or Docker schema 2.
    Manifest,
    /// A list of manifests: OCI index, or Docker manifest list.
    Index,
    /// A manifest of Docker's schema 1, which is no longer read.
    SchemaOne,
    /// The configuration of an image.
    Config,
    /// A layer: an archive in this compression. What the bytes say counts more.
    Layer(Compression),
    /// Anything else.
    Other,
}

/// How a layer's archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl MediaType {
    /// OCI image manifest.
    pub const OCI_MANIFEST: &'static str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image index.
    pub const OCI_INDEX: &'static str = "application/vnd.oci.image.index.v1+json";
    /// OCI image configuration.
    pub const OCI_CONFIG: &'static str = "application/vnd.oci.image.config.v1+json";
    /// Docker image manifest, schema 2.
    pub const DOCKER_MANIFEST: &'static str =
        "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker manifest list.
    pub const DOCKER_INDEX: &'static str =
        "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker image configuration.
    pub const DOCKER_CONFIG: &'static str = "application/vnd.docker.container.image.v1+json";

    /// The media type that `text` names; parameters (`; charset=utf-8`) are dropped.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let essence = text.split_once(';').map_or(text, |(essence, _)| essence);
        Self(essence.trim().to_ascii_lowercase())
    }

    /// `type/subtype`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it means here.
    #[must_use]
    pub fn kind(&self) -> MediaKind {
        match self.as_str() {
            Self::OCI_MANIFEST | Self::DOCKER_MANIFEST => MediaKind::Manifest,
            Self::OCI_INDEX | Self::DOCKER_INDEX => MediaKind::Index,
            Self::OCI_CONFIG | Self::DOCKER_CONFIG => MediaKind::Config,
            "application/vnd.docker.distribution.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v1+prettyjws" => MediaKind::SchemaOne,
            "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar" => MediaKind::Layer(Compression::None),
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => {
                MediaKind::Layer(Compression::Gzip)
            }
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
                MediaKind::Layer(Compression::Zstd)
            }
            _ => MediaKind::Other,
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A reference to some bytes: what they are, their digest and their size.
///
/// URLs to fetch them from elsewhere and embedded data are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// What the bytes are.
    #[serde(rename = "mediaType")]
    pub media_type: MediaType,
    /// Their digest.
    pub digest: Digest,
    /// Their size in bytes.
    pub size: u64,
    /// Free text by key.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// In an index: what the manifest is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// Go writes `null` for an empty list or map; both mean the same.
pub(super) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{Compression, Descriptor, MediaKind, MediaType};
    use crate::oci::Digest;

    #[test]
    fn parameters_and_case_do_not_change_a_media_type() {
        let plain = MediaType::new(MediaType::OCI_INDEX);
        let decorated = MediaType::OCI_INDEX.to_ascii_uppercase() + " ; charset=utf-8";
        assert_eq!(MediaType::new(&decorated), plain);
        assert_eq!(plain.kind(), MediaKind::Index);
    }

    #[test]
    fn the_compression_of_a_layer_is_told_by_its_media_type() {
        for (text, compression) in [
            ("application/vnd.oci.image.layer.v1.tar", Compression::None),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Gzip),
        ] {
            assert_eq!(MediaType::new(text).kind(), MediaKind::Layer(compression));
        }
        assert_eq!(MediaType::new("application/gzip").kind(), MediaKind::Other);
    }

    fn parse(size: &str) -> Result<Descriptor, serde_json::Error> {
        let digest = Digest::of(b"");
        serde_json::from_str(&format!(
            r#"{{"mediaType":"a/b","digest":"{digest}","size":{size},
                "urls":["x"],"annotations":null}}"#
        ))
    }

    #[test]
    fn a_size_that_is_no_count_of_bytes_is_refused() {
        assert_eq!(parse("0").unwrap().size, 0);
        for size in ["-1", "1.5", "1e3", "18446744073709551616", "\"1\"", "null"] {
            assert!(parse(size).is_err(), "{size}");
        }
    }
}
