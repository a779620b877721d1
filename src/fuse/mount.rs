//! The two ways to a mount: mount(2) by this process, or the set-user-id helper of FUSE.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::error::{Error, Result};
use super::options::{Means, MountOptions};
use crate::sys;
use crate::sys::mount::Busy;

const DEVICE: &str = "/dev/fuse";
const HELPER: &str = "fusermount3";

/// The most that is kept of what the helper says, in bytes.
const SAID_MAX: usize = 4096;

/// Mounts on `at`. Returns the connection to the kernel, and who made it: [`Means::Auto`] is
/// decided here.
pub(super) fn mount(at: &Path, options: &MountOptions) -> Result<(OwnedFd, Means)> {
    match options.means {
        Means::Direct => direct(at, options).map(|fd| (fd, Means::Direct)),
        Means::Helper => helper(at, options).map(|fd| (fd, Means::Helper)),
        Means::Auto => match direct(at, options) {
            Err(error) if is_unprivileged(&error) => {
                log::debug!("{error}: left to {HELPER}");
                helper(at, options).map(|fd| (fd, Means::Helper))
            }
            result => result.map(|fd| (fd, Means::Direct)),
        },
    }
}

/// Unmounts `at` by the means it was mounted.
pub(super) fn unmount(at: &Path, means: Means, busy: Busy) -> Result<()> {
    let by_helper = || {
        let how = if busy == Busy::Detach { "-uz" } else { "-u" };
        run_helper(at, Command::new(HELPER).arg(how).arg("--").arg(at).stdin(Stdio::null()))
    };
    match means {
        Means::Helper => by_helper(),
        Means::Auto | Means::Direct => sys::mount::unmount(at, busy)
            .map_err(|source| Error::Unmount { at: at.to_owned(), source }),
    }
}

/// Unmounts `at`, whoever mounted it: by this process where it may, else by the helper.
///
/// # Errors
/// [`Error::Unmount`], or [`Error::Refused`] by the helper, above all because it is in use.
pub fn unmount_any(at: &Path, busy: Busy) -> Result<()> {
    match unmount(at, Means::Direct, busy) {
        Err(Error::Unmount { source, .. }) if source.is_permission() => {
            unmount(at, Means::Helper, busy)
        }
        result => result,
    }
}

/// Whether the kernel may let the helper do what it does not let this process do.
fn is_unprivileged(error: &Error) -> bool {
    match error {
        Error::Mount { source, .. } => source.is_permission(),
        _ => false,
    }
}

fn direct(at: &Path, options: &MountOptions) -> Result<OwnedFd> {
    let device = File::options()
        .read(true)
        .write(true)
        .open(DEVICE)
        .map_err(|source| Error::Device { device: DEVICE, source })?;
    let (uid, gid) = sys::process::effective_ids();
    let allow_other = if options.allow_other { ",allow_other" } else { "" };
    // 40000 is the kind of file of the root, in octal: a directory.
    let data = format!(
        "fd={},rootmode=40000,user_id={uid},group_id={gid},default_permissions{allow_other}",
        device.as_raw_fd()
    );
    let fstype = format!("fuse.{}", options.subtype);
    sys::mount::mount(&options.source, at, &fstype, options.allow(), &data)
        .map_err(|source| Error::Mount { at: at.to_owned(), source })?;
    Ok(device.into())
}

/// Has the helper mount, which sends the connection through a socket. The socket is its standard
/// input, so that no other program that starts meanwhile inherits it.
fn helper(at: &Path, options: &MountOptions) -> Result<OwnedFd> {
    let unusable = |source| Error::Helper { helper: HELPER, source };
    let (near, far) = UnixStream::pair().map_err(unusable)?;
    let mut command = Command::new(HELPER);
    command
        .arg("-o")
        .arg(helper_options(options))
        .arg("--")
        .arg(at)
        .env("_FUSE_COMMFD", "0")
        .stdin(Stdio::from(OwnedFd::from(far)));
    let child = start_helper(&mut command)?;
    // The other end of the socket is the helper's alone from here on, so its death ends the wait.
    drop(command);
    let received = sys::socket::receive(near.as_fd());
    end_helper(at, child)?;
    let start = |source| Error::Start { at: at.to_owned(), source };
    let message = received.map_err(|e| start(e.into()))?;
    message.and_then(|message| message.fd).ok_or_else(|| {
        start(std::io::Error::other(format!("{HELPER} sent no connection to the kernel")))
    })
}

fn helper_options(options: &MountOptions) -> OsString {
    let allow = options.allow();
    let mut list = b"default_permissions,fsname=".to_vec();
    escape(&options.source, &mut list);
    list.extend(b",subtype=");
    escape(OsStr::new(&options.subtype), &mut list);
    for (given, yes, no) in [
        (options.allow_other, "allow_other", ""),
        (allow.write, "rw", "ro"),
        (allow.suid, "suid", "nosuid"),
        (allow.dev, "dev", "nodev"),
        (allow.exec, "exec", "noexec"),
    ] {
        let word = if given { yes } else { no };
        if !word.is_empty() {
            list.push(b',');
            list.extend(word.bytes());
        }
    }
    OsString::from_vec(list)
}

/// The helper takes a comma as the end of a value, unless there is a backslash before it.
fn escape(value: &OsStr, into: &mut Vec<u8>) {
    for &byte in value.as_bytes() {
        if matches!(byte, b',' | b'\\') {
            into.push(b'\\');
        }
        into.push(byte);
    }
}

fn run_helper(at: &Path, command: &mut Command) -> Result<()> {
    let child = start_helper(command)?;
    end_helper(at, child)
}

fn start_helper(command: &mut Command) -> Result<Child> {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| Error::Helper { helper: HELPER, source })
}

fn end_helper(at: &Path, child: Child) -> Result<()> {
    let output =
        child.wait_with_output().map_err(|source| Error::Helper { helper: HELPER, source })?;
    if output.status.success() {
        return Ok(());
    }
    let mut said = output.stderr;
    said.truncate(SAID_MAX);
    let said = match String::from_utf8_lossy(&said).trim() {
        "" => output.status.to_string(),
        words => words.to_owned(),
    };
    Err(Error::Refused { helper: HELPER, at: at.to_owned(), said })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::{Error, MountOptions, helper_options, run_helper};

    #[test]
    fn what_the_helper_says_against_it_is_told() {
        let run =
            |script| match run_helper(Path::new("/at"), Command::new("sh").args(["-c", script])) {
                Err(Error::Refused { said, .. }) => said,
                other => panic!("{other:?}"),
            };
        assert_eq!(run("echo 'it is forbidden' >&2; exit 1"), "it is forbidden");
        assert_eq!(run("exit 3"), "exit status: 3");
        assert!(run("head -c 10000 /dev/zero | tr '\\0' x >&2; exit 1").len() <= 4096);
    }

    #[test]
    fn a_source_cannot_bring_options_of_its_own() {
        let options = MountOptions {
            source: "a,suid,dev\\,x".into(),
            read_only: true,
            ..MountOptions::default()
        };
        assert_eq!(
            helper_options(&options).to_str().unwrap(),
            "default_permissions,fsname=a\\,suid\\,dev\\\\\\,x,subtype=mica,ro,nosuid,nodev,exec"
        );
    }
}
