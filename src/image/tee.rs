//! The bytes of a layer on their way from the registry: stored, and passed on.

use std::io::{self, Read, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::registry::{self, BlobReader};
use crate::store::{self, BlobWriter};

use super::{Error, Result};

/// How much is read at a time when nobody wants the bytes any more.
const PIECE: usize = 64 * 1024;

/// Reads from a registry; what passes is written to the store.
pub(super) struct Tee<'a, 's, F> {
    source: BlobReader,
    blob: &'a mut BlobWriter<'s>,
    /// Set when the bytes are of no use any more.
    stop: &'a AtomicBool,
    /// Is told how many bytes have passed.
    tell: F,
    /// Why there are no more bytes.
    fault: Option<Error>,
}

impl<'a, 's, F: Fn(u64)> Tee<'a, 's, F> {
    pub(super) fn new(
        source: BlobReader,
        blob: &'a mut BlobWriter<'s>,
        stop: &'a AtomicBool,
        tell: F,
    ) -> Self {
        Self { source, blob, stop, tell, fault: None }
    }

    /// Lets pass what is left, and says why not all bytes passed, if so.
    pub(super) fn finish(mut self) -> Result<()> {
        let mut piece = vec![0; PIECE];
        while self.fault.is_none() {
            match self.next(&mut piece) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
        self.fault.map_or(Ok(()), Err)
    }

    fn next(&mut self, buf: &mut [u8]) -> Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        let read = loop {
            match self.source.read(buf) {
                Ok(read) => break read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::from_blob(error)),
            }
        };
        let bytes = buf.get(..read).unwrap_or_default();
        self.blob.write_all(bytes).map_err(|source| {
            let path = self.blob.path().to_owned();
            store::Error::Io { action: "write", path, source }
        })?;
        (self.tell)(self.blob.len());
        Ok(read)
    }
}

impl<F: Fn(u64)> Read for Tee<'_, '_, F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.next(buf).map_err(|error| {
            // Whoever reads is told that there is no more; why is kept for `finish`.
            let text = error.to_string();
            self.fault = Some(error);
            io::Error::other(text)
        })
    }
}

impl Error {
    /// What a [`BlobReader`] has to say.
    fn from_blob(error: io::Error) -> Self {
        match error.downcast::<registry::Error>() {
            Ok(error) => Self::Registry(error),
            Err(source) => {
                Self::Registry(registry::Error::Broken { url: "a blob".to_owned(), source })
            }
        }
    }
}
