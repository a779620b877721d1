//! `mica history`.

use crate::oci::{Descriptor, DiffId, History};
use crate::store::Store;

use super::{Image, Result, find};

/// One line of the history of an image.
#[derive(Debug, Clone)]
pub struct Entry {
    /// How it came to be.
    pub history: History,
    /// The layer it made, if it made one, with the digest of its archive.
    pub layer: Option<(Descriptor, DiffId)>,
}

/// How the image that `text` names came to be, newest first. Layers that the history does not
/// account for come last, without words.
///
/// # Errors
/// Those of [`find`] and [`Image::load`].
pub fn history(store: &Store, text: &str) -> Result<(Image, Vec<Entry>)> {
    let image = Image::load(store, &find(store, text)?.manifest)?;
    let layers = image.manifest.layers.iter().cloned();
    let mut layers = layers.zip(image.config.rootfs.diff_ids.iter().copied());
    let mut entries = Vec::new();
    for history in &image.config.history {
        let layer = if history.empty_layer { None } else { layers.next() };
        entries.push(Entry { history: history.clone(), layer });
    }
    let rest = layers.map(|layer| Entry { history: History::default(), layer: Some(layer) });
    entries.extend(rest);
    entries.reverse();
    Ok((image, entries))
}
