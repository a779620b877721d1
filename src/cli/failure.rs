//! What went wrong, in words: `error:` what could not be done, `cause:` why, a line for each
//! reason, `hint:` what helps.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use anstyle::AnsiColor;

use super::FAILED;
use super::talk::say_after;
use crate::image::Trouble;

/// A command that failed.
#[derive(Debug)]
pub(super) struct Failure {
    error: String,
    causes: Vec<String>,
    hint: Option<String>,
    code: u8,
    broken_pipe: bool,
}

/// What a command returns.
pub(super) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure to do what `error` says.
    pub(super) fn new(error: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            causes: Vec::new(),
            hint: None,
            code: FAILED,
            broken_pipe: false,
        }
    }

    /// The failure of a verb to do what `error` says.
    pub(super) fn of(error: impl Into<String>, cause: &crate::image::Error) -> Self {
        let failure = Self::new(error).because(cause);
        match cause.trouble() {
            Some(trouble) => failure.hint(hint(&trouble)),
            None => failure,
        }
    }

    /// Adds an error and all that led to it as causes.
    pub(super) fn because(mut self, cause: &dyn Error) -> Self {
        let mut next = Some(cause);
        while let Some(cause) = next {
            let text = cause.to_string();
            // Some libraries repeat what led to an error in its own text.
            if self.causes.last().is_none_or(|last| !last.ends_with(&text)) {
                self.causes.push(text);
            }
            next = cause.source();
        }
        self
    }

    /// Says what helps.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Ends the program with this code instead of 125.
    pub(super) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// The code to end the program with.
    pub(super) fn code(&self) -> u8 {
        self.code
    }

    /// Whether there is nobody left to read what we write.
    pub(super) fn is_broken_pipe(&self) -> bool {
        self.broken_pipe
    }

    /// Says all this on stderr.
    pub(super) fn tell(&self) {
        say_after("error:", AnsiColor::Red, &self.error);
        for cause in &self.causes {
            say_after("cause:", AnsiColor::Yellow, cause);
        }
        if let Some(hint) = &self.hint {
            say_after("hint:", AnsiColor::Green, hint);
        }
    }
}

/// Does `work` with each of `things`. What fails does not keep the others from being done; the last
/// failure ends the program.
pub(super) fn each<T>(things: &[T], mut work: impl FnMut(&T) -> Result<()>) -> Result<ExitCode> {
    let mut last: Option<Failure> = None;
    for thing in things {
        match work(thing) {
            Ok(()) => {}
            Err(failure) if failure.broken_pipe => return Err(failure),
            Err(failure) => {
                if let Some(earlier) = last.replace(failure) {
                    earlier.tell();
                }
            }
        }
    }
    last.map_or(Ok(ExitCode::SUCCESS), Err)
}

impl From<io::Error> for Failure {
    /// The failure to write to stdout.
    fn from(error: io::Error) -> Self {
        let broken_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        Self { broken_pipe, ..Self::new("cannot write to the standard output").because(&error) }
    }
}

/// What helps against a trouble.
fn hint(trouble: &Trouble) -> String {
    match trouble {
        Trouble::NotFound { near } if near.is_empty() => {
            "`mica images` lists what is there; `mica pull` fetches more".to_owned()
        }
        Trouble::NotFound { near } => format!("did you mean {}?", near.join(" or ")),
        Trouble::Ambiguous => "write the name in full, as `mica images` shows it".to_owned(),
        Trouble::NoContainer => "`mica ps -a` lists what is there".to_owned(),
        Trouble::NameInUse { name } => {
            format!("choose another name, or remove that container with `mica rm {name}`")
        }
        Trouble::NoDevice => {
            "FUSE must be there: `modprobe fuse` loads it as root; in a container, \
             start that with --device /dev/fuse"
                .to_owned()
        }
        Trouble::NoHelper => {
            "without root it takes fusermount3, which is in the package fuse3".to_owned()
        }
        Trouble::InUse => {
            "remove its containers first, with `mica rm`; `mica ps -a` lists them".to_owned()
        }
        Trouble::SeveralNames => "name one of them, or use --force to remove all".to_owned(),
        Trouble::DiskFull => "free some space, for example with `mica image prune -a`".to_owned(),
        Trouble::NoPermission => {
            "choose a directory that you may write to with --root or MICA_ROOT".to_owned()
        }
        Trouble::Damaged => "remove the image with `mica rmi` and pull it again".to_owned(),
        Trouble::NotInRegistry => {
            "check the name and the tag; some registries say this of images that need a login too"
                .to_owned()
        }
        Trouble::Login => {
            "this image needs a login, which this version of mica cannot give".to_owned()
        }
        Trouble::RateLimited => "wait a while, or pull from a mirror".to_owned(),
        Trouble::PlainHttp { host } => {
            format!("if {host} is to be trusted without encryption, use --tls-verify=false")
        }
        Trouble::Certificate { host, authority: true } => format!(
            "put this very certificate at /etc/containers/certs.d/{host}/server.crt to accept it"
        ),
        Trouble::Certificate { host, authority: false } => {
            format!("put the certificate of its authority at /etc/containers/certs.d/{host}/ca.crt")
        }
        Trouble::Unreachable { host } => {
            format!("check that {host} is right and that a registry is running there")
        }
        Trouble::NoPlatform => "choose one of those with --platform".to_owned(),
        Trouble::Mountpoint => "name a directory that is there; mkdir(1) makes one".to_owned(),
        Trouble::NotMounted => "`findmnt -t fuse.mica` lists what is mounted".to_owned(),
        Trouble::MountInUse => {
            "end what uses it (`fuser -vm DIR` lists it), or use --lazy: it then ends with its \
             last user"
                .to_owned()
        }
    }
}
