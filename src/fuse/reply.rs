//! What every answer has in common: errors, logged once, and the buffers that data goes through.

use std::cell::RefCell;
use std::error::Error as StdError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fuser::INodeNo;
use log::Level;

use super::convert;
use crate::tree::{Errno, Error, Result};

/// Carries out one request and makes of its error what the kernel is told. Here errors are logged,
/// and nowhere else.
///
/// A defect that ends in a panic costs this request an `EIO` and nothing else.
pub(super) fn attempt<T>(
    request: &'static str,
    ino: INodeNo,
    work: impl FnOnce() -> Result<T>,
) -> std::result::Result<T, fuser::Errno> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            let why = Chain(&error);
            log::log!(level(error.errno()), "{request} of inode {:#x}: {why}", ino.0);
            Err(convert::errno(error.errno()))
        }
        Err(_) => {
            log::error!("{request} of inode {:#x}: panicked; this is a defect of mica", ino.0);
            Err(fuser::Errno::EIO)
        }
    }
}

/// An error and all that led to it. The first cause is part of the error's own words.
struct Chain<'a>(&'a Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)?;
        let mut cause = self.0.source().and_then(StdError::source);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// How much an error matters to the one who looks after the mount, who is not the one who asked.
fn level(errno: Errno) -> Level {
    match errno {
        Errno::EIO | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE => Level::Error,
        Errno::ENOSPC | Errno::EDQUOT => Level::Warn,
        _ => Level::Debug,
    }
}

/// Lends `work` a buffer of `len` bytes, which is kept for the next request of this thread.
pub(super) fn with_buffer<T>(len: usize, work: impl FnOnce(&mut [u8]) -> T) -> T {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    let mut buffer = BUFFER.take();
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    let result = work(buffer.get_mut(..len).unwrap_or_default());
    BUFFER.set(buffer);
    result
}

#[cfg(test)]
mod tests {
    use super::{Chain, attempt, with_buffer};
    use crate::tree::{Errno, Error};
    use fuser::INodeNo;

    #[test]
    fn a_panic_is_an_error_of_that_request_only() {
        let answer = attempt::<()>("test", INodeNo(1), || panic!("a defect"));
        assert_eq!(answer, Err(fuser::Errno::EIO));
        assert_eq!(attempt("test", INodeNo(1), || Ok(5)), Ok(5));
    }

    #[test]
    fn the_number_of_an_error_reaches_the_kernel() {
        let full = || Err::<(), _>(Error::new(Errno::ENOSPC, "no room"));
        assert_eq!(attempt("test", INodeNo(1), full), Err(fuser::Errno::ENOSPC));
    }

    #[test]
    fn the_log_names_every_cause_once() {
        let call = crate::sys::Error::new("pread", "7, 0, 10", 5);
        let error = Error::new(Errno::EIO, std::io::Error::from(call));
        assert_eq!(
            Chain(&error).to_string(),
            "input/output error: pread(7, 0, 10): Input/output error (os error 5)"
        );
    }

    #[test]
    fn a_buffer_is_as_long_as_asked_for_also_after_a_longer_one() {
        assert_eq!(with_buffer(100, |buffer| buffer.len()), 100);
        assert_eq!(with_buffer(10, |buffer| buffer.len()), 10);
        assert_eq!(with_buffer(1000, |buffer| buffer.len()), 1000);
    }
}
