//! What is mounted over the root filesystem: `/proc`, `/dev`, `/sys`, files of `/etc`, what the
//! caller wants, and covers over what a container must not see or change.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::error::Doing as _;
use super::{Error, IdMaps, Mount, Network, Result, Spec, Tmpfs, files};
use crate::sys;
use crate::sys::in_root::{self, Make, Root};
use crate::sys::mount_ns::{self as mounts, Limits};

/// Devices of the host that every container has.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

const DEVICE_LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// What tells of, or reaches, the machine beyond the container. The list is that of other
/// container engines.
const MASKED: [&str; 14] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// What can be seen but not changed.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// `gid` of terminals: `tty` (devpts(5) in every distribution).
const TTY_GROUP: &str = "5";

/// The mounts that later steps need.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) dev: OwnedFd,
    pub(super) devpts: OwnedFd,
}

/// Mounts everything within `root`. This process must be in the mount namespace of the container,
/// still with the host's mounts, and in its pid and network namespaces.
pub(super) fn build(root: &Root, spec: &Spec) -> Result<Built> {
    let proc = mounts::create(c"proc", &[], Limits::DATA)
        .doing("mount /proc (is it covered in part, as in another container?)")?;
    place(root, "/proc", &proc)?;
    let built = devices(root, &spec.ids)?;
    place(root, "/sys", &sysfs(spec.network)?)?;
    for name in files::NAMES {
        let target = Path::new("/etc").join(name);
        if spec.mounts.iter().any(|mount| mount.target() == target) {
            continue;
        }
        let file = mounts::copy_path(&spec.dir.join(name), false)
            .and_then(|file| mounts::limit(file.as_fd(), Limits::DATA, false).map(|()| file))
            .doing(format!("bind /etc/{name}"))?;
        place_at(root, &target, Make::File, &file)?;
    }
    let mut wanted: Vec<&Mount> = spec.mounts.iter().collect();
    // What lies within another goes after it.
    wanted.sort_by_key(|mount| mount.target().components().count());
    for mount in wanted {
        add(root, mount)?;
    }
    cover(root, &built.dev)?;
    Ok(built)
}

/// Makes the root filesystem itself read-only; what is mounted within stays as it is.
pub(super) fn make_read_only(root: &Root) -> Result<()> {
    mounts::limit(root.as_fd(), Limits::NO_DEVICES.read_only(), false)
        .doing("make the root filesystem read-only")
}

/// Puts the command's terminal where programs look for the console.
pub(super) fn add_console(built: &Built, terminal: &str) -> Result<()> {
    let bind = || {
        let device = in_root::child(built.devpts.as_fd(), terminal)?;
        let console = in_root::make_file(built.dev.as_fd(), "console")?;
        let mount = mounts::copy(device.as_fd(), false)?;
        mounts::attach(mount.as_fd(), console.as_fd())
    };
    bind().doing("make /dev/console")
}

fn devices(root: &Root, ids: &IdMaps) -> Result<Built> {
    // The directory itself refuses devices: those within are mounts of their own.
    let limits = Limits { no_exec: false, ..Limits::DATA };
    let dev = mounts::create(c"tmpfs", &[("mode", "755"), ("size", "65536k")], limits)
        .doing("mount /dev")?;
    place(root, "/dev", &dev)?;
    for name in DEVICES {
        let bind = || {
            let device = mounts::copy_path(&Path::new("/dev").join(name), false)?;
            let target = in_root::make_file(dev.as_fd(), name)?;
            mounts::attach(device.as_fd(), target.as_fd())
        };
        bind().doing(format!("make /dev/{name}"))?;
    }
    for (name, target) in DEVICE_LINKS {
        in_root::make_link(dev.as_fd(), name, target).doing(format!("make /dev/{name}"))?;
    }
    let group = match ids {
        IdMaps::Host | IdMaps::Ranges { .. } => Some(("gid", TTY_GROUP)),
        IdMaps::Single { .. } => None,
    };
    let mut options = vec![("ptmxmode", "0666"), ("mode", "0620")];
    options.extend(group);
    let limits = Limits { no_devices: false, ..Limits::DATA };
    let devpts = within(&dev, "pts", c"devpts", &options, limits)?;
    within(&dev, "shm", c"tmpfs", &[("mode", "1777"), ("size", "65536k")], Limits::DATA)?;
    within(&dev, "mqueue", c"mqueue", &[], Limits::DATA)?;
    Ok(Built { dev, devpts })
}

