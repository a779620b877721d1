//! `mica rm`.

use std::process::ExitCode;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result, each};
use crate::cli::output;
use crate::image::remove_container;

/// As docker-rm(1) ends when there is no such container.
const NOT_REMOVED: u8 = 1;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mica rm build
  mica rm $(mica ps -aq)")]
pub(in crate::cli) struct Options {
    /// Names of containers, or the first digits of their ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Options {
    pub(super) fn execute(&self, context: &Context) -> Result<ExitCode> {
        let store = context.store()?;
        each(&self.containers, |container| match remove_container(&store, container) {
            Ok(id) => output::print(&format!("{id}\n")),
            Err(error) => {
                Err(Failure::of(format!("cannot remove the container {container}"), &error)
                    .with_code(NOT_REMOVED))
            }
        })
    }
}
