//! How a verb tells what it is doing, to whoever wants to show it.

use crate::oci::Digest;

/// What happens to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Another process fetches it; we wait.
    Waiting,
    /// Its bytes come.
    Fetching,
    /// All bytes came; they are checked and made durable.
    Storing,
    /// It is in the store now.
    Done,
    /// It was in the store already.
    Present,
    /// It could not be had.
    Failed,
}

/// Who is told. Calls come from many threads at once and should return at once.
pub trait Progress: Sync {
    /// The layers of the image, with their sizes in bytes, in the order of the image.
    fn layers(&self, layers: &[(Digest, u64)]);

    /// What happens to a layer now.
    fn step(&self, layer: &Digest, step: Step);

    /// How many bytes of a layer have come so far.
    fn fetched(&self, layer: &Digest, bytes: u64);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn layers(&self, _layers: &[(Digest, u64)]) {}
    fn step(&self, _layer: &Digest, _step: Step) {}
    fn fetched(&self, _layer: &Digest, _bytes: u64) {}
}