fn within(
    dev: &OwnedFd,
    name: &str,
    kind: &CStr,
    options: &[(&str, &str)],
    limits: Limits,
) -> Result<OwnedFd> {
    let make = || {
        let target = in_root::make_dir(dev.as_fd(), name)?;
        let mount = mounts::create(kind, options, limits)?;
        mounts::attach(mount.as_fd(), target.as_fd())?;
        Ok(mount)
    };
    sys::Result::doing(make(), format!("mount /dev/{name}"))
}

/// A view of the kernel's devices: of the container's own network, where it has one.
fn sysfs(network: Network) -> Result<OwnedFd> {
    let bind = || {
        let sys = mounts::copy_path(Path::new("/sys"), true)?;
        mounts::limit(sys.as_fd(), Limits::DATA.read_only(), true)?;
        Ok(sys)
    };
    let mount = match network {
        Network::None => mounts::create(c"sysfs", &[], Limits::DATA.read_only()),
        Network::Host => bind(),
    };
    mount.doing("mount /sys")
}

fn add(root: &Root, mount: &Mount) -> Result<()> {
    match mount {
        Mount::Tmpfs(Tmpfs { target, size, mode, read_only, exec }) => {
            let mode = format!("{mode:o}");
            let mut options = vec![("mode", mode.as_str())];
            options.extend(size.as_deref().map(|size| ("size", size)));
            let limits = Limits { read_only: *read_only, no_exec: !exec, ..Limits::DATA };
            let tmpfs = mounts::create(c"tmpfs", &options, limits)
                .doing(format!("mount a tmpfs at {}", target.display()))?;
            place_at(root, target, Make::Directory, &tmpfs)
        }
        Mount::Bind { source, target, read_only } => {
            let limits = Limits { read_only: *read_only, ..Limits::NO_DEVICES };
            let bind = || {
                let copy = mounts::copy_path(source, true)?;
                mounts::limit(copy.as_fd(), limits, true)?;
                let directory = in_root::is_directory(copy.as_fd())?;
                Ok((copy, directory))
            };
            let (copy, directory) =
                sys::Result::doing(bind(), format!("bind {}", source.display()))?;
            let make = if directory { Make::Directory } else { Make::File };
            place_at(root, target, make, &copy)
        }
    }
}

/// Hides and protects. Most of the paths are not there on most machines.
fn cover(root: &Root, dev: &OwnedFd) -> Result<()> {
    for path in MASKED {
        let mask = || {
            let Some(target) = root.find_if_any(Path::new(path))? else { return Ok(()) };
            let cover = if in_root::is_directory(target.as_fd())? {
                mounts::create(c"tmpfs", &[("size", "4k")], Limits::DATA.read_only())?
            } else {
                let null = in_root::child(dev.as_fd(), "null")?;
                mounts::copy(null.as_fd(), false)?
            };
            mounts::attach(cover.as_fd(), target.as_fd())
        };
        mask().doing(format!("hide {path}"))?;
    }
    for path in READ_ONLY {
        let protect = || {
            let Some(target) = root.find_if_any(Path::new(path))? else { return Ok(()) };
            let copy = mounts::copy(target.as_fd(), true)?;
            mounts::limit(copy.as_fd(), Limits::DATA.read_only(), true)?;
            mounts::attach(copy.as_fd(), target.as_fd())
        };
        protect().doing(format!("make {path} read-only"))?;
    }
    Ok(())
}

fn place(root: &Root, path: &str, mount: &OwnedFd) -> Result<()> {
    place_at(root, &PathBuf::from(path), Make::Directory, mount)
}

fn place_at(root: &Root, path: &Path, make: Make, mount: &OwnedFd) -> Result<()> {
    let target: sys::Result<OwnedFd> = root.make(path, make);
    let target = target.doing(format!("make {} in the container", path.display()))?;
    let attach = |target: BorrowedFd<'_>| mounts::attach(mount.as_fd(), target);
    attach(target.as_fd()).map_err(|source| {
        let doing = format!("mount over {} in the container", path.display());
        Error::Sys { doing, source }
    })
}
