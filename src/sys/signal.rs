//! Signals as something that is read, not something that interrupts.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr;

use super::{Error, Result};

/// A signal, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(i32);

impl Signal {
    /// A child ended.
    pub const CHLD: Self = Self(libc::SIGCHLD);
    /// Ends a process; cannot be caught.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// The terminal has another size.
    pub const WINCH: Self = Self(libc::SIGWINCH);

    /// The number.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }

    /// Whether people and systems send it to end a process.
    #[must_use]
    pub fn asks_to_end(self) -> bool {
        ASK_TO_END.contains(&self.0)
    }
}

/// See [`Signal::asks_to_end`].
const ASK_TO_END: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// The highest number of a signal.
const MAX_SIGNAL: i32 = 64;

/// The signals that are handed on to another process: all that can be caught, but those that tell
/// of a fault in this one, of its place in a shell's job control, and of its own pipes.
const NOT_HANDED_ON: [i32; 12] = [
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGPIPE,
    libc::SIGSEGV,
    libc::SIGSYS,
    libc::SIGTRAP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGURG,
];

/// A set of signals.
#[derive(Clone, Copy)]
pub struct Mask(libc::sigset_t);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

impl Mask {
    /// No signal.
    #[must_use]
    pub fn empty() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: writes a whole signal set; cannot fail.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: it was written just now.
        Self(unsafe { set.assume_init() })
    }

    /// All signals that are handed on, and [`Signal::CHLD`].
    #[must_use]
    pub fn handed_on() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: writes a whole signal set; cannot fail.
        unsafe { libc::sigfillset(set.as_mut_ptr()) };
        // SAFETY: it was written just now.
        let mut set = unsafe { set.assume_init() };
        for signal in NOT_HANDED_ON {
            // SAFETY: the set is valid, and so is the number.
            unsafe { libc::sigdelset(&raw mut set, signal) };
        }
        Self(set)
    }

    /// The signals that ask a process to end ([`Signal::asks_to_end`]).
    #[must_use]
    pub fn asking_to_end() -> Self {
        let mut mask = Self::empty();
        for signal in ASK_TO_END {
            // SAFETY: the set is valid, and so is the number.
            unsafe { libc::sigaddset(&raw mut mask.0, signal) };
        }
        mask
    }

    /// Makes this the set of signals that are held back from this thread; returns the one before.
    pub fn block(&self) -> Result<Self> {
        let mut old = Self::empty();
        // SAFETY: both sets are valid; one is read, one written.
        let errno =
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, &raw mut old.0) };
        match errno {
            0 => Ok(old),
            _ => Err(Error::new("pthread_sigmask", "", errno)),
        }
    }
}

/// Gives every signal its default action back, and holds none back.
pub fn reset() -> Result<()> {
    // Not through the library, which keeps two signals for itself. All zero is the default action
    // without flags (`struct kernel_sigaction`: handler, flags, restorer, mask).
    let default = [0u64; 4];
    for signal in 1..=MAX_SIGNAL {
        let (new, old) = (default.as_ptr(), ptr::null::<u64>());
        // SAFETY: the kernel reads the structure, and runs no code of ours for the default action.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, new, old, size_of::<u64>()) };
    }
    Mask::empty().block()?;
    Ok(())
}

/// The signals of a blocked set, one after the other, to be polled and read.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Opens the queue of the signals in `mask`, which must be blocked.
    pub fn new(mask: &Mask) -> Result<Self> {
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the set is valid and only read.
        let fd = unsafe { libc::signalfd(-1, ptr::from_ref(&mask.0), flags) };
        if fd < 0 {
            return Err(Error::from_io("signalfd", "", &std::io::Error::last_os_error()));
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Takes the next signal, if there is one.
    pub fn next(&self) -> Result<Option<Signal>> {
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut info)) {
            Ok(_) => {
                // `ssi_signo` is the first field (signalfd(2)).
                let number = info.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
                Ok(number.and_then(|number| i32::try_from(number).ok()).map(Signal))
            }
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(e) => Err(Error::new("read", "a signalfd", e.raw_os_error())),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
