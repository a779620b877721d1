//! Containers, for real: namespaces, terminals, signals, and what is left when something is
//! killed. The root filesystem is a plain directory.
//!
//! This binary has its own main. As `TESTS vehicle ...` it launches a container; a launching
//! process must have a single thread, which a test never has.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests may fail as the tests themselves may"
)]

/// The tests of a module, by the names of their functions.
macro_rules! trials {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn trials() -> Vec<libtest_mimic::Trial> {
            let module = module_path!().rsplit("::").next().unwrap_or_default();
            vec![$(libtest_mimic::Trial::test(
                format!("{module}::{}", stringify!($name)),
                || { $name(); Ok(()) },
            )),*]
        }
    };
}

mod debian;
mod hostile;
mod isolation;
mod lifelines;
mod mounts;
mod person;
mod process;
mod support;
mod terminal;
mod vehicle;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args();
    if args.nth(1).as_deref() == Some("vehicle") {
        return ExitCode::from(vehicle::main(args));
    }
    let modules = [
        debian::trials(),
        hostile::trials(),
        isolation::trials(),
        lifelines::trials(),
        mounts::trials(),
        process::trials(),
        terminal::trials(),
    ];
    let args = libtest_mimic::Arguments::from_args();
    libtest_mimic::run(&args, modules.into_iter().flatten().collect()).exit_code()
}
