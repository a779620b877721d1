//! Process 1 of the container: builds its filesystem, starts the command, hands signals on to it,
//! reaps orphans, and ends with it.

use std::os::fd::{AsFd as _, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::error::Doing as _;
use super::report::{self, Failure, Line, Report};
use super::{Error, IdMaps, Network, Result, Seccomp, Spec, command, rootfs, supervisor};
use crate::sys::caps::{self, Capability};
use crate::sys::in_root::{Make, Root};
use crate::sys::mount_ns::{self as mounts, Limits, Propagation};
use crate::sys::process::{self, Ended, Fork, Pid};
use crate::sys::pty::Pty;
use crate::sys::seccomp::Profile;
use crate::sys::signal::{Signal, SignalFd};
use crate::sys::{namespace, pty, socket};

/// The largest `/etc/passwd` or `/etc/group` that is read, in bytes.
const MAX_DATABASE: u64 = 16 << 20;

/// Process 1, from its first step to its end. It goes on when a byte comes through `go`.
pub(super) fn main(spec: &Spec, rootfs: &Path, line: &Line, go: &OwnedFd) -> ! {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(spec, rootfs, line, go)));
    let failure = match outcome {
        Ok(Ok(ended)) => match line.send(&Report::Ended(ended.into()), None) {
            Ok(()) => process::exit_now(0),
            Err(error) => error,
        },
        Ok(Err(error)) => error,
        Err(_) => Error::Lost { part: "first process", how: "panic".to_owned() },
    };
    if let Err(error) = line.send(&Report::Failed(failure.into()), None) {
        log::error!("{error}");
    }
    process::exit_now(1)
}

fn run(spec: &Spec, rootfs: &Path, line: &Line, go: &OwnedFd) -> Result<Ended> {
    process::die_with_parent().doing("tie process 1 to the supervisor")?;
    process::close_rest(&[line.as_fd(), go.as_fd()]).doing("close inherited files")?;
    // The supervisor ended before the tie, or could not mount: then the end of the pipe comes.
    let mut byte = [0];
    if socket::read(go.as_fd(), &mut byte).doing("wait for the root filesystem")? != Some(1) {
        process::exit_now(1);
    }
    let prepared = prepare(spec, rootfs)?;
    if let Some(terminal) = &prepared.terminal {
        line.send(&Report::Terminal, Some(terminal.master.as_fd()))?;
    }
    // From here on nothing of this process can be reached from within the container.
    process::rename("mica-init").doing("name process 1")?;
    process::hide().doing("hide process 1")?;
    // Signals wait here from now on, until there is a command to hand them on to.
    line.send(&Report::Started, None)?;
    let command = start(&prepared)?;
    caps::limit(&[Capability::CAP_KILL]).doing("give up privileges")?;
    // The terminal stays open here, so that it never hangs up before the end.
    let _terminal = prepared.terminal.map(|pty| pty.terminal);
    attend(command)
}

/// Everything that the command needs, ready.
#[derive(Debug)]
pub(super) struct Prepared<'spec> {
    pub(super) spec: &'spec Spec,
    pub(super) plan: command::Plan,
    pub(super) cwd: OwnedFd,
    pub(super) terminal: Option<Pty>,
    /// What the command reads when it is to read nothing.
    pub(super) null: OwnedFd,
    pub(super) profile: Option<Profile>,
}

fn prepare<'spec>(spec: &'spec Spec, rootfs: &Path) -> Result<Prepared<'spec>> {
    namespace::leave_mounts().doing("make a mount namespace")?;
    mounts::set_propagation(Propagation::Private).doing("set up the mount namespace")?;
    let root = Root::open(rootfs).doing("open the root filesystem")?;
    mounts::limit(root.as_fd(), Limits::NO_DEVICES, true).doing("keep devices out of the root")?;
    let read = |path: &str| {
        let content = root.read(Path::new(path), MAX_DATABASE);
        content.map(Option::unwrap_or_default).doing(format!("read {path} of the container"))
    };
    let identity = spec.user.resolve(&read("/etc/passwd")?, &read("/etc/group")?)?;

    let built = rootfs::build(&root, spec)?;
    let cwd = root
        .make(&spec.cwd, Make::Directory)
        .doing(format!("enter the working directory {}", spec.cwd.display()))?;
    let terminal = spec.terminal.then(|| open_terminal(&built, spec, identity.uid)).transpose()?;
    let null =
        crate::sys::in_root::open_device(built.dev.as_fd(), "null").doing("open /dev/null")?;
    if spec.read_only {
        rootfs::make_read_only(&root)?;
    }
    namespace::pivot_root(root.as_fd()).doing("enter the root filesystem")?;
    namespace::set_hostname(&spec.hostname).doing("set the host name")?;
    if spec.network == Network::None {
        socket::raise_loopback().doing("switch the loopback interface on")?;
    }
    let profile = match spec.seccomp {
        Seccomp::Standard => Some(Profile::standard().doing("make the system call filter")?),
        Seccomp::Unconfined => None,
    };
    let plan = command::Plan::new(spec, &identity)?;
    Ok(Prepared { spec, plan, cwd, terminal, null, profile })
}

fn open_terminal(built: &rootfs::Built, spec: &Spec, uid: u32) -> Result<Pty> {
    let pty = pty::create(built.devpts.as_fd()).doing("make a terminal")?;
    if uid != 0 && !matches!(spec.ids, IdMaps::Single { .. }) {
        pty::give(pty.terminal.as_fd(), uid).doing("give the user the terminal")?;
    }
    rootfs::add_console(built, &pty.name)?;
    Ok(pty)
}

/// Forks the command and waits until it executes; what keeps it from that is the error.
fn start(prepared: &Prepared<'_>) -> Result<Pid> {
    let (failure_read, failure_write) = socket::pipe().doing("make a pipe")?;
    let pid = match process::fork().doing("start the command")? {
        Fork::Child => {
            drop(failure_read);
            let failure: Failure = match command::execute(prepared) {
                Ok(never) => match never {},
                Err(error) => error.into(),
            };
            let told = report::encode(&failure).and_then(|bytes| {
                socket::write(failure_write.as_fd(), &bytes).doing("report a failure")
            });
            process::exit_now(u8::from(told.is_err()));
        }
        Fork::Parent(pid) => pid,
    };
    drop(failure_write);
    let mut told = Vec::new();
    std::io::Read::read_to_end(&mut std::fs::File::from(failure_read), &mut told)
        .doing("hear from the command")?;
    if told.is_empty() {
        return Ok(pid);
    }
    let failure: Failure = report::decode(&told)?;
    Err(failure.into())
}

/// Hands signals on and reaps until the command has ended. The kernel ends the rest.
fn attend(command: Pid) -> Result<Ended> {
    let signals = SignalFd::new(&supervisor::held_back()).doing("listen to signals")?;
    loop {
        while let Some((pid, ended)) = process::reap().doing("reap processes")? {
            if pid == command {
                return Ok(ended);
            }
        }
        socket::wait(&[(signals.as_fd(), socket::Until::Readable)]).doing("wait for signals")?;
        while let Some(signal) = signals.next().doing("read a signal")? {
            if signal == Signal::CHLD {
                continue;
            }
            if let Err(error) = process::kill(command, signal) {
                log::debug!("{error}");
            }
        }
    }
}
