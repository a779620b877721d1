//! The person: what was typed becomes what it means, once; what happened becomes words and an
//! exit code.
//!
//! The only room that prints, reads the environment or picks an exit code. stdout is for data,
//! stderr for talk. Each command has a file in `command/`: its options, with clap, and `execute`,
//! which calls a verb and prints what it returns.

mod command;
mod context;
mod environment;
mod failure;
mod mount_words;
mod options;
mod output;
mod progress;
mod talk;
mod time;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use context::Context;
use options::Cli;

/// mica failed, as distinct from the program that it ran (docker-run(1), "Exit Status").
const FAILED: u8 = 125;

/// Who read our output is gone: what the shell says of a program that SIGPIPE ended.
const BROKEN_PIPE: u8 = 128 + 13;

/// Runs the command that `args` (the program's name first) describe.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    talk::start(cli.global.log_level);
    match Context::new(&cli.global).and_then(|context| cli.command.execute(&context)) {
        Ok(code) => code,
        Err(failure) if failure.is_broken_pipe() => ExitCode::from(BROKEN_PIPE),
        Err(failure) => {
            failure.tell();
            ExitCode::from(failure.code())
        }
    }
}

/// Says what clap has to say: help on stdout, a mistake on stderr.
fn usage(error: &clap::Error) -> ExitCode {
    let told = error.print();
    match (error.kind(), told) {
        (ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, Ok(())) => ExitCode::SUCCESS,
        (ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, Err(_)) => ExitCode::from(BROKEN_PIPE),
        _ => ExitCode::from(FAILED),
    }
}
