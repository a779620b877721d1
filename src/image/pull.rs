//! `mica pull`: an image comes into the store without being unpacked.
//!
//! Layers come side by side, each in one pass: what the registry sends is hashed and written to
//! the store as it comes, and the same bytes go on to [`layer::build`]. A layer is published as
//! soon as its size, its digest and its diff id are found right, so that what was fetched before
//! a crash need not be fetched again; the image is published, by its name, after all of them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::layer::{self, Limits};
use crate::oci::{Descriptor, DiffId, Digest, Platform, Reference, Repository};
use crate::registry::{self, Client};
use crate::store::{Ref, Session, Store};

use super::tee::Tee;
use super::{Error, Image, Progress, Result, Step, now};

/// How many layers are fetched at a time.
const PARALLEL: usize = 4;

/// How registries are spoken to, and for what platform images are wanted.
#[derive(Debug, Clone)]
pub struct Remote {
    way: Way,
    platform: Platform,
}

#[derive(Debug, Clone)]
enum Way {
    /// A client for each pull.
    New(Tls),
    /// This client for all.
    Client(Client),
}

/// What a registry must prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    /// That it is who it says, by a certificate that is known here. Plain HTTP is spoken with
    /// this machine only.
    #[default]
    Verify,
    /// Nothing: plain HTTP will do, and any certificate.
    Any,
}

impl Remote {
    /// Images for `platform`, or else for this machine, from registries that prove what `tls`
    /// says.
    #[must_use]
    pub fn new(tls: Tls, platform: Option<Platform>) -> Self {
        Self { way: Way::New(tls), platform: platform.unwrap_or_else(Platform::host) }
    }

    /// As [`Remote::new`], through `client`.
    #[must_use]
    pub fn with_client(client: Client, platform: Option<Platform>) -> Self {
        Self { way: Way::Client(client), ..Self::new(Tls::Verify, platform) }
    }

    /// The client for an image of `repository`.
    fn client(&self, repository: &Repository) -> Client {
        let mut options = registry::Options::default();
        match &self.way {
            Way::Client(client) => return client.clone(),
            Way::New(Tls::Verify) => {}
            Way::New(Tls::Any) => options.http.insecure.push(repository.registry().to_owned()),
        }
        Client::new(options)
    }
}

/// Fetches the image that `reference` names, with all that the store does not have of it, and
/// gives it this name in the store. With the session, the image stays.
///
/// # Errors
/// [`Error::Registry`], [`Error::Layer`], [`Error::DiffId`], [`Error::Store`]. The store then
/// has no more than before, unless others use it: then what came stays until it is collected.
pub fn pull(
    store: &Store,
    remote: &Remote,
    reference: &Reference,
    progress: &dyn Progress,
) -> Result<(Session, Image)> {
    let session = store.enter()?;
    let client = remote.client(reference.repository());
    let found = client.image(reference, &remote.platform)?;
    let fetch = Fetch {
        session: &session,
        client: &client,
        repository: reference.repository(),
        progress,
        layers: layers(&found),
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        failure: Mutex::default(),
        added: Mutex::default(),
    };
    let (outcome, added) = fetch.run();
    match outcome.and_then(|()| publish(&session, reference, &found)) {
        Ok(image) => Ok((session, image)),
        Err(error) => {
            drop(session);
            if let Err(error) = undo(store, &added) {
                log::warn!("cannot remove what came of {reference}: {error}");
            }
            Err(error)
        }
    }
}

/// The layers, each once, the largest first: so the last to be fetched are small, and all
/// threads end at about the same time.
fn layers(found: &registry::Image) -> Vec<(Descriptor, DiffId)> {
    let descriptors = found.manifest.parsed.layers.iter().cloned();
    let diff_ids = found.config.parsed.rootfs.diff_ids.iter().copied();
    let mut layers: Vec<_> = descriptors.zip(diff_ids).collect();
    layers.sort_by_key(|(layer, diff_id)| {
        (std::cmp::Reverse(layer.size), layer.digest, *diff_id.digest())
    });
    layers.dedup_by(|a, b| (a.0.digest, a.0.size, a.1) == (b.0.digest, b.0.size, b.1));
    layers
}

/// Puts down what the image is, and last its name.
fn publish(session: &Session, reference: &Reference, found: &registry::Image) -> Result<Image> {
    for index in &found.indexes {
        session.put_blob(&index.digest, &index.raw)?;
    }
    session.put_blob(&found.config.digest, &found.config.raw)?;
    session.put_blob(&found.manifest.digest, &found.manifest.raw)?;
    session.put_ref(&Ref {
        name: reference.to_string(),
        manifest: found.manifest.digest,
        source: found.digest(),
        updated: now(),
    })?;
    Ok(Image {
        digest: found.manifest.digest,
        manifest: found.manifest.parsed.clone(),
        config: found.config.parsed.clone(),
        raw_config: found.config.raw.clone(),
    })
}

