//! Image words, pure: digests, references, descriptors, manifests, configs, platforms, and how a
//! layer spells a whiteout. Parsed once, here, into types; nothing here does I/O.

mod digest;
pub mod whiteout;

pub use digest::{ChainId, DiffId, Digest, DigestError, Hasher};
