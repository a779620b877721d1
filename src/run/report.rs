//! What the processes of one container tell each other: one message each, in JSON, over a socket
//! that both children share.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use super::error::Doing as _;
use super::{Error, Result};
use crate::sys::process::Ended;
use crate::sys::{self, socket};

/// One message.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// From the supervisor: it is in a new user namespace without ids.
    WithoutIds,
    /// To the supervisor: now it has them.
    Mapped,
    /// From the supervisor, with a descriptor: process 1.
    Init,
    /// From process 1, with a descriptor: the master of the command's terminal.
    Terminal,
    /// From process 1: it is about to start the command, and hands on the signals that it gets.
    Started,
    /// The command ended.
    Ended(Ending),
    /// Something failed.
    Failed(Failure),
}

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ending {
    /// It exited with this code.
    Exited(i32),
    /// A signal killed it.
    Signaled(i32),
}

/// A failure, as far as it can be told to another process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Failure {
    /// See [`Error::Inside`].
    Inside { doing: String, why: String },
    /// See [`Error::CannotInvoke`].
    CannotInvoke { command: String, why: String },
    /// See [`Error::NotFound`].
    NotFound { command: String, why: String },
}

/// One end of the socket.
#[derive(Debug)]
pub(super) struct Line(OwnedFd);

/// The most bytes of one text in a message. Two of them, escaped, fit in a message.
const MAX_TEXT: usize = 1000;

impl Line {
    /// A new socket: the end that launches, the end that is launched.
    pub(super) fn pair() -> Result<(Self, Self)> {
        let (ours, theirs) = socket::pair().doing("make a socket")?;
        Ok((Self(ours), Self(theirs)))
    }

    pub(super) fn send(&self, report: &Report, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let bytes = encode(report)?;
        socket::send(self.as_fd(), &bytes, fd).doing("report to the other processes")
    }

    /// The next message; `None` when the other side has ended.
    pub(super) fn receive(&self) -> Result<Option<(Report, Option<OwnedFd>)>> {
        let received = socket::receive(self.as_fd()).doing("hear from the other processes")?;
        received.map(|message| Ok((decode(&message.bytes)?, message.fd))).transpose()
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A message as bytes.
pub(super) fn encode(report: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(report).map_err(std::io::Error::from).doing("write a report")
}

/// Bytes as a message.
pub(super) fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(std::io::Error::from).doing("read a report")
}

impl From<Ended> for Ending {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Exited(code) => Self::Exited(code),
            Ended::Signaled(signal) => Self::Signaled(signal),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let chain = |error: &dyn std::error::Error| {
            let mut text = error.to_string();
            let mut next = error.source();
            while let Some(source) = next {
                text.push_str(&format!(": {source}"));
                next = source.source();
            }
            text
        };
        match error {
            Error::CannotInvoke { command, why } => {
                Self::CannotInvoke { command: short(command), why: short(why) }
            }
            Error::NotFound { command, why } => {
                Self::NotFound { command: short(command), why: short(why) }
            }
            Error::Inside { doing, why } => Self::Inside { doing: short(doing), why: short(why) },
            Error::Sys { doing, source } => {
                Self::Inside { doing: short(doing), why: short(chain(&source)) }
            }
            Error::Io { doing, source } => {
                Self::Inside { doing: short(doing), why: short(chain(&source)) }
            }
            other => {
                Self::Inside { doing: "start the container".to_owned(), why: short(chain(&other)) }
            }
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Inside { doing, why } => Self::Inside { doing, why },
            Failure::CannotInvoke { command, why } => Self::CannotInvoke { command, why },
            Failure::NotFound { command, why } => Self::NotFound { command, why },
        }
    }
}

impl From<sys::Error> for Failure {
    fn from(error: sys::Error) -> Self {
        Self::Inside { doing: "start the command".to_owned(), why: short(error.to_string()) }
    }
}

fn short(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}
