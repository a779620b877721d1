//! Names of images: which manifest a name stands for.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::failed;
use super::{Error, Result, Session, Store, sync_directory};
use crate::oci::Digest;

/// The most bytes a record may have. What is larger was not written by us.
const MAX_RECORD: u64 = 1024 * 1024;

/// The most bytes a name may have.
const MAX_NAME: usize = 4096;

/// The longest name that is kept readable in the file name of its record.
const MAX_READABLE: usize = 200;

/// A name of an image, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ref {
    /// The name, in full: `docker.io/library/debian:12`. The store compares names and does not
    /// read them.
    pub name: String,
    /// The manifest of the image for the platform that was chosen.
    pub manifest: Digest,
    /// What the registry has under the name: the manifest, or the index it was chosen from.
    pub source: Digest,
    /// When the name was given or fetched last, in seconds since 1970.
    pub updated: u64,
}

impl Store {
    /// The record of `name`, if there is one.
    ///
    /// # Errors
    /// [`Error::Record`], [`Error::Name`], [`Error::Io`].
    pub fn get_ref(&self, name: &str) -> Result<Option<Ref>> {
        let found = read_record::<Ref>(&self.ref_path(name)?)?;
        Ok(found.filter(|found| found.name == name))
    }

    /// All records, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Record`], [`Error::Io`].
    pub fn refs(&self) -> Result<Vec<Ref>> {
        let directory = self.root().join("images");
        let mut refs = Vec::new();
        for entry in directory.read_dir().map_err(failed("list", &directory))? {
            let path = entry.map_err(failed("list", &directory))?.path();
            // One that is gone by now was removed in the meantime.
            refs.extend(read_record::<Ref>(&path)?);
        }
        refs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(refs)
    }

    /// The file of the record of `name`.
    fn ref_path(&self, name: &str) -> Result<PathBuf> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(Error::Name(name.chars().take(200).collect()));
        }
        Ok(self.root().join("images").join(file_name(name)))
    }
}

impl Session {
    /// Writes a record, in place of an older one of the same name. When this returns, it is on
    /// the disk.
    ///
    /// # Errors
    /// [`Error::Missing`] when the store does not have the manifest; [`Error::Name`],
    /// [`Error::Io`]. The older record then stays.
    pub fn put_ref(&self, record: &Ref) -> Result<()> {
        let path = self.ref_path(&record.name)?;
        if self.blob_len(&record.manifest)?.is_none() {
            return Err(Error::Missing(record.manifest));
        }
        let bytes = serde_json::to_vec(record)
            .map_err(|source| Error::Record { path: path.clone(), source })?;
        self.publish_bytes(&bytes, &path)
    }

    /// Removes the record of `name`; says whether there was one.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Io`].
    pub fn remove_ref(&self, name: &str) -> Result<bool> {
        remove_ref(self, name)
    }
}

pub(super) fn remove_ref(store: &Store, name: &str) -> Result<bool> {
    let path = store.ref_path(name)?;
    match fs::remove_file(&path) {
        Ok(()) => sync_directory(&store.root().join("images")).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("remove", &path)(error)),
    }
}

/// Reads a record, if there is one.
pub(super) fn read_record<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => return Ok(None),
            _ => return Err(failed("open", path)(error)),
        },
    };
    let mut bytes = Vec::new();
    file.take(MAX_RECORD).read_to_end(&mut bytes).map_err(failed("read", path))?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|source| Error::Record { path: path.to_owned(), source })
}

/// The file name for the record of `name`: the name with what is not a letter, a digit, `.`, `-`
/// or `_` as `%` and two hexadecimal digits, so that different names have different files. One
/// that would be too long for a file name has its digest instead.
fn file_name(name: &str) -> String {
    if name.len() > MAX_READABLE / 3 && escaped(name).len() > MAX_READABLE {
        // `%%` begins no escaped name.
        return format!("%%{}.json", Digest::of(name.as_bytes()).hex());
    }
    escaped(name) + ".json"
}

fn escaped(name: &str) -> String {
    name.bytes().fold(String::with_capacity(name.len()), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                text.push(char::from(byte));
            }
            _ => {
                // Writing to a String cannot fail.
                let _infallible = write!(text, "%{byte:02X}");
            }
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn different_names_have_different_files_of_a_length_that_every_filesystem_takes() {
        let long = "x".repeat(500);
        let names =
            ["a/b:1", "a%2Fb:1", "a/b.1", "..", "A/b:1", "é", long.as_str(), &long[..499], "%%1"];
        let files: Vec<_> = names.iter().map(|name| file_name(name)).collect();
        for (n, file) in files.iter().enumerate() {
            assert!(file.len() <= 255 && !file.contains('/') && file.ends_with(".json"), "{file}");
            assert!(files.iter().skip(n + 1).all(|other| other != file), "{file} twice");
        }
        assert_eq!(file_name("localhost:5000/a/b:1"), "localhost%3A5000%2Fa%2Fb%3A1.json");
    }
}
