//! The process in front: it launches, hands signals on, relays the terminal, and waits.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use super::error::Doing as _;
use super::relay::Relay;
use super::report::{Ending, Line, Report};
use super::{Error, Result, Spec, supervisor};
use crate::sys::process::{self, Ended, Fork, Pid};
use crate::sys::signal::{Mask, Signal, SignalFd};
use crate::sys::socket::{self, Until};

/// A mounted root filesystem that is served from within the process that mounted it.
pub trait Rootfs {
    /// Stops serving, unmounts, and has everything that was written where it belongs.
    fn unmount(self: Box<Self>) -> io::Result<()>;
}

/// Mounts the root filesystem of a container at a directory.
///
/// It is called in the supervisor, which has a single thread, is root of the container's user
/// namespace and has a mount namespace of its own. It may start threads.
pub type MountRootfs<'a> = Box<dyn FnOnce(&Path) -> io::Result<Box<dyn Rootfs>> + 'a>;

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(u8),
    /// This signal killed it.
    Signal(u8),
}

/// How long to wait for threads that are on their way out.
const PATIENCE: Duration = Duration::from_secs(5);

impl Exit {
    /// The exit code that a shell would report: 128 and the number for a signal.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => signal.saturating_add(128),
        }
    }
}

impl From<Ending> for Exit {
    fn from(ending: Ending) -> Self {
        // Both fit: the kernel keeps 8 bits of a code and 7 of a signal.
        let small = |number: i32| u8::try_from(number & 0xff).unwrap_or(u8::MAX);
        match ending {
            Ending::Exited(code) => Self::Code(small(code)),
            Ending::Signaled(signal) => Self::Signal(small(signal)),
        }
    }
}

/// Runs the command of `spec` over the root filesystem that `mount` mounts, until it ends.
///
/// Signals that this process gets meanwhile go to the command. Standard streams are the command's
/// own, or, with a terminal, relayed to and from it.
///
/// # Errors
/// When the container cannot be set up, or the command cannot be executed; and when the
/// supervisor is killed or the root filesystem cannot be unmounted. This process must have a
/// single thread (`EBUSY`).
pub fn launch(spec: &Spec, mount: MountRootfs<'_>) -> Result<Exit> {
    process::be_single_threaded(PATIENCE).doing("start the container")?;
    let held_back = supervisor::held_back();
    let signals = SignalFd::new(&held_back).doing("listen to signals")?;
    let _restored = HeldBack(held_back.block().doing("hold signals back")?);
    let (ours, theirs) = Line::pair()?;
    let own = process::own_pid();
    let supervisor = match process::fork().doing("start the supervisor")? {
        Fork::Child => {
            drop(ours);
            supervisor::main(spec, mount, &theirs, own)
        }
        Fork::Parent(pid) => pid,
    };
    drop(theirs);
    drop(mount);
    let mut watch = Watch::new(spec, supervisor, ours);
    let watched = watch.run(&signals);
    let stopped = matches!(watch.stage, Stage::Stopped);
    if watched.is_err() {
        process::kill(supervisor, Signal::KILL).doing("end the supervisor")?;
    }
    let ended = process::wait(supervisor).doing("wait for the supervisor")?;
    let relayed = watch.relay.take().map_or(Ok(()), Relay::finish);
    if !stopped {
        watched?;
    }
    relayed?;
    watch.verdict(ended)
}

/// Gives this thread its signals back when dropped.
struct HeldBack(Mask);

impl Drop for HeldBack {
    fn drop(&mut self) {
        if let Err(error) = self.0.block() {
            log::warn!("cannot let signals through again: {error}");
        }
    }
}

/// What is known of the container while it runs.
struct Watch<'spec> {
    spec: &'spec Spec,
    supervisor: Pid,
    line: Line,
    stage: Stage,
    relay: Option<Relay>,
    ending: Option<Ending>,
    failure: Option<Error>,
}

