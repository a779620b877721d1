//! `mount.mica`: what mount(8) calls for the filesystem type `mica`, and hands the mount over to
//! `mica mount`.
//!
//! mount(8) calls `mount.mica SPEC DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE.SUBTYPE]`, as
//! root and without `PATH` and `HOME`. This program knows that convention and nothing else: what
//! an option of the filesystem means is known in one place, in `mica` itself.
#![forbid(unsafe_code)]

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Exit codes of mount(8).
const USAGE: u8 = 1;
const SYSTEM: u8 = 2;
const FAILED: u8 = 32;

/// What mount(8) strips the environment of, and `mica` needs to find fusermount3 and newuidmap.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Options that are meant for mount(8), its boot scripts and systemd, not for a filesystem.
const FOR_MOUNT: &[&[u8]] = &[
    b"_netdev",
    b"auto",
    b"defaults",
    b"group",
    b"noauto",
    b"nofail",
    b"nogroup",
    b"noowner",
    b"nouser",
    b"nousers",
    b"owner",
    b"user",
    b"users",
];
const FOR_MOUNT_PREFIXES: &[&[u8]] =
    &[b"x-", b"X-", b"comment=", b"helper=", b"uhelper=", b"user=", b"loop="];

/// Why there will be no mount.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    code: u8,
    why: String,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Action {
    /// `mica mount` with these arguments.
    Mount(Vec<OsString>),
    /// Nothing (`-f`): the call was right, and that was all the question.
    Nothing,
}

/// What mount(8) said.
#[derive(Default)]
struct Call {
    operands: Vec<OsString>,
    options: Vec<u8>,
    fake: bool,
    namespace: bool,
}

fn main() -> ExitCode {
    // The owner of /proc/self is who this process acts as.
    let privileged = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let outcome = match translate(env::args_os().skip(1), privileged) {
        Ok(Action::Mount(args)) => mount(&args),
        Ok(Action::Nothing) => Ok(()),
        Err(refusal) => Err(refusal),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refusal { code, why }) => {
            // Where nobody listens the exit code still tells.
            drop(writeln!(io::stderr(), "mount.mica: {why}"));
            ExitCode::from(code)
        }
    }
}

/// Runs `mica mount`; it returns when the mount is live and says itself why it is not.
fn mount(args: &[OsString]) -> Result<(), Refusal> {
    let program = mica()?;
    let status = Command::new(&program).arg("mount").args(args).env("PATH", PATH).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Refusal { code: FAILED, why: format!("mica mount: {status}") }),
        Err(error) => {
            Err(Refusal { code: SYSTEM, why: format!("cannot run {}: {error}", program.display()) })
        }
    }
}

/// The `mica` that belongs to this helper: beside it, or where programs are installed.
fn mica() -> Result<PathBuf, Refusal> {
    let beside = env::current_exe().ok().map(|me| me.with_file_name("mica"));
    let installed = ["/usr/local/bin/mica", "/usr/bin/mica"].map(PathBuf::from);
    let mut places = beside.into_iter().chain(installed);
    places.find(|place| place.is_file()).ok_or_else(|| Refusal {
        code: SYSTEM,
        why: "there is no mica beside this program, in /usr/local/bin or in /usr/bin".to_owned(),
    })
}

