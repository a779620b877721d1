//! One component of a path: bytes, not text.

use std::borrow::Borrow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;

/// The name of one directory entry.
///
/// 1 to 255 bytes, any but `/` and NUL, and neither `.` nor `..`: what a Linux directory can
/// hold. Not necessarily UTF-8; text is made of it only for messages.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

/// Why some bytes are not a [`Name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No bytes at all.
    #[error("the name is empty")]
    Empty,
    /// `.` or `..`, which name no entry of their own.
    #[error("the name is \".\" or \"..\"")]
    Dot,
    /// Contains `/` or NUL.
    #[error("the name contains a slash or a NUL byte")]
    Separator,
    /// More than [`Name::MAX`] bytes.
    #[error("the name is longer than 255 bytes")]
    TooLong,
}

impl Name {
    /// The most bytes a name may have (`NAME_MAX`).
    pub const MAX: usize = 255;

    /// Checks `bytes` and takes a copy of them.
    ///
    /// # Errors
    /// One [`NameError`] for each rule of the type.
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        match bytes {
            [] => Err(NameError::Empty),
            b"." | b".." => Err(NameError::Dot),
            _ if bytes.iter().any(|&b| b == b'/' || b == 0) => Err(NameError::Separator),
            _ if bytes.len() > Self::MAX => Err(NameError::TooLong),
            _ => Ok(Self(bytes.into())),
        }
    }

    /// The bytes of the name.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as the operating system's string type.
    #[must_use]
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::{Name, NameError};

    #[test]
    fn what_a_directory_can_hold_is_a_name_and_nothing_else() {
        for good in [&b"a"[..], b"...", b".wh.x", b"\xff\xfe", &[b'x'; 255]] {
            assert_eq!(Name::new(good).unwrap().as_bytes(), good);
        }
        for (bad, why) in [
            (&b""[..], NameError::Empty),
            (b".", NameError::Dot),
            (b"..", NameError::Dot),
            (b"a/b", NameError::Separator),
            (b"a\0", NameError::Separator),
            (&[b'x'; 256], NameError::TooLong),
        ] {
            assert_eq!(Name::new(bad), Err(why));
        }
    }
}
