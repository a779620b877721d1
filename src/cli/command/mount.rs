//! `mica mount`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cli::FAILED;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::mount_words::MountWords;
use crate::cli::options::Obtain;
use crate::cli::talk::warn;
use crate::image::{self, MountOptions, MountRequest, Mounted, Owners, Writable};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mica mount debian:12 /mnt
  mica mount -o upperdir=/srv/upper,workdir=/srv/work debian:12 /mnt
  mica umount /mnt

Without upperdir= and workdir= the mount is read-only. Both must be on one filesystem, and \
are made when they are not there. What is written to the mount stays in the upper directory.

Mount options: upperdir=DIR workdir=DIR volatile ro rw [no]allow_other [no]suid [no]dev [no]exec")]
pub(in crate::cli) struct Options {
    /// Mount options, with commas between them
    #[arg(short, value_name = "OPTIONS")]
    options: Vec<OsString>,
    /// Serve the mount until it is unmounted, instead of going into the background
    #[arg(short, long)]
    foreground: bool,
    #[command(flatten)]
    obtain: Obtain,
    /// Name or ID of the image; `image:` may stand before it
    image: String,
    /// Where to mount it: a directory
    dir: PathBuf,
}

impl Options {
    pub(super) fn execute(&self, context: &Context) -> Result<ExitCode> {
        let words = MountWords::parse(&self.options)?;
        let name = self.image.strip_prefix("image:").unwrap_or(&self.image);
        let request = self.request(name, &words)?;
        let store = context.store()?;
        let (session, image) = self.obtain.image(&store, context, name)?;
        if request.owners != Owners::Exact {
            warn("without root all files belong to you, and cannot be given to others");
        }
        match image::mount(session, &image, &request) {
            Ok(Mounted::InBackground | Mounted::Ended) => Ok(ExitCode::SUCCESS),
            Ok(Mounted::Failed) => Ok(ExitCode::from(FAILED)),
            Err(error) => {
                let what = format!("cannot mount {name} on {}", self.dir.display());
                Err(Failure::of(what, &error))
            }
        }
    }

    fn request(&self, name: &str, words: &MountWords) -> Result<MountRequest> {
        let root = image::is_root();
        let writable = match (&words.upper, &words.work) {
            (Some(upper), Some(work)) => Some(Writable {
                upper: absolute(upper)?,
                work: absolute(work)?,
                volatile: words.volatile,
            }),
            _ => None,
        };
        // Who is not root may own files of one id only; who just looks sees who owns them.
        let owners = match writable {
            Some(_) if !root => {
                let (uid, gid) = image::ids();
                Owners::Squashed { uid, gid }
            }
            _ => Owners::Exact,
        };
        let options = MountOptions {
            source: name.into(),
            read_only: words.read_only || writable.is_none(),
            allow_other: words.allow_other.unwrap_or(root),
            suid: words.suid.unwrap_or(root),
            dev: words.dev.unwrap_or(root),
            exec: words.exec.unwrap_or(true),
            ..MountOptions::default()
        };
        let at = absolute(&self.dir)?;
        Ok(MountRequest { at, writable, owners, options, background: !self.foreground })
    }
}

/// The path from the root: the process that serves the mount has another working directory.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| {
        Failure::new(format!("cannot tell where {} is", path.display())).because(&error)
    })
}
