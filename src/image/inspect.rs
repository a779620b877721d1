//! `mica inspect`.

use serde_json::{Value, json};

use crate::store::Store;

use super::{Error, Image, Result, find, parse};

/// All that is known of the image that `text` names, in the members that `docker inspect` and
/// `podman inspect` have. What the config holds is given as it is there.
///
/// # Errors
/// Those of [`find`] and [`Image::load`].
pub fn inspect(store: &Store, text: &str) -> Result<Value> {
    let found = find(store, text)?;
    let image = Image::load(store, &found.manifest)?;
    let config: Value = serde_json::from_slice(&image.raw_config)
        .map_err(|source| Error::Document { digest: *image.id(), source: source.into() })?;
    let (mut tags, mut digests) = (Vec::new(), Vec::new());
    for record in store.refs()? {
        if record.manifest != image.digest {
            continue;
        }
        let reference = parse(&record.name)?;
        digests.push(reference.with_digest(record.source).to_string());
        if reference.tag().is_some() {
            tags.push(record.name);
        }
    }
    digests.sort();
    digests.dedup();
    let layers: Vec<_> = image.manifest.layers.iter().map(|layer| {
        json!({"MediaType": layer.media_type, "Digest": layer.digest, "Size": layer.size})
    }).collect();
    let of = |member: &str| config.get(member).cloned().unwrap_or(Value::Null);
    Ok(json!({
        "Id": image.id(),
        "Digest": image.digest,
        "RepoTags": tags,
        "RepoDigests": digests,
        "Created": of("created"),
        "Author": of("author"),
        "Architecture": of("architecture"),
        "Variant": of("variant"),
        "Os": of("os"),
        "Size": image.size(),
        "ManifestType": image.manifest.media_type,
        "Annotations": image.manifest.annotations,
        "Config": of("config"),
        "RootFS": {"Type": "layers", "Layers": image.config.rootfs.diff_ids},
        "LayersData": layers,
        "History": of("history"),
    }))
}
