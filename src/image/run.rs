//! `mica run`: a container of an image; and what becomes of containers afterwards.

use std::io;
use std::path::{Path, PathBuf};

use crate::fuse::{self, MountOptions};
use crate::run::state::{Containers, Listed, New};
use crate::run::{Exit, IdMaps, Overrides, Rootfs, from_config, launch};
use crate::store::{Session, Store};
use crate::sys::daemon;
use crate::union::Owners;

use super::view::{Writable, view};
use super::{Error, Image, Result};

/// A container to run.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// Its name; without one, the first 12 digits of its id.
    pub name: Option<String>,
    /// The image as the caller named it.
    pub reference: String,
    /// What is to be otherwise than the image says.
    pub wanted: Overrides,
    /// Which ids of the host stand for those of the container.
    pub ids: IdMaps,
}

/// Runs a command in a new container of `image` until it ends. The process has a single thread
/// then, and signals that it gets meanwhile go to the command.
///
/// # Errors
/// [`Error::Run`]; what kept the layers from being opened or mounted is among its causes.
pub fn run(session: Session, image: &Image, request: RunRequest) -> Result<Exit> {
    let RunRequest { name, reference, wanted, ids } = request;
    let containers = containers(&session)?;
    let id = containers.new_id()?;
    let dir = containers.dir_of(&id);
    let spec = from_config(&image.config.config, wanted, &id, ids.clone(), dir.clone())?;
    let container = containers.create(New {
        id,
        name,
        image: image.digest,
        reference: reference.clone(),
        command: spec.args.iter().map(|arg| arg.display().to_string()).collect(),
        remove: spec.remove,
        ids,
    })?;
    let store = (*session).clone();
    // From here on the record keeps the image from being collected.
    drop(session);
    container.started()?;
    let place = Place { dir, owners: owners(&spec.ids), volatile: spec.remove, source: reference };
    let mount = move |at: &Path| place.mount(&store, image, at);
    let ended = launch(&spec, Box::new(mount));
    let exit = match &ended {
        Ok(exit) => *exit,
        Err(error) => Exit::Code(error.exit_code()),
    };
    container.ended(exit)?;
    Ok(ended?)
}

/// Who owns files for one who has these ids.
fn owners(ids: &IdMaps) -> Owners {
    match ids {
        IdMaps::Host | IdMaps::Ranges { .. } => Owners::Exact,
        IdMaps::Single { .. } => Owners::Squashed { uid: 0, gid: 0 },
    }
}

/// A root filesystem that this process serves.
struct Served(fuse::Session);

impl Rootfs for Served {
    fn unmount(self: Box<Self>) -> io::Result<()> {
        self.0.unmount().map_err(io::Error::other)
    }
}

/// How the root filesystem of a container is mounted.
struct Place {
    /// The container's directory.
    dir: PathBuf,
    owners: Owners,
    /// Whether what is written may be lost in a crash.
    volatile: bool,
    /// What mount tables show.
    source: String,
}

impl Place {
    fn mount(self, store: &Store, image: &Image, at: &Path) -> io::Result<Box<dyn Rootfs>> {
        daemon::clear_umask();
        let (upper, work) = (self.dir.join("upper"), self.dir.join("work"));
        let writable = Writable { upper, work, volatile: self.volatile };
        let union = view(store, image, Some(&writable), self.owners).map_err(io::Error::other)?;
        let options = MountOptions {
            source: self.source.into(),
            allow_other: true,
            suid: true,
            ..MountOptions::default()
        };
        let session = fuse::serve(union, at, &options).map_err(io::Error::other)?;
        Ok(Box::new(Served(session)))
    }
}

/// The containers of a store, after what killed processes left is cleared up.
fn containers(store: &Store) -> Result<Containers> {
    let containers = Containers::open(store.containers_path())?;
    containers.sweep()?;
    Ok(containers)
}

/// All containers, oldest first.
///
/// # Errors
/// [`Error::Run`].
pub fn list_containers(store: &Store) -> Result<Vec<Listed>> {
    Ok(containers(store)?.list()?)
}

/// Removes the container that `text` names, by name or by the first digits of its id, with all that
/// it wrote; with `force` also one that runs, which is killed first. Returns its id.
///
/// # Errors
/// [`Error::NoContainer`]; [`Error::Run`] when it runs.
pub fn remove_container(store: &Store, text: &str, force: bool) -> Result<String> {
    let containers = containers(store)?;
    let found = containers.find(text)?.ok_or_else(|| Error::NoContainer(text.to_owned()))?;
    let container = if force { containers.seize(&found) } else { containers.take(&found) }?;
    container.remove()?;
    Ok(found.config.id)
}
