//! `mica rm`.

use std::process::ExitCode;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result, each};
use crate::cli::output;
use crate::image::{Error, remove_container};
use crate::run;

/// As docker-rm(1) ends when there is no such container.
const NOT_REMOVED: u8 = 1;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mica rm build
  mica rm --force build
  mica rm $(mica ps -aq)")]
pub(in crate::cli) struct Options {
    /// Also those that run: their commands are killed
    #[arg(short, long)]
    force: bool,
    /// Names of containers, or the first digits of their ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Options {
    pub(super) fn execute(&self, context: &Context) -> Result<ExitCode> {
        let store = context.store()?;
        each(&self.containers, |container| {
            let id = remove_container(&store, container, self.force).map_err(|error| {
                let what = format!("cannot remove the container {container}");
                let failure = Failure::of(what, &error).with_code(NOT_REMOVED);
                match error {
                    Error::Run(run::Error::Invalid { .. }) if !self.force => {
                        failure.hint("--force kills a container that runs")
                    }
                    _ => failure,
                }
            })?;
            output::print(&format!("{id}\n"))
        })
    }
}
