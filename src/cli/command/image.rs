//! `mica image ...`: the commands on images under one word.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{history, images, inspect, prune, rmi, tag};
use crate::cli::context::Context;
use crate::cli::failure::Result;

#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Examples:
  mica image ls
  mica image prune --all --force"
)]
pub(in crate::cli) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the images in the store
    #[command(visible_alias = "list")]
    Ls(images::Options),
    /// Remove images
    Rm(rmi::Options),
    /// Remove what nothing needs
    Prune(prune::Options),
    /// Give an image another name
    Tag(tag::Options),
    /// Show how an image was made, layer by layer
    History(history::Options),
    /// Show all that is known of an image, as JSON
    Inspect(inspect::Options),
}

impl Options {
    pub(super) fn execute(&self, context: &Context) -> Result<ExitCode> {
        match &self.command {
            Command::Ls(options) => options.execute(context),
            Command::Rm(options) => options.execute(context),
            Command::Prune(options) => options.execute(context),
            Command::Tag(options) => options.execute(context),
            Command::History(options) => options.execute(context),
            Command::Inspect(options) => options.execute(context),
        }
    }
}
