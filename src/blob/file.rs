//! The bytes of a file on this disk.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{Error, ReadAt, Result};

/// A file that is only read. Its length is taken once, when it is opened.
#[derive(Debug)]
pub struct FileBlob {
    file: File,
    path: PathBuf,
    len: u64,
}

impl FileBlob {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |source| Error::Io { what: path.display().to_string(), source };
        let file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        Ok(Self { file, path: path.to_owned(), len })
    }
}

impl ReadAt for FileBlob {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        super::check_range(self.len, offset, buf.len())?;
        self.file.read_exact_at(buf, offset).map_err(|source| Error::Io {
            what: format!("{} bytes at {offset} of {}", buf.len(), self.path.display()),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::FileBlob;
    use crate::blob::{Error, ReadAt as _};

    #[test]
    fn a_range_that_is_not_within_the_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        std::fs::write(&path, b"0123456789").unwrap();
        let blob = FileBlob::open(&path).unwrap();
        let mut buf = [0; 4];
        blob.read_exact_at(6, &mut buf).unwrap();
        assert_eq!(&buf, b"6789");
        for offset in [7, u64::MAX] {
            let refused = blob.read_exact_at(offset, &mut buf);
            assert!(matches!(refused, Err(Error::PastEnd { .. })), "{offset}: {refused:?}");
        }
    }

    #[test]
    fn a_file_that_was_cut_after_it_was_opened_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        std::fs::write(&path, b"0123456789").unwrap();
        let blob = FileBlob::open(&path).unwrap();
        std::fs::write(&path, b"01234").unwrap();
        assert!(matches!(blob.read_exact_at(4, &mut [0; 4]), Err(Error::Io { .. })));
    }
}
