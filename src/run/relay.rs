//! Between the person's terminal and the command's.
//!
//! Each turn reads what is there on one side, at most as much as there is room for, and writes
//! what the other side takes: two copies of a byte, no waiting on either side.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use super::Result;
use super::error::Doing as _;
use crate::sys::process;
use crate::sys::pty::{self, Raw, stdin, stdout};
use crate::sys::socket::{self, Until};

/// The relay of one terminal. Dropping it gives the person's terminal its settings back.
#[derive(Debug)]
pub(super) struct Relay {
    master: OwnedFd,
    /// What the person types.
    input: End,
    /// What the command writes.
    output: End,
    /// Who reads it.
    person: End,
    to_command: Buffer,
    to_person: Buffer,
    _raw: Option<Raw<'static>>,
}

/// Whether more can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Closed,
}

/// The key that means "nothing more to come", of a terminal that is not set otherwise.
const END_OF_INPUT: u8 = 4;

/// The most bytes that wait for the other side.
const ROOM: usize = 64 * 1024;

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
}

impl Buffer {
    /// Reads once.
    fn fill(&mut self, from: BorrowedFd<'_>) -> crate::sys::Result<End> {
        let mut chunk = [0; 4096];
        let read = socket::read(from, &mut chunk)?;
        if let Some(read) = read.and_then(|len| chunk.get(..len)) {
            self.bytes.extend_from_slice(read);
        }
        Ok(if read == Some(0) { End::Closed } else { End::Open })
    }

    /// Writes once.
    fn drain(&mut self, to: BorrowedFd<'_>) -> crate::sys::Result<()> {
        let written = socket::write(to, &self.bytes)?.min(self.bytes.len());
        self.bytes.drain(..written);
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.bytes.len() < ROOM
    }
}

impl Relay {
    /// Relays the output of the terminal behind `master`, and input to it if `interactive`.
    pub(super) fn start(master: OwnedFd, interactive: bool) -> Result<Self> {
        let (raw, input) = if interactive {
            (Raw::enter(stdin()).doing("set the terminal up")?, End::Open)
        } else {
            (None, End::Closed)
        };
        let relay = Self {
            master,
            input,
            output: End::Open,
            person: End::Open,
            to_command: Buffer::default(),
            to_person: Buffer::default(),
            _raw: raw,
        };
        relay.resize()?;
        Ok(relay)
    }

    /// What to wait for. [`Relay::turn`] takes the answers in the same order.
    pub(super) fn interests(&self) -> Vec<(BorrowedFd<'_>, Until)> {
        self.wanted().into_iter().map(|(_, fd, until)| (fd, until)).collect()
    }

    fn wanted(&self) -> Vec<(Step, BorrowedFd<'_>, Until)> {
        let master = self.master.as_fd();
        let mut wanted = Vec::with_capacity(4);
        if self.input == End::Open && self.to_command.has_room() {
            wanted.push((Step::ReadPerson, stdin(), Until::Readable));
        }
        if !self.to_command.bytes.is_empty() {
            wanted.push((Step::WriteCommand, master, Until::Writable));
        }
        if self.output == End::Open && self.to_person.has_room() {
            wanted.push((Step::ReadCommand, master, Until::Readable));
        }
        if !self.to_person.bytes.is_empty() {
            wanted.push((Step::WritePerson, stdout(), Until::Writable));
        }
        wanted
    }

    /// Moves what can be moved.
    pub(super) fn turn(&mut self, ready: impl Iterator<Item = bool>) {
        let steps: Vec<Step> = self.wanted().into_iter().map(|(step, _, _)| step).collect();
        for step in steps.into_iter().zip(ready).filter_map(|(step, ready)| ready.then_some(step)) {
            self.step(step);
        }
    }

    /// Whether nobody sees what the command writes. Then the relay is to be dropped: the command's
    /// terminal hangs up, which is what it would meet if it had the person's own.
    pub(super) fn has_nobody(&self) -> bool {
        self.person == End::Closed
    }

    /// One side that fails is read, or written to, no more.
    fn step(&mut self, step: Step) {
        let master = self.master.as_fd();
        let moved = match step {
            Step::ReadPerson => self.to_command.fill(stdin()),
            Step::WriteCommand => self.to_command.drain(master).map(|()| End::Open),
            Step::ReadCommand => self.to_person.fill(master),
            Step::WritePerson => self.to_person.drain(stdout()).map(|()| End::Open),
        };
        let end = moved.unwrap_or_else(|error| {
            let level = match error.errno() {
                // Who pipes the output on needs no more of it.
                process::EPIPE => log::Level::Debug,
                _ => log::Level::Warn,
            };
            log::log!(level, "cannot relay the terminal: {error}");
            End::Closed
        });
        match (step, end) {
            (_, End::Open) => {}
            (Step::ReadPerson, End::Closed) => {
                self.input = End::Closed;
                self.to_command.bytes.push(END_OF_INPUT);
            }
            (Step::WriteCommand, End::Closed) => {
                self.input = End::Closed;
                self.to_command.bytes.clear();
            }
            (Step::ReadCommand, End::Closed) => self.output = End::Closed,
            (Step::WritePerson, End::Closed) => {
                self.person = End::Closed;
                self.to_person.bytes.clear();
            }
        }
    }

    /// Gives the command's terminal the size of the person's.
    pub(super) fn resize(&self) -> Result<()> {
        let size = pty::size(stdin()).or_else(|| pty::size(stdout()));
        match size {
            Some(size) => pty::set_size(self.master.as_fd(), size).doing("size the terminal"),
            None => Ok(()),
        }
    }

    /// Passes on what the command wrote last. The container must have ended.
    pub(super) fn finish(mut self) -> Result<()> {
        while !self.has_nobody() && (self.output == End::Open || !self.to_person.bytes.is_empty()) {
            while !self.to_person.bytes.is_empty() {
                socket::wait(&[(stdout(), Until::Writable)]).doing("wait for the terminal")?;
                self.step(Step::WritePerson);
            }
            self.step(Step::ReadCommand);
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    ReadPerson,
    WriteCommand,
    ReadCommand,
    WritePerson,
}
