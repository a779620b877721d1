//! Why a container did not run.

use std::io;

use crate::sys;

/// Why a container did not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither the caller nor the image says what to execute.
    #[error("no command is given, and the image names none")]
    NoCommand,
    /// An option or a value of the image's configuration cannot be used.
    #[error("{option} \"{value}\": {why}")]
    Invalid {
        /// Which one.
        option: &'static str,
        /// What it was.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// User and group ids could not be mapped into the container.
    #[error("cannot map user and group ids: {0}")]
    Ids(String),
    /// A system call failed.
    #[error("cannot {doing}")]
    Sys {
        /// What was tried.
        doing: String,
        /// The call.
        #[source]
        source: sys::Error,
    },
    /// A file could not be read, written or removed.
    #[error("cannot {doing}")]
    Io {
        /// What was tried.
        doing: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A process of the container could not do its part.
    #[error("cannot {doing}: {why}")]
    Inside {
        /// What was tried.
        doing: String,
        /// Why it failed.
        why: String,
    },
    /// The command exists but cannot be executed.
    #[error("cannot execute \"{command}\": {why}")]
    CannotInvoke {
        /// The command.
        command: String,
        /// Why it cannot.
        why: String,
    },
    /// There is no such command.
    #[error("\"{command}\" was not found in the container: {why}")]
    NotFound {
        /// The command.
        command: String,
        /// Where it was looked for.
        why: String,
    },
    /// Something else ended a process that the container needs.
    #[error("the {part} ended before the command did ({how})")]
    Lost {
        /// Which process.
        part: &'static str,
        /// How it ended.
        how: String,
    },
    /// A container of this name exists.
    #[error("the name \"{name}\" is in use by container {id}")]
    NameInUse {
        /// The name.
        name: String,
        /// The container that has it.
        id: String,
    },
    /// A record is damaged or of a later version.
    #[error("the record {path} of a container cannot be used: {why}")]
    Record {
        /// Where it is.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The result of running a container.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The exit code that container engines give for this: 126 for a command that cannot be
    /// executed, 127 for one that is not there, 125 for everything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::CannotInvoke { .. } => 126,
            Self::NotFound { .. } => 127,
            _ => 125,
        }
    }
}

/// Says what a failed call was for.
pub(super) trait Doing<T> {
    /// The failure of `doing`, which follows "cannot".
    fn doing(self, doing: impl Into<String>) -> Result<T>;
}

impl<T> Doing<T> for sys::Result<T> {
    fn doing(self, doing: impl Into<String>) -> Result<T> {
        self.map_err(|source| Error::Sys { doing: doing.into(), source })
    }
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: impl Into<String>) -> Result<T> {
        self.map_err(|source| Error::Io { doing: doing.into(), source })
    }
}
