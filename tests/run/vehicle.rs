//! What the tests launch: a container over a plain directory.
//!
//! `TESTS vehicle run STORE [OPTION [VALUE]]... ROOTFS [COMMAND ARG...]` makes, runs and ends a
//! container whose root filesystem is the directory itself; `TESTS vehicle sweep STORE` clears up.

use std::error::Error;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mica::fuse::{self, MountOptions};
use mica::oci::{Digest, RunConfig};
use mica::run::state::{Containers, New};
use mica::run::{self, IdMaps, Mount, Network, Overrides, Rootfs, Seccomp};
use mica::sys::{in_root::Root, mount_ns as mounts};
use mica::union::{Options, Stack, Union};
use mica::upper::{UpperDir, UpperOptions};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A directory, bound to where the root filesystem goes.
struct Bound(PathBuf);

impl Rootfs for Bound {
    fn unmount(self: Box<Self>) -> io::Result<()> {
        mounts::detach(&self.0).map_err(io::Error::other)
    }
}

fn bind(source: &Path, target: &Path) -> io::Result<Box<dyn Rootfs>> {
    let bind = || {
        let copy = mounts::copy_path(source, true)?;
        mounts::attach(copy.as_fd(), Root::open(target)?.as_fd())
    };
    bind().map_err(io::Error::other)?;
    // Threads there must not keep the container from starting.
    std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_secs(3600)));
    Ok(Box::new(Bound(target.to_owned())))
}

/// A directory, served through a view that writes to it.
struct Served(fuse::Session);

impl Rootfs for Served {
    fn unmount(self: Box<Self>) -> io::Result<()> {
        self.0.unmount().map_err(io::Error::other)
    }
}

fn serve(source: &Path, target: &Path) -> io::Result<Box<dyn Rootfs>> {
    mica::sys::process::set_umask(0);
    let work = source.with_file_name("work");
    std::fs::create_dir_all(&work)?;
    let upper = UpperDir::open(source, &work, &UpperOptions::default());
    let upper = Arc::new(upper.map_err(io::Error::other)?);
    let stack = Stack { lowers: Vec::new(), upper: Some(upper) };
    let union = Union::new(stack, Options::default()).map_err(io::Error::other)?;
    let options = MountOptions { allow_other: true, suid: true, ..MountOptions::default() };
    let session = fuse::serve(Arc::new(union), target, &options).map_err(io::Error::other)?;
    Ok(Box::new(Served(session)))
}

#[derive(Clone, Copy, Default)]
enum Means {
    #[default]
    Bind,
    Serve,
    Fail,
}

#[derive(Default)]
struct Wanted {
    overrides: Overrides,
    name: Option<String>,
    ids: Option<IdMaps>,
    means: Means,
}

fn option(wanted: &mut Wanted, name: &str, value: &mut dyn FnMut() -> String) -> Outcome<bool> {
    let overrides = &mut wanted.overrides;
    match name {
        "--name" => wanted.name = Some(value()),
        "--user" => overrides.user = Some(value()),
        "--cwd" => overrides.cwd = Some(value().into()),
        "--hostname" => overrides.hostname = Some(value()),
        "--env" => {
            let setting = value();
            let (name, value) = setting.split_once('=').ok_or("no = in --env")?;
            overrides.env.push((name.into(), Some(value.into())));
        }
        "--bind" => overrides.mounts.push(value().parse()?),
        "--tmpfs" => overrides.mounts.push(Mount::Tmpfs(value().parse()?)),
        "--single-id" => {
            let (uid, gid) = mica::sys::process::effective_ids();
            wanted.ids = Some(IdMaps::Single { uid, gid });
        }
        "--read-only" => overrides.read_only = true,
        "--host-network" => overrides.network = Network::Host,
        "--unconfined" => overrides.seccomp = Seccomp::Unconfined,
        "--no-new-privileges" => overrides.no_new_privileges = true,
        "--remove" => overrides.remove = true,
        "--no-rootfs" => wanted.means = Means::Fail,
        "--served" => wanted.means = Means::Serve,
        "-i" => overrides.interactive = true,
        "-t" => overrides.terminal = true,
        _ => return Ok(false),
    }
    Ok(true)
}

fn run(store: PathBuf, mut args: impl Iterator<Item = String>) -> Outcome<u8> {
    let mut wanted = Wanted::default();
    let rootfs = loop {
        let arg = args.next().ok_or("no directory is given")?;
        let mut value = || args.next().expect("an option lacks its value");
        if !option(&mut wanted, &arg, &mut value)? {
            break PathBuf::from(arg);
        }
    };
    wanted.overrides.args = args.map(Into::into).collect();
    let ids = match wanted.ids {
        Some(ids) => ids,
        None => IdMaps::of_caller()?,
    };
    if let Some(warning) = ids.warning() {
        eprintln!("warning: {warning}");
    }
    let containers = Containers::open(store)?;
    let id = containers.new_id()?;
    let container = containers.create(New {
        id: id.clone(),
        name: wanted.name,
        image: Digest::of(b""),
        reference: "none".to_owned(),
        command: Vec::new(),
        remove: wanted.overrides.remove,
        ids: ids.clone(),
    })?;
    let image = RunConfig { cmd: vec!["/bin/sh".to_owned()], ..RunConfig::default() };
    let dir = container.dir().to_owned();
    let spec = run::from_config(&image, wanted.overrides, &id, ids, dir)?;
    container.started()?;
    let mount = |target: &Path| match wanted.means {
        Means::Bind => bind(&rootfs, target),
        Means::Serve => serve(&rootfs, target),
        Means::Fail => Err(io::Error::other("no such image")),
    };
    let exit = run::launch(&spec, Box::new(mount));
    match exit {
        Ok(exit) => {
            container.ended(exit)?;
            Ok(exit.status())
        }
        Err(error) => {
            tell(&error);
            container.remove()?;
            Ok(error.exit_code())
        }
    }
}

fn tell(error: &dyn Error) {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("cause: {error}");
        cause = error.source();
    }
}

/// The exit code of `vehicle ARGS...`.
pub(crate) fn main(mut args: impl Iterator<Item = String>) -> u8 {
    log::set_logger(&Stderr).expect("there is no logger yet");
    log::set_max_level(log::LevelFilter::Info);
    let (verb, store) = (args.next(), args.next().map(PathBuf::from));
    let outcome = match (verb.as_deref(), store) {
        (Some("run"), Some(store)) => run(store, args),
        (Some("sweep"), Some(store)) => {
            let swept = Containers::open(store).and_then(|containers| containers.sweep());
            swept.map(|swept| u8::try_from(swept).unwrap_or(u8::MAX)).map_err(Into::into)
        }
        _ => Err("vehicle run|sweep STORE ...".into()),
    };
    outcome.unwrap_or_else(|error| {
        tell(error.as_ref());
        125
    })
}

struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        eprintln!("{}: {}", record.level(), record.args());
    }

    fn flush(&self) {}
}
