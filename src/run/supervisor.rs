//! The second process: root of the container's user namespace, with a mount namespace of its own.

use std::fs;
use std::os::fd::AsFd as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::error::Doing as _;
use super::launch::{MountRootfs, Rootfs};
use super::report::{Ending, Line, Report};
use super::{Error, Network, Result, Spec, files, init};
use crate::sys::mount_ns::{self as mounts, Propagation};
use crate::sys::namespace::{self, Net};
use crate::sys::process::{self, Ended, Fork, Pid};
use crate::sys::signal::{Mask, Signal};
use crate::sys::socket;

/// The supervisor, from its first step to its end. `parent` is the launching process.
pub(super) fn main(spec: &Spec, mount: MountRootfs<'_>, line: &Line, parent: Pid) -> ! {
    let outcome = catch_unwind(AssertUnwindSafe(|| supervise(spec, mount, line, parent)));
    let failure = match outcome {
        Ok(Ok(())) => process::exit_now(0),
        Ok(Err(error)) => error,
        Err(_) => Error::Lost { part: "supervisor", how: "panic".to_owned() },
    };
    if let Err(error) = line.send(&Report::Failed(failure.into()), None) {
        log::error!("{error}");
    }
    process::exit_now(1)
}

fn supervise(spec: &Spec, mount: MountRootfs<'_>, line: &Line, parent: Pid) -> Result<()> {
    tie(parent)?;
    // Keys pressed at the terminal are for the launching process alone.
    process::new_session().doing("make a session")?;
    spec.ids.enter(line)?;
    // Becoming another user has untied it.
    tie(parent)?;
    namespace::leave_mounts().doing("make a mount namespace")?;
    mounts::set_propagation(Propagation::Receive).doing("set up the mount namespace")?;
    files::write(spec)?;
    let rootfs = spec.dir.join("rootfs");
    make_dir(&rootfs)?;

    // Process 1 is forked before there are threads here, and waits until the root is mounted.
    let (go_read, go_write) = socket::pipe().doing("make a pipe")?;
    let net = match spec.network {
        Network::None => Net::Own,
        Network::Host => Net::Shared,
    };
    let init = match namespace::fork_init(net).doing("make namespaces")? {
        Fork::Child => {
            drop(go_write);
            init::main(spec, &rootfs, line, &go_read)
        }
        Fork::Parent(pid) => pid,
    };
    drop(go_read);
    let pidfd = process::pidfd(init).doing("open process 1")?;
    line.send(&Report::Init, Some(pidfd.as_fd()))?;
    // Until here signals were held back, so that process 1 was born with them held back.
    Mask::empty().block().doing("let signals through")?;

    let mounted = match mount(&rootfs).doing("mount the root filesystem") {
        Ok(mounted) => mounted,
        Err(error) => {
            process::kill(init, Signal::KILL).doing("end process 1")?;
            process::wait(init).doing("wait for process 1")?;
            return Err(error);
        }
    };
    let ended = serve(mounted, init, go_write, line);
    if spec.remove {
        empty(&spec.dir)?;
    }
    ended
}

/// Lets process 1 go on, waits for its end and unmounts.
fn serve(mounted: Box<dyn Rootfs>, init: Pid, go: std::os::fd::OwnedFd, line: &Line) -> Result<()> {
    socket::write(go.as_fd(), b"g").doing("start process 1")?;
    drop(go);
    let ended = process::wait(init).doing("wait for process 1")?;
    if let Ended::Signaled(signal) = ended {
        line.send(&Report::Ended(Ending::Signaled(signal)), None)?;
    }
    mounted.unmount().doing("unmount the root filesystem")
}

fn tie(parent: Pid) -> Result<()> {
    process::die_with_parent().doing("tie the supervisor to the launching process")?;
    if process::parent_pid() != Some(parent) {
        // It ended before it could take this process with it.
        process::exit_now(1);
    }
    Ok(())
}

fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).doing(format!("make {}", path.display()))
}

/// Removes what is in the container's directory, whoever owns it.
fn empty(dir: &Path) -> Result<()> {
    let doing = || format!("remove {}", dir.display());
    for entry in fs::read_dir(dir).doing(doing())? {
        let entry = entry.doing(doing())?;
        let kind = entry.file_type().doing(doing())?;
        let removed = if kind.is_dir() {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        };
        removed.doing(format!("remove {}", entry.path().display()))?;
    }
    Ok(())
}

/// The signals that are held back from the time before the first fork on.
pub(super) fn held_back() -> Mask {
    Mask::handed_on()
}
