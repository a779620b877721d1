//! `mica inspect`.

use std::process::ExitCode;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::output;
use crate::image::inspect;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mica inspect debian:12
  mica inspect debian:12 | jq '.[0].Config.Env'")]
pub(in crate::cli) struct Options {
    /// Names or IDs of images in the store
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Options {
    pub(super) fn execute(&self, context: &Context) -> Result<ExitCode> {
        let store = context.store()?;
        let inspected = |image: &String| {
            inspect(&store, image)
                .map_err(|error| Failure::of(format!("cannot inspect {image}"), &error))
        };
        let images = self.images.iter().map(inspected).collect::<Result<Vec<_>>>()?;
        output::print(&output::json(&images)?)?;
        Ok(ExitCode::SUCCESS)
    }
}
