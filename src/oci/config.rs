//! The config of an image (image-spec, config.md).

use std::collections::{BTreeMap, BTreeSet};

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::descriptor::null_is_default;
use super::{DiffId, Document, DocumentError, Manifest, Platform};

/// How an image was made and how to run it.
///
/// What is not kept here survives in the raw bytes, which callers store as they came.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Config {
    /// What it runs on: os, architecture, variant.
    #[serde(flatten)]
    pub platform: Platform,
    /// When it was made: RFC 3339, as written.
    #[serde(default)]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default)]
    pub author: Option<String>,
    /// How to run it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: RunConfig,
    /// What its layers are.
    pub rootfs: RootFs,
    /// How each layer came to be, oldest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub history: Vec<History>,
}

/// How a container of the image runs unless told otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// `USER[:GROUP]`, names or numbers; empty is root.
    #[serde(deserialize_with = "null_is_default")]
    pub user: String,
    /// `KEY=VALUE`.
    #[serde(deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    /// The command that arguments are given to.
    #[serde(deserialize_with = "null_is_default")]
    pub entrypoint: Vec<String>,
    /// The command, or the arguments of the entry point.
    #[serde(deserialize_with = "null_is_default")]
    pub cmd: Vec<String>,
    /// The working directory; empty is `/`.
    #[serde(deserialize_with = "null_is_default")]
    pub working_dir: String,
    /// `PORT[/tcp|udp]`.
    #[serde(deserialize_with = "keys")]
    pub exposed_ports: BTreeSet<String>,
    /// Directories whose content outlives the container.
    #[serde(deserialize_with = "keys")]
    pub volumes: BTreeSet<String>,
    /// Free text by key.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the process to end: `SIGTERM` or a number.
    pub stop_signal: Option<String>,
}

/// What the layers of the image are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digest of each layer's archive before compression, bottom first.
    #[serde(deserialize_with = "null_is_default")]
    pub diff_ids: Vec<DiffId>,
}

/// How one layer came to be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct History {
    /// When: RFC 3339, as written.
    pub created: Option<String>,
    /// By what command.
    pub created_by: Option<String>,
    /// By whom.
    pub author: Option<String>,
    /// In their words.
    pub comment: Option<String>,
    /// Whether it made no layer.
    pub empty_layer: bool,
}

impl Config {
    /// Reads a config whose digest is verified already.
    ///
    /// # Errors
    /// [`DocumentError::TooLarge`], [`DocumentError::Json`], [`DocumentError::RootFs`],
    /// [`DocumentError::TooMany`].
    pub fn parse(raw: &[u8]) -> Result<Self, DocumentError> {
        if raw.len() > Document::MAX_SIZE {
            return Err(DocumentError::TooLarge(raw.len()));
        }
        let config: Self = serde_json::from_slice(raw)?;
        if config.rootfs.kind != "layers" {
            return Err(DocumentError::RootFs(config.rootfs.kind));
        }
        let layers = config.rootfs.diff_ids.len();
        if layers > Document::MAX_ENTRIES {
            return Err(DocumentError::TooMany(layers));
        }
        Ok(config)
    }

    /// Checks that this can be the config of `manifest`: one diff id for each layer.
    ///
    /// # Errors
    /// [`DocumentError::LayerCount`].
    pub fn check_against(&self, manifest: &Manifest) -> Result<(), DocumentError> {
        let (diff_ids, layers) = (self.rootfs.diff_ids.len(), manifest.layers.len());
        if diff_ids == layers {
            return Ok(());
        }
        Err(DocumentError::LayerCount { diff_ids, layers })
    }
}

/// The keys of an object whose values are empty objects: how Go spells a set.
fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    let map = Option::<BTreeMap<String, IgnoredAny>>::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}
