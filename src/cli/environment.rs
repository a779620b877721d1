//! Variables for a container, as the options `-e` and `--env-file` give them.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use super::failure::{Failure, Result};

/// The largest file of variables, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A variable and its value; without one it is to be removed.
pub(super) type Setting = (OsString, Option<OsString>);

/// Reads `NAME=VALUE`, or `NAME` for the value that it has here; without one, it is to be removed.
pub(super) fn setting(text: &OsStr) -> Setting {
    let mut parts = text.as_bytes().splitn(2, |&byte| byte == b'=');
    let name = OsStr::from_bytes(parts.next().unwrap_or_default()).to_owned();
    match parts.next() {
        Some(value) => (name, Some(OsStr::from_bytes(value).to_owned())),
        None => {
            let value = env::var_os(&name);
            (name, value)
        }
    }
}

/// Reads a file of settings, one in a line; empty lines and those that begin with `#` do not count.
///
/// # Errors
/// When the file cannot be read or has more than 1 MiB.
pub(super) fn of_file(path: &Path) -> Result<Vec<Setting>> {
    let failed = || Failure::new(format!("cannot read variables from {}", path.display()));
    let len = fs::metadata(path).map_err(|error| failed().because(&error))?.len();
    if len > MAX_FILE {
        return Err(failed().hint("a file of variables has at most 1 MiB"));
    }
    let bytes = fs::read(path).map_err(|error| failed().because(&error))?;
    let lines = bytes.split(|&byte| byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start());
    let counts = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    let settings = counts.map(|line| setting(&OsString::from_vec(line.to_vec())));
    // In a file, a name that has no value here does not count (docker-run(1)).
    Ok(settings.filter(|(_, value)| value.is_some()).collect())
}

#[cfg(test)]
mod tests {
    use super::{of_file, setting};

    #[test]
    fn a_value_may_hold_anything_and_a_name_alone_takes_the_value_from_here() {
        let read = |text: &str| setting(text.as_ref());
        assert_eq!(read("A=b=c"), ("A".into(), Some("b=c".into())));
        assert_eq!(read("A="), ("A".into(), Some("".into())));
        let path = std::env::var_os("PATH");
        assert!(path.is_some());
        assert_eq!(read("PATH"), ("PATH".into(), path));
        assert_eq!(read("MICA_TEST_IS_NOT_SET"), ("MICA_TEST_IS_NOT_SET".into(), None));
    }

    #[test]
    fn a_file_has_one_setting_in_a_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# comment\nA=1\r\n\n  B=two words\nMICA_TEST_IS_NOT_SET\n")
            .unwrap();
        let settings = of_file(file.path()).unwrap();
        let expected = [("A", "1"), ("B", "two words")];
        assert_eq!(settings, expected.map(|(name, value)| (name.into(), Some(value.into()))));
        assert!(of_file("/nonexistent".as_ref()).is_err());
    }
}
