//! `mica pull`.

use std::process::ExitCode;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::options::Registry;
use crate::cli::output;
use crate::image::{parse, pull};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mica pull debian:12
  mica pull --platform linux/arm64 docker.io/library/debian:12
  mica pull --tls-verify=false registry.lan:5000/team/app:1
  mica pull debian@sha256:36e591f228bb9b99348f584e83f16e012c33ba5cad44ef5981a1d7c0a93eca22

Layers stay as they are in the registry: nothing is unpacked.")]
pub(in crate::cli) struct Options {
    /// Names: [HOST[:PORT]/]PATH[:TAG][@DIGEST]
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Only the ID on stdout, and nothing on stderr
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    registry: Registry,
}

impl Options {
    pub(super) fn execute(&self, context: &Context) -> Result<ExitCode> {
        let store = context.store()?;
        let remote = self.registry.remote();
        for image in &self.images {
            let failed = |error| Failure::of(format!("cannot pull {image}"), &error);
            let reference = parse(image).map_err(failed)?;
            let progress = context.progress(self.quiet);
            let (_session, pulled) =
                pull(&store, &remote, &reference, &*progress).map_err(failed)?;
            output::print(&format!("{}\n", pulled.id()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
