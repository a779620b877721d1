//! `mica umount`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::failure::{Failure, Result, each};
use crate::image::{Busy, Error, unmount};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mica umount /mnt
  mica umount --lazy /mnt")]
pub(in crate::cli) struct Options {
    /// Take the mount out of sight even if it is in use; it ends with its last user
    #[arg(short, long)]
    lazy: bool,
    /// Where images are mounted
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
}

impl Options {
    pub(super) fn execute(&self) -> Result<ExitCode> {
        let busy = if self.lazy { Busy::Detach } else { Busy::Refuse };
        each(&self.dirs, |dir| {
            unmount(dir, busy).map_err(|error| {
                let failure = Failure::of(format!("cannot unmount {}", dir.display()), &error);
                match error {
                    Error::Mount(_) if !self.lazy => failure.hint(
                        "`fuser -vm DIR` tells who uses it; with --lazy it goes all the same",
                    ),
                    _ => failure,
                }
            })
        })
    }
}
