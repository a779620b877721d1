//! `mica rmi`.

use std::process::ExitCode;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result, each};
use crate::cli::output;
use crate::image::{Error, Removed, remove};

/// No such image (docker-rmi, podman-rmi(1)).
const NOT_FOUND: u8 = 1;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mica rmi debian:12
  mica rmi 3f8a4339aadd
  mica rmi --force $(mica images -q)")]
pub(in crate::cli) struct Options {
    /// Names or IDs
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Remove all names of an ID, and names that containers need
    #[arg(short, long)]
    force: bool,
}

impl Options {
    pub(super) fn execute(&self, context: &Context) -> Result<ExitCode> {
        let store = context.store()?;
        each(&self.images, |image| match remove(&store, image, self.force) {
            Ok(removed) => output::print(&report(&removed)),
            Err(error) => {
                let failure = Failure::of(format!("cannot remove {image}"), &error);
                Err(match error {
                    Error::NotFound { .. } => failure.with_code(NOT_FOUND),
                    _ => failure,
                })
            }
        })
    }
}

/// What was removed, as docker and podman say it.
pub(super) fn report(removed: &Removed) -> String {
    if removed.freed.is_none() {
        log::warn!("the store is in use; what nothing needs is removed by the next `rmi` or prune");
    }
    let names = removed.names.iter().map(|name| format!("Untagged: {name}\n"));
    names.chain(removed.images.iter().map(|image| format!("Deleted: {image}\n"))).collect()
}