/// How far the container is.
enum Stage {
    /// The command does not run yet.
    Starting { init: Option<OwnedFd> },
    /// The command runs; signals go to process 1.
    Running { init: OwnedFd },
    /// A signal ended all of it before the command ran. What fails now fails for that reason.
    Stopped,
}

impl<'spec> Watch<'spec> {
    fn new(spec: &'spec Spec, supervisor: Pid, line: Line) -> Self {
        let stage = Stage::Starting { init: None };
        Self { spec, supervisor, line, stage, relay: None, ending: None, failure: None }
    }

    /// Until the other processes have closed their end of the line.
    fn run(&mut self, signals: &SignalFd) -> Result<()> {
        loop {
            let mut fds =
                vec![(self.line.as_fd(), Until::Readable), (signals.as_fd(), Until::Readable)];
            if let Some(relay) = &self.relay {
                fds.extend(relay.interests());
            }
            let ready = socket::wait(&fds).doing("wait for the container")?;
            let mut ready = ready.into_iter();
            let (line, signal) = (ready.next() == Some(true), ready.next() == Some(true));
            if let Some(relay) = &mut self.relay {
                relay.turn(ready);
            }
            self.relay.take_if(|relay| relay.has_nobody());
            if signal {
                while let Some(signal) = signals.next().doing("read a signal")? {
                    self.signal(signal)?;
                }
            }
            if line {
                match self.line.receive()? {
                    Some((report, fd)) => self.report(report, fd)?,
                    None => return Ok(()),
                }
            }
        }
    }

    fn report(&mut self, report: Report, fd: Option<OwnedFd>) -> Result<()> {
        match (report, fd) {
            (Report::WithoutIds, _) => {
                self.spec.ids.write(self.supervisor)?;
                self.line.send(&Report::Mapped, None)?;
            }
            (Report::Init, Some(pidfd)) => {
                if let Stage::Starting { init } = &mut self.stage {
                    *init = Some(pidfd);
                }
            }
            (Report::Terminal, Some(master)) => {
                self.relay = Some(Relay::start(master, self.spec.interactive)?);
            }
            (Report::Started, _) => {
                if let Stage::Starting { init: Some(init) } = &mut self.stage {
                    let init = init.try_clone().doing("keep process 1")?;
                    self.stage = Stage::Running { init };
                }
            }
            (Report::Ended(ending), _) => self.ending = Some(ending),
            (Report::Failed(failure), _) => {
                self.failure.get_or_insert(failure.into());
            }
            (report, _) => log::warn!("unexpected report of the container: {report:?}"),
        }
        Ok(())
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        match (&self.stage, &mut self.relay) {
            (_, _) if signal == Signal::CHLD => Ok(()),
            (_, Some(relay)) if signal == Signal::WINCH => relay.resize(),
            (Stage::Running { init }, _) => {
                if let Err(error) = process::kill_pidfd(init.as_fd(), signal) {
                    log::debug!("{error}");
                }
                Ok(())
            }
            (Stage::Starting { .. }, _) if signal.asks_to_end() => {
                // Nobody there yet who could heed it: end all of it.
                self.stage = Stage::Stopped;
                self.ending = Some(Ending::Signaled(signal.number()));
                process::kill(self.supervisor, Signal::KILL).doing("end the supervisor")
            }
            (Stage::Starting { .. } | Stage::Stopped, _) => Ok(()),
        }
    }

    fn verdict(self, supervisor: Ended) -> Result<Exit> {
        let stopped = matches!(self.stage, Stage::Stopped);
        match (self.failure, self.ending, supervisor) {
            (Some(failure), _, _) if !stopped => Err(failure),
            (_, Some(ending), _) => Ok(ending.into()),
            (_, None, how) => {
                let how = match how {
                    Ended::Exited(code) => format!("exit code {code}"),
                    Ended::Signaled(signal) => format!("signal {signal}"),
                };
                Err(Error::Lost { part: "supervisor", how })
            }
        }
    }
}
