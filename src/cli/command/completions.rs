//! `mica completions`.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::failure::Result;
use crate::cli::options::Cli;
use crate::cli::output;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mica completions bash > /etc/bash_completion.d/mica
  mica completions zsh > ~/.zfunc/_mica
  mica completions fish > ~/.config/fish/completions/mica.fish")]
pub(in crate::cli) struct Options {
    /// Which shell
    shell: Shell,
}

impl Options {
    pub(super) fn execute(&self) -> Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "mica", &mut script);
        output::print_bytes(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}
