//! Terminals: pairs of them, their size, and raw mode.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios, Winsize};

use super::{Error, Result};

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// The two ends of a pseudoterminal.
#[derive(Debug)]
pub struct Pty {
    /// The end that plays the person. Reads and writes do not wait.
    pub master: OwnedFd,
    /// The end that programs take for a terminal.
    pub terminal: OwnedFd,
    /// Its name in its devpts.
    pub name: String,
}

/// Standard input, which is open for as long as the process lives.
#[must_use]
pub fn stdin() -> BorrowedFd<'static> {
    // SAFETY: nothing closes the descriptor; the standard library opens it if it was not.
    unsafe { BorrowedFd::borrow_raw(libc::STDIN_FILENO) }
}

/// Standard output, which is open for as long as the process lives.
#[must_use]
pub fn stdout() -> BorrowedFd<'static> {
    // SAFETY: nothing closes the descriptor; the standard library opens it if it was not.
    unsafe { BorrowedFd::borrow_raw(libc::STDOUT_FILENO) }
}

/// Makes a pseudoterminal in the devpts whose root directory is open as `devpts`.
pub fn create(devpts: BorrowedFd<'_>) -> Result<Pty> {
    let named = |call, args| move |e: rustix::io::Errno| Error::new(call, args, e.raw_os_error());
    let master = super::in_root::open_device(devpts, "ptmx")?;
    rustix::pty::unlockpt(&master).map_err(named("ioctl", "TIOCSPTLCK"))?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal =
        rustix::pty::ioctl_tiocgptpeer(&master, flags).map_err(named("ioctl", "TIOCGPTPEER"))?;
    let path = rustix::pty::ptsname(&master, Vec::new()).map_err(named("ioctl", "TIOCGPTN"))?;
    let path = path.to_string_lossy();
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    rustix::io::ioctl_fionbio(&master, true).map_err(named("ioctl", "FIONBIO"))?;
    Ok(Pty { master, terminal, name })
}

/// Makes a terminal that of this process' session, which it leads.
pub fn take_control(terminal: BorrowedFd<'_>) -> Result<()> {
    rustix::process::ioctl_tiocsctty(terminal)
        .map_err(|e| Error::new("ioctl", "TIOCSCTTY", e.raw_os_error()))
}

/// Gives a terminal to a user.
pub fn give(terminal: BorrowedFd<'_>, uid: u32) -> Result<()> {
    rustix::fs::fchown(terminal, Some(rustix::fs::Uid::from_raw(uid)), None)
        .map_err(|e| Error::new("fchown", format!("a terminal, {uid}"), e.raw_os_error()))
}

/// The size of a terminal; `None` for what is no terminal.
#[must_use]
pub fn size(fd: BorrowedFd<'_>) -> Option<Size> {
    let size = rustix::termios::tcgetwinsize(fd).ok()?;
    Some(Size { rows: size.ws_row, columns: size.ws_col })
}

/// Sets the size of a terminal; the programs in front on it learn of it.
pub fn set_size(fd: BorrowedFd<'_>, size: Size) -> Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(fd, size)
        .map_err(|e| Error::new("ioctl", "TIOCSWINSZ", e.raw_os_error()))
}

/// A terminal that passes every key on as it is, until this is dropped.
#[derive(Debug)]
pub struct Raw<'fd> {
    fd: BorrowedFd<'fd>,
    before: Termios,
}

impl<'fd> Raw<'fd> {
    /// Puts a terminal into raw mode; `None` for what is no terminal.
    pub fn enter(fd: BorrowedFd<'fd>) -> Result<Option<Self>> {
        if !rustix::termios::isatty(fd) {
            return Ok(None);
        }
        let named = |call| move |e: rustix::io::Errno| Error::new(call, "", e.raw_os_error());
        let before = rustix::termios::tcgetattr(fd).map_err(named("tcgetattr"))?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(fd, OptionalActions::Flush, &raw).map_err(named("tcsetattr"))?;
        Ok(Some(Self { fd, before }))
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        let restored = rustix::termios::tcsetattr(self.fd, OptionalActions::Drain, &self.before);
        if let Err(e) = restored {
            log::warn!("cannot give the terminal its settings back: {e}");
        }
    }
}
