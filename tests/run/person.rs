//! A person at a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mica::sys::pty::{self, Size};
use rustix::pty::OpenptFlags;
use rustix::termios::LocalModes;

use crate::support::Process;

/// A person: a terminal and who types on it.
pub(crate) struct Person {
    pub(crate) master: File,
    terminal: OwnedFd,
    pub(crate) child: Child,
    pub(crate) seen: String,
}

impl Person {
    /// Runs a command in a new session with the terminal.
    pub(crate) fn new(run: &Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let terminal = rustix::pty::ioctl_tiocgptpeer(&master, flags).unwrap();
        pty::set_size(master.as_fd(), Size { rows: 33, columns: 77 }).unwrap();
        rustix::io::ioctl_fionbio(&master, true).unwrap();
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(run.get_program())
            .args(run.get_args())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        Self { master: File::from(master), terminal, child, seen: String::new() }
    }

    pub(crate) fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    fn read(&mut self) {
        let mut chunk = [0; 4096];
        match self.master.read(&mut chunk) {
            Ok(len) => self.seen.push_str(&String::from_utf8_lossy(&chunk[..len])),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }

    /// Waits until `text` is seen, and returns what was seen before it.
    pub(crate) fn sees(&mut self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                let before = std::mem::replace(&mut self.seen, rest);
                return before[..at].to_owned();
            }
            assert!(Instant::now() < end, "{text:?} not seen in {:?}", self.seen);
            self.read();
        }
    }

    pub(crate) fn ends(&mut self) -> i32 {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            self.read();
            if let Some(status) = self.child.try_wait().unwrap() {
                for _ in 0..20 {
                    self.read();
                }
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < end, "still running, having said {:?}", self.seen);
        }
    }

    pub(crate) fn echoes(&self) -> bool {
        let modes = rustix::termios::tcgetattr(&self.terminal).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            Process::of(self.child.id()).signal("-KILL");
        }
    }
}
