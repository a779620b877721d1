//! From what was typed to an image in the store.

use crate::store::{Session, Store};

use super::local::By;
use super::{Error, Image, Progress, Remote, Result, find, parse, pull};

/// When the registry is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// When the store has no such image.
    #[default]
    Missing,
    /// Always, and what the store lacks is fetched.
    Always,
    /// Never.
    Never,
}

/// Finds the image that `text` names in the store, or fetches it, as `policy` says. With the
/// session, the image stays.
///
/// # Errors
/// Those of [`find`], [`Image::load`] and [`pull`].
pub fn resolve(
    store: &Store,
    text: &str,
    policy: PullPolicy,
    remote: &Remote,
    progress: &dyn Progress,
) -> Result<(Session, Image)> {
    let session = store.enter()?;
    let found = match (find(&session, text), policy) {
        (Ok(found), PullPolicy::Always) if found.by == By::Name => Err(found.refs),
        (Ok(found), _) => Ok(found.manifest),
        (Err(Error::NotFound { .. }), PullPolicy::Missing | PullPolicy::Always) => Err(Vec::new()),
        (Err(error), _) => return Err(error),
    };
    match found {
        Ok(manifest) => {
            let image = Image::load(&session, &manifest)?;
            Ok((session, image))
        }
        Err(refs) => {
            drop(session);
            let name = refs.first().map_or(text, |record| &record.name);
            pull(store, remote, &parse(name)?, progress)
        }
    }
}
