//! Image words, pure: digests, references, descriptors, manifests, configs, platforms, and how a
//! layer spells a whiteout. Parsed once, here, into types; nothing here does I/O.
//!
//! Manifests, indexes and configs are read from bytes whose digest is verified already, and
//! whoever reads them keeps those bytes: what is parsed is for use, never to be written back.

mod config;
mod descriptor;
mod digest;
mod document;
mod index;
mod manifest;
mod platform;
mod reference;
pub mod whiteout;

pub use config::{Config, History, RootFs, RunConfig};
pub use descriptor::{Compression, Descriptor, MediaKind, MediaType};
pub use digest::{ChainId, DiffId, Digest, DigestError, Hasher};
pub use document::{Document, DocumentError};
pub use index::Index;
pub use manifest::Manifest;
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError, Repository};
