//! What is mounted where, as this process sees it (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use super::{Error, Result};

const TABLE: &str = "/proc/self/mountinfo";

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Where it is.
    pub at: PathBuf,
    /// The type of the filesystem: `ext4`, `fuse.mica`.
    pub fstype: OsString,
    /// What the filesystem says it was mounted from.
    pub source: OsString,
}

/// All mounts, in the order they were made. Of several at one place, the last one is seen there.
///
/// # Errors
/// Those of reading the table.
pub fn read() -> Result<Vec<Mounted>> {
    let table = std::fs::read(TABLE).map_err(|e| Error::from_io("read", TABLE, &e))?;
    Ok(table.split(|&byte| byte == b'\n').filter_map(parse).collect())
}

/// One line: after six fields and any number of optional ones come a dash, the type and the source.
fn parse(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|&byte| byte == b' ');
    let at = unescape(fields.nth(4)?);
    let mut after = fields.skip_while(|field| *field != b"-").skip(1);
    let (fstype, source) = (after.next()?, after.next()?);
    Some(Mounted { at: at.into(), fstype: unescape(fstype), source: unescape(source) })
}

/// Blanks and backslashes are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let digits = if byte == b'\\' { after.first_chunk::<3>() } else { None };
        let code =
            digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        plain.push(code.unwrap_or(byte));
        if code.is_some() {
            rest = after.get(3..).unwrap_or_default();
        }
    }
    OsString::from_vec(plain)
}

#[cfg(test)]
mod tests {
    use super::{Mounted, parse, read};

    #[test]
    fn a_line_of_the_table_is_read_with_its_blanks() {
        let line =
            br"36 35 98:0 /mnt1 /mnt\040a\134b rw,noatime master:1 shared:2 - fuse.mica a\040b rw";
        let expected =
            Mounted { at: r"/mnt a\b".into(), fstype: "fuse.mica".into(), source: "a b".into() };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse(b"36 35 98:0 / /mnt rw"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn the_root_is_mounted() {
        assert!(read().unwrap().iter().any(|mount| mount.at.as_os_str() == "/"));
    }
}
