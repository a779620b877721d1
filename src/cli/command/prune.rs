//! `mica image prune`.

use std::io::{BufRead as _, IsTerminal as _, stdin};
use std::process::ExitCode;

use clap::Args;

use super::rmi::report;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{self, size};
use crate::cli::talk::say;
use crate::image::prune;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mica image prune --force
  mica image prune --all --force")]
pub(in crate::cli) struct Options {
    /// Remove all images that no container uses, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Options {
    pub(super) fn execute(&self, context: &Context) -> Result<ExitCode> {
        if !self.force && !self.confirmed()? {
            return Ok(ExitCode::SUCCESS);
        }
        let removed = prune(&context.store()?, self.all)
            .map_err(|error| Failure::of("cannot remove unused images", &error))?;
        let freed = removed.freed.unwrap_or_default().bytes;
        output::print(&format!("{}Total reclaimed space: {}\n", report(&removed), size(freed)))?;
        Ok(ExitCode::SUCCESS)
    }

    /// Asks whether it is meant.
    fn confirmed(&self) -> Result<bool> {
        if !stdin().is_terminal() {
            return Err(Failure::new("there is nobody to ask whether images may be removed")
                .hint("use --force to remove them without asking"));
        }
        let what = match self.all {
            true => "all images that no container uses",
            false => "everything that no image and no container needs",
        };
        say(&format!("This removes {what}. Go on? [y/N]"));
        let mut answer = String::new();
        stdin()
            .lock()
            .read_line(&mut answer)
            .map_err(|error| Failure::new("cannot read the answer").because(&error))?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}
