//! A mounted view, from its first request to its last.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fuser::{BackgroundSession, SessionACL};

use super::driver::{Driver, PROBE};
use super::error::{Error, Result};
use super::mount;
use super::options::{Means, MountOptions};
use crate::sys::mount::Busy;
use crate::sys::process::without_files;
use crate::union::Union;

/// The most threads of a session: each may hold a buffer for the largest request.
const MAX_THREADS: usize = 64;

/// A view that is mounted and served by threads of this process.
///
/// Dropped, it is taken out of the tree at once; who still has files of it open keeps them for as
/// long as this process lives.
#[derive(Debug)]
pub struct Session {
    unmounter: Unmounter,
    /// `None` once it is waited for.
    serving: Option<BackgroundSession>,
}

/// Unmounts a view, from any thread.
#[derive(Debug, Clone)]
pub struct Unmounter {
    at: PathBuf,
    /// The device number of the mounted filesystem, which no other has while it is mounted.
    device: u64,
    means: Means,
}

/// Mounts `union` on the directory `at` and serves it from threads of this process. When this
/// returns, the view is there for everyone who may see it.
///
/// # Errors
/// When there is no directory at `at`, when the kernel or the helper refuses to mount, and when
/// the kernel speaks no protocol that is understood here.
pub fn serve(union: Arc<Union>, at: &Path, options: &MountOptions) -> Result<Session> {
    let at = mountpoint(at).map_err(|source| Error::Mountpoint { at: at.to_owned(), source })?;
    let (connection, means) = mount::mount(&at, options)?;
    let probing = Arc::new(AtomicBool::new(true));
    let start = || {
        let mut config = fuser::Config::default();
        // Who may come in is decided by the kernel.
        config.acl = SessionACL::All;
        config.n_threads = Some(options.threads.get().min(MAX_THREADS));
        let driver = Driver::new(union, Arc::clone(&probing));
        fuser::Session::from_fd(driver, connection, SessionACL::All, config)?.spawn()
    };
    let serving = start().map_err(|source| give_up(&at, means, source))?;
    let asked = without_files(|| {
        teach(&at);
        std::fs::metadata(&at)
    });
    probing.store(false, Ordering::Relaxed);
    let device = asked
        .map_err(std::io::Error::other)
        .and_then(|found| found)
        .map_err(|source| give_up(&at, means, source))?
        .dev();
    log::info!("mounted on {at:?}");
    let unmounter = Unmounter { at, device, means };
    Ok(Session { unmounter, serving: Some(serving) })
}

/// The directory at `at`, by a path that names it after a change of the working directory, too.
fn mountpoint(at: &Path) -> std::io::Result<PathBuf> {
    // With a slash behind it, a path is that of a directory or an error.
    let at = at.canonicalize()?;
    std::fs::metadata(at.join(""))?;
    Ok(at)
}

/// Takes away a mount that cannot be served.
fn give_up(at: &Path, means: Means, source: std::io::Error) -> Error {
    match without_files(|| mount::unmount(at, means, Busy::Detach)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::warn!("{error}"),
        Err(error) => log::warn!("{error}"),
    }
    Error::Start { at: at.to_owned(), source }
}

/// Opens and closes the root and the probe in it: the kernel learns from the answers that it need
/// not ask again. If this process may not look into the root, others will teach it.
fn teach(at: &Path) {
    for path in [at.to_owned(), at.join(PROBE)] {
        if let Err(error) = File::open(&path) {
            log::debug!("cannot open {path:?}: {error}");
        }
    }
}

impl Session {
    /// Where the view is mounted: an absolute path without symbolic links.
    #[must_use]
    pub fn at(&self) -> &Path {
        &self.unmounter.at
    }

    /// What unmounts this view from another thread, while one is in [`Session::wait`].
    #[must_use]
    pub fn unmounter(&self) -> Unmounter {
        self.unmounter.clone()
    }

    /// Serves until the view is unmounted, by whomever, and no longer in use by anyone.
    ///
    /// # Errors
    /// [`Error::Serve`] when the connection to the kernel broke; the mount is taken away then.
    pub fn wait(mut self) -> Result<()> {
        let Some(serving) = self.serving.take() else { return Ok(()) };
        let ended = serving.join();
        let at = &self.unmounter.at;
        match ended {
            Ok(()) => {
                log::info!("{at:?} is unmounted");
                Ok(())
            }
            Err(source) => {
                self.unmounter.take_away();
                Err(Error::Serve { at: at.clone(), source })
            }
        }
    }

    /// Unmounts the view and waits for the last request.
    ///
    /// # Errors
    /// As [`Unmounter::unmount`] with [`Busy::Refuse`]; the view is then taken out of the tree,
    /// and those who use it keep it for as long as this process lives.
    pub fn unmount(mut self) -> Result<()> {
        self.unmounter.unmount(Busy::Refuse)?;
        match self.serving.take() {
            Some(serving) => serving
                .join()
                .map_err(|source| Error::Serve { at: self.unmounter.at.clone(), source }),
            None => Ok(()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.serving.is_some() {
            self.unmounter.take_away();
        }
    }
}

impl Unmounter {
    /// Unmounts the view; nothing happens when it is not mounted any more.
    ///
    /// # Errors
    /// [`Error::Unmount`], or [`Error::Refused`] by the helper, above all because it is in use.
    pub fn unmount(&self, busy: Busy) -> Result<()> {
        let unmount = || {
            if self.is_mounted() { mount::unmount(&self.at, self.means, busy) } else { Ok(()) }
        };
        without_files(unmount).map_err(|source| Error::Unmount { at: self.at.clone(), source })?
    }

    /// Whether what is at the path is this view, and not what was mounted there since.
    fn is_mounted(&self) -> bool {
        match std::fs::symlink_metadata(&self.at) {
            Ok(found) => found.dev() == self.device,
            // A mount without a server answers nothing but errors.
            Err(error) => error.kind() == std::io::ErrorKind::NotConnected,
        }
    }

    fn take_away(&self) {
        if let Err(error) = self.unmount(Busy::Detach) {
            log::warn!("{error}");
        }
    }
}
