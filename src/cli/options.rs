//! What every command takes.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, ValueEnum};

use super::command::Command;
use super::context::Context;
use super::failure::{Failure, Result};
use crate::image::{Image, PullPolicy, Remote, Session, Store, Tls, resolve};
use crate::oci::Platform;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "mica",
    version,
    about = "Run and mount container images without unpacking them",
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 92,
    after_help = "Examples:
  mica run -it --rm debian:12 bash
  mica mount debian:12 /mnt
  mica images"
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Options that stand before or after the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// Where images and containers are kept [default: $MICA_ROOT, or /var/lib/mica for root, or
    /// $XDG_DATA_HOME/mica]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
    /// How much to say on stderr
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "warn",
        hide_possible_values = true
    )]
    pub(super) log_level: LogLevel,
    /// How to show progress: auto, plain, json or none
    #[arg(
        long,
        global = true,
        value_name = "HOW",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub(super) progress: ProgressMode,
}

/// What is logged: this and what matters more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogLevel {
    /// Nothing.
    Off,
    /// What could not be done.
    Error,
    /// What may surprise.
    Warn,
    /// What is done.
    Info,
    /// How it is done.
    Debug,
    /// All there is.
    Trace,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ProgressMode {
    /// Bars on a terminal, else plain.
    Auto,
    /// A line for each layer.
    Plain,
    /// A JSON object in a line for each event.
    Json,
    /// Not at all.
    None,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// How a registry is spoken to: for every command that may pull.
#[derive(Debug, Args)]
pub(super) struct Registry {
    /// The platform of the image: OS/ARCHITECTURE[/VARIANT] [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Whether the registry must speak TLS with a certificate that is known here
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = ArgAction::Set,
        hide_possible_values = true
    )]
    tls_verify: bool,
}

impl Registry {
    /// The way to registries.
    pub(super) fn remote(&self) -> Remote {
        let tls = if self.tls_verify { Tls::Verify } else { Tls::Any };
        Remote::new(tls, self.platform.clone())
    }
}

/// How an image is had that the store may lack: for every command that uses one.
#[derive(Debug, Args)]
pub(super) struct Obtain {
    /// When to ask the registry: missing, always or never
    #[arg(long, value_name = "WHEN", default_value = "missing", hide_possible_values = true)]
    pull: Pull,
    #[command(flatten)]
    registry: Registry,
}

/// When the registry is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Pull {
    /// When the store does not have the image.
    Missing,
    /// Every time.
    Always,
    /// Not at all.
    Never,
}

impl Obtain {
    /// The image that `text` names, fetched if need be. With the session, it stays in the store.
    pub(super) fn image(
        &self,
        store: &Store,
        context: &Context,
        text: &str,
    ) -> Result<(Session, Image)> {
        let policy = match self.pull {
            Pull::Missing => PullPolicy::Missing,
            Pull::Always => PullPolicy::Always,
            Pull::Never => PullPolicy::Never,
        };
        let failed = |error| Failure::of(format!("cannot get the image {text}"), &error);
        let progress = context.progress(false);
        resolve(store, text, policy, &self.registry.remote(), &*progress).map_err(failed)
    }
}
