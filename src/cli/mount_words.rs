//! The `-o` grammar: words and `KEY=VALUE` pairs with commas between them, as mount(8) hands them
//! on. A backslash takes the meaning from a comma after it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::failure::{Failure, Result};

/// What the options of a mount say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct MountWords {
    /// `upperdir=`.
    pub(super) upper: Option<PathBuf>,
    /// `workdir=`.
    pub(super) work: Option<PathBuf>,
    /// `volatile`.
    pub(super) volatile: bool,
    /// `ro`.
    pub(super) read_only: bool,
    /// `allow_other`, or nothing, or `noallow_other`.
    pub(super) allow_other: Option<bool>,
    /// `suid` or `nosuid`.
    pub(super) suid: Option<bool>,
    /// `dev` or `nodev`.
    pub(super) dev: Option<bool>,
    /// `exec` or `noexec`.
    pub(super) exec: Option<bool>,
}

/// Words that every mount may carry and that change nothing here: times of last reading are never
/// written, and what is written is written at once.
const WITHOUT_EFFECT: [&[u8]; 14] = [
    b"defaults",
    b"rw",
    b"atime",
    b"noatime",
    b"relatime",
    b"norelatime",
    b"strictatime",
    b"nostrictatime",
    b"diratime",
    b"nodiratime",
    b"async",
    b"auto",
    b"noauto",
    b"silent",
];

impl MountWords {
    /// Reads several lists, the later ones over the earlier.
    pub(super) fn parse<'a>(lists: impl IntoIterator<Item = &'a OsString>) -> Result<Self> {
        let mut words = Self::default();
        for list in lists {
            for option in split(list) {
                words.take(&option)?;
            }
        }
        words.check()
    }

    fn take(&mut self, option: &[u8]) -> Result<()> {
        let mut parts = option.splitn(2, |&byte| byte == b'=');
        let key = parts.next().unwrap_or_default();
        let value = parts.next();
        let path = |value: &[u8]| Some(PathBuf::from(OsStr::from_bytes(value)));
        match (key, value) {
            (b"upperdir", Some(value)) => self.upper = path(value),
            (b"workdir", Some(value)) => self.work = path(value),
            (b"volatile", None) => self.volatile = true,
            (b"ro", None) => self.read_only = true,
            (b"rw", None) => self.read_only = false,
            (b"allow_other", None) => self.allow_other = Some(true),
            (b"noallow_other", None) => self.allow_other = Some(false),
            (b"suid", None) => self.suid = Some(true),
            (b"nosuid", None) => self.suid = Some(false),
            (b"dev", None) => self.dev = Some(true),
            (b"nodev", None) => self.dev = Some(false),
            (b"exec", None) => self.exec = Some(true),
            (b"noexec", None) => self.exec = Some(false),
            (word, None) if WITHOUT_EFFECT.contains(&word) => {}
            _ => return Err(unknown(option)),
        }
        Ok(())
    }

    fn check(self) -> Result<Self> {
        match (&self.upper, &self.work) {
            (Some(_), None) => {
                let hint = "name a directory on the same filesystem with workdir=DIR";
                return Err(Failure::new("upperdir= without workdir=").hint(hint));
            }
            (None, Some(_)) => {
                let hint = "name the directory for what is written with upperdir=DIR";
                return Err(Failure::new("workdir= without upperdir=").hint(hint));
            }
            _ => {}
        }
        if self.volatile && self.upper.is_none() {
            return Err(Failure::new("volatile without upperdir=")
                .hint("without an upper directory nothing is written"));
        }
        Ok(self)
    }
}

fn unknown(option: &[u8]) -> Failure {
    let shown = option.escape_ascii();
    Failure::new(format!("unknown mount option \"{shown}\"")).hint(
        "known are upperdir=, workdir=, volatile, ro, rw, allow_other, [no]suid, [no]dev, [no]exec",
    )
}

/// The options of a list, without those that are empty.
fn split(list: &OsStr) -> Vec<Vec<u8>> {
    let mut options = vec![Vec::new()];
    let mut bytes = list.as_bytes().iter().copied();
    while let Some(byte) = bytes.next() {
        let (ends, byte) = match byte {
            b',' => (true, byte),
            b'\\' => (false, bytes.next().unwrap_or(b'\\')),
            _ => (false, byte),
        };
        if ends {
            options.push(Vec::new());
        } else if let Some(option) = options.last_mut() {
            option.push(byte);
        }
    }
    options.retain(|option| !option.is_empty());
    options
}

#[cfg(test)]
mod tests {
    use super::{MountWords, split};
    use std::ffi::OsString;
    use std::path::Path;

    fn parse(list: &str) -> Result<MountWords, String> {
        MountWords::parse([&OsString::from(list)]).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn words_and_values_are_told_apart_and_the_last_one_counts() {
        let words = parse("upperdir=/u=1,workdir=/w,ro,rw,nosuid,,suid,noatime").unwrap();
        assert_eq!(words.upper.as_deref(), Some(Path::new("/u=1")));
        assert_eq!(words.work.as_deref(), Some(Path::new("/w")));
        assert_eq!((words.read_only, words.suid, words.dev), (false, Some(true), None));
    }

    #[test]
    fn a_backslash_takes_the_meaning_from_a_comma() {
        assert_eq!(split(r"a\,b,c\\d,e\".as_ref()), [&b"a,b"[..], b"c\\d", b"e\\"]);
    }

    #[test]
    fn what_is_unknown_or_lacks_its_other_half_is_refused() {
        for list in ["frob", "upperdir", "ro=1", "upperdir=/u", "workdir=/w", "volatile"] {
            assert!(parse(list).is_err(), "{list}");
        }
    }
}
