//! Runs a command over a plain directory: `run_dir [OPTION VALUE]... ROOTFS [COMMAND ARG...]`.
//!
//! The smallest user of `mica::run`: the directory is bound to where the container's root
//! filesystem goes, and what the command changes is changed in it.
#![allow(clippy::print_stderr)]

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mica::oci::RunConfig;
use mica::run::{self, IdMaps, Mount, Network, Overrides, Rootfs};
use mica::sys::{in_root::Root, mount_ns as mounts};

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
    Ok(Box::new(Bound(target.to_owned())))
}

struct Wanted {
    rootfs: PathBuf,
    dir: PathBuf,
    overrides: Overrides,
    ids: Option<IdMaps>,
}

fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Wanted, Box<dyn Error>> {
    let mut overrides = Overrides::default();
    let mut dir = std::env::temp_dir().join(format!("run_dir-{}", std::process::id()));
    let mut ids = None;
    let rootfs = loop {
        let arg = args.next().ok_or("no directory is given")?;
        let mut value = || -> Result<String, Box<dyn Error>> {
            let value = args.next().ok_or("an option lacks its value")?;
            value.into_string().map_err(|_| "an option is not UTF-8".into())
        };
        match arg.to_str() {
            Some("--dir") => dir = value()?.into(),
            Some("--user") => overrides.user = Some(value()?),
            Some("--cwd") => overrides.cwd = Some(value()?.into()),
            Some("--hostname") => overrides.hostname = Some(value()?),
            Some("--env") => {
                let setting = value()?;
                let (name, value) = setting.split_once('=').ok_or("no = in --env")?;
                overrides.env.push((name.into(), Some(value.into())));
            }
            Some("--bind") => overrides.mounts.push(value()?.parse()?),
            Some("--tmpfs") => {
                overrides.mounts.push(Mount::Tmpfs { target: value()?.into() });
            }
            Some("--single-id") => {
                let (uid, gid) = mica::sys::process::effective_ids();
                ids = Some(IdMaps::Single { uid, gid });
            }
            Some("--read-only") => overrides.read_only = true,
            Some("--host-network") => overrides.network = Network::Host,
            Some("--no-new-privileges") => overrides.no_new_privileges = true,
            Some("--remove") => overrides.remove = true,
            Some("-i") => overrides.interactive = true,
            Some("-t") => overrides.terminal = true,
            Some("-it") => (overrides.interactive, overrides.terminal) = (true, true),
            _ => break arg,
        }
    };
    overrides.args = args.collect();
    Ok(Wanted { rootfs: rootfs.into(), dir, overrides, ids })
}

fn launch() -> Result<u8, Box<dyn Error>> {
    let Wanted { rootfs, dir, overrides, ids } = parse(std::env::args_os().skip(1))?;
    std::fs::create_dir_all(&dir)?;
    let ids = match ids {
        Some(ids) => ids,
        None => IdMaps::of_caller()?,
    };
    if let Some(warning) = ids.warning() {
        eprintln!("warning: {warning}");
    }
    let image = RunConfig { cmd: vec!["/bin/sh".to_owned()], ..RunConfig::default() };
    let spec = run::from_config(&image, overrides, "0123456789abcdef", ids, dir)?;
    match run::launch(&spec, Box::new(|target| bind(&rootfs, target))) {
        Ok(exit) => Ok(exit.status()),
        Err(error) => {
            let code = error.exit_code();
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("cause: {error}");
                cause = error.source();
            }
            Ok(code)
        }
    }
}

fn main() -> ExitCode {
    match launch() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(125)
        }
    }
}
