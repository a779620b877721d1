//! `mica tag`.

use std::process::ExitCode;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::image::tag;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mica tag debian:12 registry.example.org/team/base:1
  mica tag 3f8a4339aadd base:1 base:latest")]
pub(in crate::cli) struct Options {
    /// The name or ID of an image in the store
    image: String,
    /// The names that it gets too
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Options {
    pub(super) fn execute(&self, context: &Context) -> Result<ExitCode> {
        let store = context.store()?;
        for name in &self.names {
            tag(&store, &self.image, name).map_err(|error| {
                Failure::of(format!("cannot give {} the name {name}", self.image), &error)
            })?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
