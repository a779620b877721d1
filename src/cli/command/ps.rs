//! `mica ps`.

use std::process::ExitCode;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{self, cut, short};
use crate::cli::time;
use crate::image::list_containers;
use crate::run::state::{Listed, State};

/// As many characters of a command are shown.
const COMMAND_WIDTH: usize = 20;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mica ps
  mica ps -a
  mica rm $(mica ps -aq)")]
pub(in crate::cli) struct Options {
    /// Also containers that do not run
    #[arg(short, long)]
    all: bool,
    /// Only IDs
    #[arg(short, long)]
    quiet: bool,
    /// Do not shorten IDs and commands
    #[arg(long)]
    no_trunc: bool,
}

impl Options {
    pub(super) fn execute(&self, context: &Context) -> Result<ExitCode> {
        let mut listed = list_containers(&context.store()?)
            .map_err(|error| Failure::of("cannot list the containers", &error))?;
        listed.retain(|found| self.all || matches!(found.state, State::Running { .. }));
        // The newest first, as docker and podman have it.
        listed.reverse();
        let text = if self.quiet {
            listed.iter().map(|found| self.id(found) + "\n").collect()
        } else {
            self.table(&listed)
        };
        output::print(&text)?;
        Ok(ExitCode::SUCCESS)
    }

    fn id(&self, found: &Listed) -> String {
        if self.no_trunc { found.config.id.clone() } else { short(&found.config.id) }
    }

    fn table(&self, listed: &[Listed]) -> String {
        let now = time::now();
        let ago = |seconds: u64| time::ago(i64::try_from(seconds).unwrap_or(now), now);
        let row = |found: &Listed| {
            let command = found.config.command.join(" ");
            vec![
                self.id(found),
                found.config.reference.clone(),
                if self.no_trunc { command } else { cut(&command, COMMAND_WIDTH) },
                ago(found.config.created),
                match found.state {
                    State::Created => "Created".to_owned(),
                    State::Running { since, .. } => {
                        format!("Up {}", ago(since).trim_end_matches(" ago"))
                    }
                    State::Exited { code, at } => format!("Exited ({code}) {}", ago(at)),
                },
                found.config.name.clone(),
            ]
        };
        let head = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAMES"];
        output::table(&head, &listed.iter().map(row).collect::<Vec<_>>())
    }
}