/// Removes layers that came before another one failed.
fn undo(store: &Store, added: &HashSet<Digest>) -> Result<()> {
    match store.try_collector()? {
        Some(collector) => {
            collector.collect_of(added)?;
        }
        None => log::info!("the store is in use: some layers stay until they are collected"),
    }
    Ok(())
}

/// The layers of one image on their way.
struct Fetch<'a> {
    session: &'a Session,
    client: &'a Client,
    repository: &'a Repository,
    progress: &'a dyn Progress,
    layers: Vec<(Descriptor, DiffId)>,
    /// Which layer is fetched next.
    next: AtomicUsize,
    /// Set when one has failed, for the others.
    stop: AtomicBool,
    /// What failed first.
    failure: Mutex<Option<Error>>,
    /// What was not in the store before.
    added: Mutex<HashSet<Digest>>,
}

impl Fetch<'_> {
    /// Fetches all; returns what was added, also when one failed.
    fn run(self) -> (Result<()>, HashSet<Digest>) {
        let sizes: Vec<_> =
            self.layers.iter().map(|(layer, _)| (layer.digest, layer.size)).collect();
        self.progress.layers(&sizes);
        thread::scope(|scope| {
            for _ in 1..self.layers.len().min(PARALLEL) {
                if let Err(error) = thread::Builder::new().spawn_scoped(scope, || self.work()) {
                    log::warn!("cannot start a thread: {error}");
                    break;
                }
            }
            self.work();
        });
        let failure = self.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        let added = self.added.into_inner().unwrap_or_else(PoisonError::into_inner);
        (failure.map_or(Ok(()), Err), added)
    }

    /// Fetches one layer after the other until there is none left, or one has failed.
    fn work(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some((layer, diff_id)) = self.layers.get(number) else { return };
            if let Err(error) = self.layer(layer, *diff_id) {
                self.progress.step(&layer.digest, Step::Failed);
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                // The others fail because they are stopped: the first says why.
                if !self.stop.swap(true, Ordering::Relaxed) {
                    *failure = Some(error);
                }
            }
        }
    }

    /// Sees to it that one layer is in the store.
    fn layer(&self, layer: &Descriptor, diff_id: DiffId) -> Result<()> {
        let digest = &layer.digest;
        let lock = match self.session.try_lock_layer(digest)? {
            Some(lock) => lock,
            None => {
                self.progress.step(digest, Step::Waiting);
                self.session.lock_layer(digest)?
            }
        };
        if self.is_there(layer, diff_id)? {
            self.progress.step(digest, Step::Present);
            return Ok(());
        }
        self.progress.step(digest, Step::Fetching);
        let mut blob = self.session.write_blob()?;
        let made = self.session.write_layer(digest)?;
        let source = self.client.blob(self.repository, layer);
        let mut tee = Tee::new(source, &mut blob, &self.stop, |bytes| {
            self.progress.fetched(digest, bytes);
        });
        let built = layer::build(&mut tee, made.path(), &Limits::default());
        // What came is judged first: wrong bytes make a wrong layer.
        let came = tee.finish();
        self.progress.step(digest, Step::Storing);
        came?;
        blob.check(digest, layer.size)?;
        let built =
            built.map_err(|error| Error::Layer { digest: *digest, source: Box::new(error) })?;
        if built.diff_id != diff_id {
            let (expected, found) = (diff_id, built.diff_id);
            return Err(Error::DiffId { layer: *digest, expected, found });
        }
        self.added.lock().unwrap_or_else(PoisonError::into_inner).insert(*digest);
        blob.commit(digest, layer.size)?;
        made.commit()?;
        drop(lock);
        self.progress.step(digest, Step::Done);
        Ok(())
    }

    /// Whether the store has the layer, as far as can be told without reading all of it. One that
    /// cannot be used is fetched again.
    fn is_there(&self, layer: &Descriptor, diff_id: DiffId) -> Result<bool> {
        if !self.session.has_layer(&layer.digest)?
            || self.session.blob_len(&layer.digest)? != Some(layer.size)
        {
            return Ok(false);
        }
        let cache = std::sync::Arc::new(layer::SpanCache::new(0));
        match super::local::open_layer(self.session, &layer.digest, diff_id, &cache) {
            Ok(_layer) => Ok(true),
            Err(error) => {
                log::warn!("the stored layer {} cannot be used: {error}", layer.digest);
                Ok(false)
            }
        }
    }
}
