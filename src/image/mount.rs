//! `mica mount` and `mica umount`: an image as a directory of this machine.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use crate::fuse::{self, MountOptions};
use crate::store::Session;
use crate::sys::daemon::{self, Forked, Outcome};
use crate::sys::mount::Busy;
use crate::sys::mount_table;
use crate::sys::signal::{Mask, SignalFd};
use crate::sys::socket;
use crate::union::Owners;

use super::view::{Writable, view};
use super::{Error, Image, Result};

/// What mount tables show as the type of our mounts.
const FSTYPE: &str = "fuse.mica";

/// An image to mount, and how.
#[derive(Debug, Clone)]
pub struct MountRequest {
    /// Where: a directory.
    pub at: PathBuf,
    /// Where what is written goes; without it the mount is read-only.
    pub writable: Option<Writable>,
    /// Who owns files.
    pub owners: Owners,
    /// How the kernel is to treat the mount.
    pub options: MountOptions,
    /// Serve it in a process of its own, and return as soon as it is there.
    pub background: bool,
}

/// What came of [`mount`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounted {
    /// It is there, served by another process.
    InBackground,
    /// It was there, served by this process, and was unmounted.
    Ended,
    /// It is not there. The process that was to serve it has said why.
    Failed,
}

/// Mounts `image`. With [`MountRequest::background`] this returns in two processes: in the one that
/// called it once the mount is there, and in one that serves it in the end, or with the error that
/// kept it from serving. The caller has a single thread then.
///
/// # Errors
/// Those of opening the layers and the upper directory, [`Error::Mount`], [`Error::System`].
pub fn mount(session: Session, image: &Image, request: &MountRequest) -> Result<Mounted> {
    if !request.background {
        daemon::clear_umask();
        serve(session, image, request, || Ok(()))?;
        return Ok(Mounted::Ended);
    }
    match daemon::fork()? {
        Forked::Parent(starting) => match starting.wait()? {
            Outcome::Ready => Ok(Mounted::InBackground),
            Outcome::Failed(_) => Ok(Mounted::Failed),
            Outcome::Died(how) => Err(Error::Died(how)),
        },
        Forked::Child(mut report) => {
            let served = serve(session, image, request, || Ok(report.ready()?));
            if served.is_err() {
                // The error itself goes the way of all errors: the streams are still the caller's.
                report.failed(&[])?;
            }
            served.map(|()| Mounted::Ended)
        }
    }
}

/// Mounts and serves until it is unmounted; calls `ready` in between.
fn serve(
    session: Session,
    image: &Image,
    request: &MountRequest,
    ready: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let union = view(&session, image, request.writable.as_ref(), request.owners)?;
    // What is open stays readable; the store may be cleaned up meanwhile.
    drop(session);
    // Held back before there are threads, so that all of them leave them to the one that listens.
    let asked = Mask::asking_to_end();
    let before = asked.block()?;
    let signals = SignalFd::new(&asked)?;
    let mounted = fuse::serve(union, &request.at, &request.options)?;
    ready()?;
    let unmounter = mounted.unmounter();
    let (over, end) = socket::pipe()?;
    let served = thread::scope(|scope| {
        let listen = || take_away_when_asked(&signals, &over, &before, &unmounter);
        let listening = thread::Builder::new().name("signals".to_owned());
        if let Err(error) = listening.spawn_scoped(scope, listen) {
            log::warn!("cannot start a thread: a signal will leave the mount behind: {error}");
        }
        let served = mounted.wait();
        drop(end);
        served
    });
    before.block()?;
    Ok(served?)
}

/// Takes the mount away when a signal asks the process to end, lest it stay behind with nobody to
/// serve it. A second signal ends the process. Returns when `over` is closed at its other end.
fn take_away_when_asked(
    signals: &SignalFd,
    over: &OwnedFd,
    before: &Mask,
    unmounter: &fuse::Unmounter,
) {
    let listen = || -> Result<()> {
        let ready = socket::wait(&[
            (over.as_fd(), socket::Until::Readable),
            (signals.as_fd(), socket::Until::Readable),
        ])?;
        if ready.first() != Some(&true) && signals.next()?.is_some() {
            before.block()?;
            unmounter.unmount(Busy::Detach)?;
            // Whoever is still in there is served; this thread alone takes signals meanwhile.
            socket::wait(&[(over.as_fd(), socket::Until::Readable)])?;
        }
        Ok(())
    };
    if let Err(error) = listen() {
        log::warn!("cannot take the mount away: {error}");
    }
}

/// Unmounts what mica mounted at `at`.
///
/// # Errors
/// [`Error::NotMounted`] when there is nothing of mica's; [`Error::Mount`], above all because it
/// is in use.
pub fn unmount(at: &Path, busy: Busy) -> Result<()> {
    let at = std::path::absolute(at)
        .map_err(|source| Error::Directory { path: at.to_owned(), source })?;
    // A mount that nobody serves any more cannot be asked where it is.
    let at = at.canonicalize().unwrap_or(at);
    let ours = mount_table::read()?.into_iter().rev().find(|mount| mount.at == at);
    match ours {
        Some(mount) if mount.fstype == FSTYPE => Ok(fuse::unmount_any(&at, busy)?),
        _ => Err(Error::NotMounted(at)),
    }
}
