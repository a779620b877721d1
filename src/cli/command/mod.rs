//! The commands, a file each.

mod check;
mod completions;
mod history;
mod image;
mod images;
mod inspect;
mod man;
mod mount;
mod prune;
mod ps;
mod pull;
mod rm;
mod rmi;
mod run;
mod tag;
mod umount;
mod version;

use std::process::ExitCode;

use clap::Subcommand;

use super::context::Context;
use super::failure::Result;

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Fetch images from a registry
    Pull(pull::Options),
    /// Run a command in a new container
    Run(Box<run::Options>),
    /// List containers
    Ps(ps::Options),
    /// Remove containers
    Rm(rm::Options),
    /// Mount an image on a directory
    Mount(mount::Options),
    /// Unmount what `mica mount` mounted
    Umount(umount::Options),
    /// List the images in the store
    Images(images::Options),
    /// Remove images
    Rmi(rmi::Options),
    /// Give an image another name
    Tag(tag::Options),
    /// Show how an image was made, layer by layer
    History(history::Options),
    /// Show all that is known of an image, as JSON
    Inspect(inspect::Options),
    /// Manage images
    Image(image::Options),
    /// Read all that is stored again, and say what is damaged
    Check(check::Options),
    /// Show the version
    Version(version::Options),
    /// Write the completion script of a shell to stdout
    Completions(completions::Options),
    /// Write the manual pages to a directory
    #[command(hide = true)]
    Man(man::Options),
}

impl Command {
    /// Does it.
    pub(super) fn execute(&self, context: &Context) -> Result<ExitCode> {
        match self {
            Self::Pull(options) => options.execute(context),
            Self::Run(options) => options.execute(context),
            Self::Ps(options) => options.execute(context),
            Self::Rm(options) => options.execute(context),
            Self::Mount(options) => options.execute(context),
            Self::Umount(options) => options.execute(),
            Self::Images(options) => options.execute(context),
            Self::Rmi(options) => options.execute(context),
            Self::Tag(options) => options.execute(context),
            Self::History(options) => options.execute(context),
            Self::Inspect(options) => options.execute(context),
            Self::Image(options) => options.execute(context),
            Self::Check(options) => options.execute(context),
            Self::Version(options) => options.execute(),
            Self::Completions(options) => options.execute(),
            Self::Man(options) => options.execute(),
        }
    }
}
