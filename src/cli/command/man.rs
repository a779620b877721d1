//! `mica man`, for who packages mica.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _};

use crate::cli::failure::{Failure, Result};
use crate::cli::options::Cli;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mica man /usr/local/share/man/man1")]
pub(in crate::cli) struct Options {
    /// Where the pages go; it must be there
    directory: PathBuf,
}

impl Options {
    pub(super) fn execute(&self) -> Result<ExitCode> {
        clap_mangen::generate_to(Cli::command(), &self.directory).map_err(|error| {
            let what = format!("cannot write manual pages to {}", self.directory.display());
            Failure::new(what).because(&error)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
