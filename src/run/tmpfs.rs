//! Directories in memory, as the option `--tmpfs` has them.

use std::path::PathBuf;
use std::str::FromStr;

use super::{Error, Result};

/// An empty directory in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs {
    /// Where it goes in the container.
    pub target: PathBuf,
    /// The most that it holds, as tmpfs(5) says it: bytes, or with a unit or a percent sign behind
    /// the number. Without it, half of the memory.
    pub size: Option<String>,
    /// The permissions of the directory.
    pub mode: u16,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Whether programs in it can be run.
    pub exec: bool,
}

const KNOWN: &str = "known are size=BYTES[k|m|g|%], mode=OCTAL, ro, rw, [no]exec, nosuid, nodev";

impl Tmpfs {
    /// The one that engines make when nothing is said of it: anyone may write, nobody may execute.
    #[must_use]
    pub fn at(target: impl Into<PathBuf>) -> Self {
        Self { target: target.into(), size: None, mode: 0o1777, read_only: false, exec: false }
    }

    fn take(&mut self, option: &str) -> Option<()> {
        match option.split_once('=') {
            Some(("size", size)) => self.size = Some(size_of(size)?.to_owned()),
            Some(("mode", mode)) => {
                let digits = (1..=5).contains(&mode.len()).then_some(mode)?;
                let mode = u16::from_str_radix(digits, 8).ok()?;
                self.mode = (mode <= 0o7777).then_some(mode)?;
            }
            Some(_) => return None,
            None => match option {
                "ro" => self.read_only = true,
                "rw" => self.read_only = false,
                "exec" => self.exec = true,
                "noexec" => self.exec = false,
                // It is so in any case.
                "nosuid" | "nodev" => {}
                _ => return None,
            },
        }
        Some(())
    }
}

/// A size as the kernel reads it.
fn size_of(text: &str) -> Option<&str> {
    let digits = text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', '%']).unwrap_or(text);
    digits.parse::<u64>().ok().filter(|_| !digits.starts_with('+')).map(|_| text)
}

impl FromStr for Tmpfs {
    type Err = Error;

    /// Reads `TARGET[:OPTION,...]`.
    fn from_str(text: &str) -> Result<Self> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let mut tmpfs = Self::at(target);
        for option in options.split(',').filter(|option| !option.is_empty()) {
            tmpfs.take(option).ok_or_else(|| Error::Invalid {
                option: "tmpfs option",
                value: option.escape_default().to_string(),
                why: KNOWN.to_owned(),
            })?;
        }
        Ok(tmpfs)
    }
}

#[cfg(test)]
mod tests {
    use super::Tmpfs;

    #[test]
    fn what_is_said_after_the_path_counts_and_the_last_word_of_a_kind_wins() {
        let read = |text: &str| text.parse::<Tmpfs>().unwrap();
        assert_eq!(read("/tmp"), Tmpfs::at("/tmp"));
        let all = read("/a b:size=64m,mode=700,exec,ro,rw,nosuid,nodev,ro");
        assert_eq!((all.target.to_str(), all.size.as_deref()), (Some("/a b"), Some("64m")));
        assert_eq!((all.mode, all.read_only, all.exec), (0o700, true, true));
        for bad in ["size=", "size=1q", "size=+1", "size=%", "mode=", "mode=8", "mode=10000", "dev"]
        {
            assert!(format!("/tmp:{bad}").parse::<Tmpfs>().is_err(), "{bad}");
        }
    }
}
