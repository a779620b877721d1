//! Errors of system calls.

use std::fmt;
use std::io;

/// A system call that failed: which one, on what, and why.
#[derive(Debug)]
pub struct Error {
    call: &'static str,
    args: String,
    errno: i32,
}

/// The result of a system call.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The failure of `call` with `errno`; `args` says on what, for a person to read.
    pub fn new(call: &'static str, args: impl Into<String>, errno: i32) -> Self {
        Self { call, args: args.into(), errno }
    }

    /// The failure of `call` as the standard library reports it; without a number it is `EIO`.
    pub fn from_io(call: &'static str, args: impl Into<String>, error: &io::Error) -> Self {
        Self::new(call, args, error.raw_os_error().unwrap_or(libc::EIO))
    }

    /// The error number of the operating system.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.errno
    }

    /// Whether it failed for want of privilege.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        matches!(self.errno, libc::EPERM | libc::EACCES)
    }

    /// Whether it failed because something is in use.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.errno == libc::EBUSY
    }

    /// The name of the system call.
    #[must_use]
    pub fn call(&self) -> &'static str {
        self.call
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = io::Error::from_raw_os_error(self.errno);
        write!(f, "{}({}): {why}", self.call, self.args)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        // The number alone would lose which call it was; the kind keeps what callers branch on.
        Self::new(Self::from_raw_os_error(error.errno).kind(), error)
    }
}
