//! The `mica` binary: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    mica::cli::run(std::env::args_os())
}
