//! Files mapped into memory.

use std::fmt;
use std::fs::File;
use std::ops::Deref;

use super::{Error, Result};

/// A whole file, mapped for reading.
///
/// The file must be one that nobody changes or shortens while it is mapped: a published file of
/// the store, which is never written again. What a reader sees of a file that is changed all the
/// same is not defined, and the process is killed (SIGBUS) when it touches a part that was cut
/// off.
pub struct Map(memmap2::Mmap);

impl Map {
    /// Maps all of `file`; `name` says which one, for the error.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn of(file: &File, name: &str) -> Result<Self> {
        // SAFETY: by the contract of the type the file is not changed while it is mapped.
        let map = unsafe { memmap2::Mmap::map(file) };
        map.map(Self).map_err(|error| Error::from_io("mmap", name, &error))
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("len", &self.0.len()).finish()
    }
}