/// Says what the arguments (without the program's name) ask for. `privileged` is whether root
/// mounts: then device nodes and set-user-id bits count unless the options say otherwise, as
/// mount(8) has it for every other filesystem.
fn translate(args: impl Iterator<Item = OsString>, privileged: bool) -> Result<Action, Refusal> {
    let call = parse(args)?;
    let usage = || usage("usage: mount.mica IMAGE DIR [-sfnv] [-o OPTIONS] [-t TYPE]");
    let [spec, dir] = &call.operands[..] else { return Err(usage()) };
    if call.namespace {
        let why = "-N: cannot mount in another namespace; nsenter(1) can: nsenter -m mica mount";
        return Err(Refusal { code: FAILED, why: why.to_owned() });
    }
    let mut options: Vec<&[u8]> = split(&call.options);
    if options.contains(&&b"remount"[..]) {
        // A second daemon over the same upper directory would be the worst of answers.
        let why = "cannot remount: unmount it and mount it again with the new options";
        return Err(Refusal { code: FAILED, why: why.to_owned() });
    }
    let image = image(spec)?;
    if call.fake {
        return Ok(Action::Nothing);
    }
    options.retain(|option| !for_mount(option));
    for (yes, no) in [(&b"dev"[..], &b"nodev"[..]), (b"suid", b"nosuid")] {
        if privileged && !options.iter().any(|option| *option == yes || *option == no) {
            options.push(yes);
        }
    }
    let mut words = Vec::new();
    if !options.is_empty() {
        words.extend(["-o".into(), OsString::from_vec(options.join(&b","[..]))]);
    }
    // What follows `--` is no flag, whatever it looks like.
    words.extend(["--".into(), image, dir.clone()]);
    Ok(Action::Mount(words))
}

fn usage(why: &str) -> Refusal {
    Refusal { code: USAGE, why: why.to_owned() }
}

/// Takes the arguments apart. Flags may stand together (`-sf`) and anywhere.
fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Call, Refusal> {
    let mut call = Call::default();
    while let Some(arg) = args.next() {
        let Some(flags) = arg.as_bytes().strip_prefix(b"-").filter(|f| !f.is_empty()) else {
            call.operands.push(arg);
            continue;
        };
        for (index, flag) in flags.iter().enumerate() {
            // A flag with a value takes what is left of the word, or the next word.
            let mut value = || {
                let rest = flags.get(index.saturating_add(1)..).unwrap_or_default();
                if rest.is_empty() { args.next() } else { Some(OsStr::from_bytes(rest).to_owned()) }
            };
            match flag {
                b's' | b'n' | b'v' => continue,
                b'f' => {
                    call.fake = true;
                    continue;
                }
                b'o' => {
                    let more = value().ok_or_else(|| usage("-o: the options are missing"))?;
                    if !call.options.is_empty() {
                        call.options.push(b',');
                    }
                    call.options.extend_from_slice(more.as_bytes());
                }
                b't' => drop(value().ok_or_else(|| usage("-t: the type is missing"))?),
                b'N' => {
                    value().ok_or_else(|| usage("-N: the namespace is missing"))?;
                    call.namespace = true;
                }
                other => {
                    let flag = other.escape_ascii();
                    return Err(usage(&format!("-{flag}: no such flag")));
                }
            }
            break;
        }
    }
    Ok(call)
}

/// The options of a list. A comma within double quotes or behind a backslash belongs to its option.
fn split(list: &[u8]) -> Vec<&[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = list.split(|&byte| {
        let ends = byte == b',' && !quoted && !escaped;
        quoted ^= byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    parts.filter(|option| !option.is_empty()).collect()
}

fn for_mount(option: &[u8]) -> bool {
    FOR_MOUNT.contains(&option) || FOR_MOUNT_PREFIXES.iter().any(|p| option.starts_with(p))
}

/// The image that a SPEC names: `image:NAME`, or NAME as it is.
fn image(spec: &OsStr) -> Result<OsString, Refusal> {
    let name = spec.as_bytes().strip_prefix(b"image:").unwrap_or(spec.as_bytes());
    if name.is_empty() {
        return Err(usage("the image has no name"));
    }
    if name.starts_with(b"/") {
        // mount(8) makes a path of a word that is also a file where it was called.
        let shown = spec.display();
        return Err(usage(&format!(
            "{shown} is a path: write image:NAME for an image of that name"
        )));
    }
    Ok(OsStr::from_bytes(name).to_owned())
}

#[cfg(test)]
mod tests;
