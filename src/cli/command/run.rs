//! `mica run`.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::cli::context::Context;
use crate::cli::environment;
use crate::cli::failure::{Failure, Result};
use crate::cli::options::Obtain;
use crate::cli::talk::warn;
use crate::image::{self, RunRequest};
use crate::run::{self, Capabilities, IdMaps, Mount, Overrides, Seccomp};

#[derive(Debug, Args)]
#[command(
    override_usage = "mica run [OPTIONS] <IMAGE> [COMMAND]...",
    after_help = "Examples:
  mica run --rm debian:12 cat /etc/os-release
  mica run -it --rm debian:12 bash
  mica run --rm -e NAME=value -v \"$PWD\":/src -w /src debian:12 make
  mica run --name build --read-only --tmpfs /tmp debian:12 ./build

The exit code is the command's own; 125 when mica fails, 126 when the command cannot be executed, \
127 when it is not found, 128 and the number of the signal that killed it."
)]
pub(in crate::cli) struct Options {
    /// Set a variable; without a value, to the one that it has here; if it has none, unset it
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// Set the variables that a file has, one in a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// The working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// Who the command runs as
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Run this in place of the image's entry point
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<OsString>,
    /// The name of the host in the container
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// A name for the container
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Remove the container when the command ends
    #[arg(long)]
    rm: bool,
    /// Keep the standard input open
    #[arg(short, long)]
    interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// Show a file or directory of the host in the container
    #[arg(short, long, value_name = "SRC:DST[:ro]")]
    volume: Vec<String>,
    /// The root filesystem cannot be written to
    #[arg(long)]
    read_only: bool,
    /// An empty directory in memory: size=BYTES[k|m|g|%], mode=OCTAL, ro, exec
    #[arg(long, value_name = "DIR[:OPTION,...]")]
    tmpfs: Vec<String>,
    /// What the container sees of the network: none or host
    #[arg(long, value_name = "NETWORK", default_value = "none", hide_possible_values = true)]
    network: Network,
    /// Give a capability beyond the usual ones; ALL for all
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Take a capability away; ALL for all
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// no-new-privileges, or seccomp=unconfined
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    #[command(flatten)]
    obtain: Obtain,
    /// Name or ID of the image, and the command with its arguments [default: the image's]
    // One argument, since only what follows the first value of an argument is never taken for an
    // option of ours: an image with an entry point may be given options alone.
    #[arg(required = true, trailing_var_arg = true, value_names = ["IMAGE", "COMMAND"])]
    words: Vec<OsString>,
}

/// What the container sees of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Network {
    /// A loopback interface of its own.
    None,
    /// All that the host sees.
    Host,
}

impl Options {
    pub(super) fn execute(&self, context: &Context) -> Result<ExitCode> {
        if self.tty && self.interactive && !std::io::stdin().is_terminal() {
            return Err(Failure::new("the standard input is not a terminal")
                .hint("leave -t out, or run this in a terminal"));
        }
        let (name, command) = self.image()?;
        let wanted = self.overrides(command)?;
        let failed = |error: image::Error| Failure::of(format!("cannot run {name}"), &error);
        let ids = IdMaps::of_caller().map_err(|error| failed(error.into()))?;
        let store = context.store()?;
        let (session, image) = self.obtain.image(&store, context, name)?;
        if let Some(warning) = ids.warning() {
            warn(warning);
        }
        let request =
            RunRequest { name: self.name.clone(), reference: name.to_owned(), wanted, ids };
        let exit = image::run(session, &image, request).map_err(|error| {
            let code = error.exit_code();
            failed(error).with_code(code)
        })?;
        Ok(ExitCode::from(exit.status()))
    }

    /// The image, and the command with its arguments.
    fn image(&self) -> Result<(&str, &[OsString])> {
        let (image, command) =
            self.words.split_first().ok_or_else(|| Failure::new("no image is named"))?;
        let name = image.to_str().ok_or_else(|| {
            Failure::new(format!("\"{}\" is not the name of an image", image.display()))
        })?;
        Ok((name, command))
    }

