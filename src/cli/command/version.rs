//! `mica version`.

use std::process::ExitCode;

use clap::Args;

use crate::cli::failure::Result;
use crate::cli::output;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mica version")]
pub(in crate::cli) struct Options {}

impl Options {
    pub(super) fn execute(&self) -> Result<ExitCode> {
        output::print(&format!("mica {}\n", env!("CARGO_PKG_VERSION")))?;
        Ok(ExitCode::SUCCESS)
    }
}
