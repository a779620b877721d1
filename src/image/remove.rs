//! `mica rmi` and `mica image prune`.

use std::collections::BTreeSet;

use crate::oci::Digest;
use crate::store::{Collector, Freed, Ref, Session, Store};

use super::local::By;
use super::{Error, Image, Result, find};

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    /// Names that are gone.
    pub names: Vec<String>,
    /// The IDs of images that no name stands for any more; of one that is damaged, the digest of
    /// its manifest.
    pub images: Vec<Digest>,
    /// What that freed; `None` when others were using the store, so that a later removal frees
    /// it.
    pub freed: Option<Freed>,
}

/// Who removes names: alone, or beside others.
enum Hand {
    Alone(Collector),
    Beside(Session),
}

impl Hand {
    fn take(store: &Store) -> Result<Self> {
        match store.try_collector()? {
            Some(collector) => Ok(Self::Alone(collector)),
            None => Ok(Self::Beside(store.enter()?)),
        }
    }

    fn remove(&self, name: &str) -> Result<bool> {
        match self {
            Self::Alone(collector) => Ok(collector.remove_ref(name)?),
            Self::Beside(session) => Ok(session.remove_ref(name)?),
        }
    }

    fn collect(self) -> Result<Option<Freed>> {
        match self {
            Self::Alone(collector) => Ok(Some(collector.collect()?)),
            Self::Beside(_session) => Ok(None),
        }
    }
}

/// Removes the image that `text` names: the name, and with its last name the image. By ID, all
/// its names. What a container needs stays on the disk until that is removed.
///
/// # Errors
/// Those of [`find`]; without `force` [`Error::InUse`] and [`Error::SeveralNames`];
/// [`Error::Store`].
pub fn remove(store: &Store, text: &str, force: bool) -> Result<Removed> {
    let hand = Hand::take(store)?;
    let found = find(store, text)?;
    if found.by == By::Id && found.refs.len() > 1 && !force {
        let names = found.refs.into_iter().map(|record| record.name).collect();
        return Err(Error::SeveralNames { text: text.to_owned(), names });
    }
    let going: BTreeSet<_> = found.refs.iter().map(|record| record.name.as_str()).collect();
    let stays = store
        .refs()?
        .iter()
        .any(|other| other.manifest == found.manifest && !going.contains(other.name.as_str()));
    if !stays && !force {
        let users = store.container_images()?.into_iter();
        let users: Vec<_> =
            users.filter(|(_, image)| *image == found.manifest).map(|(id, _)| id).collect();
        if !users.is_empty() {
            return Err(Error::InUse { text: text.to_owned(), containers: users });
        }
    }
    let images = if stays { Vec::new() } else { vec![found.manifest] };
    remove_refs(store, hand, found.refs, &images)
}

/// Removes what no name and no container needs; with `all`, also the names of images that no
/// container uses.
///
/// # Errors
/// [`Error::Store`].
pub fn prune(store: &Store, all: bool) -> Result<Removed> {
    let hand = Hand::take(store)?;
    if !all {
        return remove_refs(store, hand, Vec::new(), &[]);
    }
    let used: BTreeSet<_> = store.container_images()?.into_iter().map(|(_, image)| image).collect();
    let unused: Vec<_> =
        store.refs()?.into_iter().filter(|record| !used.contains(&record.manifest)).collect();
    let images: BTreeSet<_> = unused.iter().map(|record| record.manifest).collect();
    remove_refs(store, hand, unused, &Vec::from_iter(images))
}

fn remove_refs(store: &Store, hand: Hand, refs: Vec<Ref>, images: &[Digest]) -> Result<Removed> {
    let id = |image: &Digest| Image::load(store, image).map_or(*image, |image| *image.id());
    let images = images.iter().map(id).collect();
    let mut removed = Removed { images, ..Removed::default() };
    for record in refs {
        if hand.remove(&record.name)? {
            removed.names.push(record.name);
        }
    }
    removed.freed = hand.collect()?;
    Ok(removed)
}