    fn overrides(&self, command: &[OsString]) -> Result<Overrides> {
        let mut env = Vec::new();
        for file in &self.env_file {
            env.extend(environment::of_file(file)?);
        }
        env.extend(self.env.iter().map(|setting| environment::setting(setting)));
        let (no_new_privileges, seccomp) = self.security()?;
        // docker: an empty entry point means none.
        let entrypoint = self.entrypoint.as_ref().map(|command| match command.is_empty() {
            true => Vec::new(),
            false => vec![command.clone()],
        });
        Ok(Overrides {
            args: command.to_vec(),
            entrypoint,
            env,
            cwd: self.workdir.clone(),
            user: self.user.clone(),
            hostname: self.hostname.clone(),
            mounts: self.mounts()?,
            read_only: self.read_only,
            network: match self.network {
                Network::None => run::Network::None,
                Network::Host => run::Network::Host,
            },
            terminal: self.tty,
            interactive: self.interactive,
            add_capabilities: capabilities(&self.cap_add)?,
            drop_capabilities: capabilities(&self.cap_drop)?,
            no_new_privileges,
            seccomp,
            remove: self.rm,
        })
    }

    fn mounts(&self) -> Result<Vec<Mount>> {
        let mut mounts = Vec::new();
        for volume in &self.volume {
            let failed = |error: &dyn std::error::Error| {
                Failure::new(format!("cannot mount the volume {volume}")).because(error)
            };
            let mount: Mount = from_here(volume)?.parse().map_err(|error: run::Error| {
                failed(&error).hint("SOURCE begins with / or ./: volumes have no names yet")
            })?;
            if let Mount::Bind { source, .. } = &mount {
                source.symlink_metadata().map_err(|error| {
                    failed(&error).hint("make the directory first: volumes have no names yet")
                })?;
            }
            mounts.push(mount);
        }
        for tmpfs in &self.tmpfs {
            let mount = tmpfs.parse().map(Mount::Tmpfs).and_then(|mount| {
                mount.check()?;
                Ok(mount)
            });
            mounts.push(mount.map_err(|error: run::Error| {
                Failure::new(format!("cannot mount the tmpfs {tmpfs}")).because(&error)
            })?);
        }
        Ok(mounts)
    }

    fn security(&self) -> Result<(bool, Seccomp)> {
        let (mut no_new_privileges, mut seccomp) = (false, Seccomp::default());
        for option in &self.security_opt {
            match option.as_str() {
                "no-new-privileges" | "no-new-privileges=true" | "no-new-privileges:true" => {
                    no_new_privileges = true;
                }
                "seccomp=unconfined" => seccomp = Seccomp::Unconfined,
                _ => {
                    return Err(Failure::new(format!("there is no security option \"{option}\""))
                        .hint("known are no-new-privileges and seccomp=unconfined"));
                }
            }
        }
        Ok((no_new_privileges, seccomp))
    }
}

/// A volume whose source is relative to the working directory, made absolute. A source that is a
/// mere name stays one: docker would take it for a named volume.
fn from_here(volume: &str) -> Result<String> {
    let (source, rest) = volume.split_once(':').unwrap_or((volume, ""));
    if !matches!(source.split('/').next(), Some("." | "..")) {
        return Ok(volume.to_owned());
    }
    let failed = || Failure::new(format!("cannot tell where the volume {volume} is"));
    let absolute =
        std::path::absolute(Path::new(source)).map_err(|error| failed().because(&error))?;
    // Anything but the very path could be another directory.
    let absolute = absolute.to_str().ok_or_else(|| failed().hint("its path is not valid UTF-8"))?;
    Ok(format!("{absolute}:{rest}"))
}

fn capabilities(names: &[String]) -> Result<Capabilities> {
    let mut wanted = Capabilities::default();
    for name in names {
        if name.eq_ignore_ascii_case("all") {
            wanted.all = true;
            continue;
        }
        let unknown = || {
            Failure::new(format!("there is no capability \"{name}\""))
                .hint("capabilities(7) lists them: CHOWN, NET_ADMIN, ...")
        };
        wanted.named.push(run::capability(name).ok_or_else(unknown)?);
    }
    Ok(wanted)
}
