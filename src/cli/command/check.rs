//! `mica check`.

use std::process::ExitCode;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{self, size};
use crate::image::check;

/// Something is damaged: as restic ends then.
const DAMAGED: u8 = 1;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mica check

Reads every blob again, which takes as long as reading the whole store takes. What is damaged is \
listed on stdout; the exit code is 1 then.")]
pub(in crate::cli) struct Options {}

impl Options {
    pub(super) fn execute(&self, context: &Context) -> Result<ExitCode> {
        let report = check(&context.store()?)
            .map_err(|error| Failure::of("cannot check the store", &error))?;
        let damage: String = report.damage.iter().map(|damage| format!("{damage}\n")).collect();
        output::print(&damage)?;
        let looked_at = format!("{} blobs of {}", report.blobs, size(report.bytes));
        if report.damage.is_empty() {
            output::print(&format!("{looked_at} are as they should be\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(Failure::new(format!("{}, of {looked_at}", things(report.damage.len())))
            .hint("remove the images in question with `mica rmi` and pull them again")
            .with_code(DAMAGED))
    }
}

fn things(count: usize) -> String {
    match count {
        1 => "one thing is damaged".to_owned(),
        _ => format!("{count} things are damaged"),
    }
}
