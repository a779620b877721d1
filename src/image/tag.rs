//! `mica tag`.

use crate::store::{Ref, Store};

use super::{Error, Result, find, now, parse};

/// Gives the image that `source` names the name `target` too, taking it from the image that has
/// it, if any.
///
/// # Errors
/// Those of [`find`]; [`Error::TagWithDigest`]; [`Error::Store`].
pub fn tag(store: &Store, source: &str, target: &str) -> Result<()> {
    let name = parse(target)?;
    if name.digest().is_some() {
        return Err(Error::TagWithDigest(target.to_owned()));
    }
    let session = store.enter()?;
    let found = find(store, source)?;
    let source = found.refs.first().map_or(found.manifest, |record| record.source);
    session.put_ref(&Ref {
        name: name.to_string(),
        manifest: found.manifest,
        source,
        updated: now(),
    })?;
    Ok(())
}
