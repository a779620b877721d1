//! What to run: made, once, from an image's configuration and what the caller wants otherwise.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use super::{Error, IdMaps, Result, Tmpfs, User};
use crate::oci::RunConfig;
use crate::sys::caps::{self, Capability};

/// A process to launch, and the container around it.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The command and its arguments; at least one.
    pub args: Vec<OsString>,
    /// The environment, in order. `HOME` is added from the container's user database.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory, made when it is not there.
    pub cwd: PathBuf,
    /// Who the command runs as.
    pub user: User,
    /// The name of the host within the container.
    pub hostname: String,
    /// Mounts within the container.
    pub mounts: Vec<Mount>,
    /// Whether the root filesystem can only be read.
    pub read_only: bool,
    /// What the container sees of the network.
    pub network: Network,
    /// Whether the command has a terminal of its own.
    pub terminal: bool,
    /// Whether the command reads what is sent to this process; otherwise it reads nothing.
    pub interactive: bool,
    /// The most privileges that the command can have.
    pub capabilities: Vec<Capability>,
    /// Whether set-user-id files give no privileges.
    pub no_new_privileges: bool,
    /// Which system calls may be made.
    pub seccomp: Seccomp,
    /// Which ids of the host stand for those of the container.
    pub ids: IdMaps,
    /// The container's own directory on the host: `rootfs` is mounted there.
    pub dir: PathBuf,
    /// Whether what is in that directory goes when the container ends.
    pub remove: bool,
}

/// A mount within the container, at an absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// A file or directory of the host, with the mounts within it.
    Bind {
        /// Where it is on the host; absolute.
        source: PathBuf,
        /// Where it goes in the container.
        target: PathBuf,
        /// Whether it can only be read.
        read_only: bool,
    },
    /// An empty directory in memory.
    Tmpfs(Tmpfs),
}

/// What the container sees of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// A loopback interface of its own and nothing else.
    #[default]
    None,
    /// All that the host sees.
    Host,
}

/// Which system calls may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Seccomp {
    /// Those of [`crate::sys::seccomp`].
    #[default]
    Standard,
    /// All.
    Unconfined,
}

/// What the caller wants otherwise than the image.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The arguments after the image, in place of `Cmd`.
    pub args: Vec<OsString>,
    /// In place of `Entrypoint`; then `Cmd` does not count either. Empty: none.
    pub entrypoint: Option<Vec<OsString>>,
    /// Variables to set, or, without a value, to remove.
    pub env: Vec<(OsString, Option<OsString>)>,
    /// See [`Spec::cwd`].
    pub cwd: Option<PathBuf>,
    /// `USER[:GROUP]`.
    pub user: Option<String>,
    /// See [`Spec::hostname`].
    pub hostname: Option<String>,
    /// See [`Spec::mounts`].
    pub mounts: Vec<Mount>,
    /// See [`Spec::read_only`].
    pub read_only: bool,
    /// See [`Spec::network`].
    pub network: Network,
    /// See [`Spec::terminal`].
    pub terminal: bool,
    /// See [`Spec::interactive`].
    pub interactive: bool,
    /// Capabilities beyond the usual; those that are named are there in any case.
    pub add_capabilities: Capabilities,
    /// Capabilities to do without.
    pub drop_capabilities: Capabilities,
    /// See [`Spec::no_new_privileges`].
    pub no_new_privileges: bool,
    /// See [`Spec::seccomp`].
    pub seccomp: Seccomp,
    /// See [`Spec::remove`].
    pub remove: bool,
}

/// Capabilities that the caller names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// All there are.
    pub all: bool,
    /// These.
    pub named: Vec<Capability>,
}

/// What container engines let root of a container do.
const CAPABILITIES: [Capability; 14] = [
    Capability::CAP_AUDIT_WRITE,
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_MKNOD,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_NET_RAW,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_SETUID,
    Capability::CAP_SYS_CHROOT,
];

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The longest host name, in bytes (sethostname(2)).
const MAX_HOSTNAME: usize = 64;

/// Puts the configuration of an image and the wishes of the caller together. `id` names the
/// container: its first 12 characters are the host name that is not given otherwise. `dir` is its
/// directory.
///
/// # Errors
/// [`Error::NoCommand`], or [`Error::Invalid`] with the option that is wrong.
pub fn from_config(
    image: &RunConfig,
    wanted: Overrides,
    id: &str,
    ids: IdMaps,
    dir: PathBuf,
) -> Result<Spec> {
    let hostname = match wanted.hostname {
        Some(name) => name,
        None => id.chars().take(12).collect(),
    };
    check_hostname(&hostname)?;
    let env = environment(&image.env, wanted.env, &hostname, wanted.terminal)?;
    let args = arguments(image, wanted.entrypoint, wanted.args)?;
    let cwd = match wanted.cwd {
        Some(cwd) => cwd,
        None => PathBuf::from(&image.working_dir),
    };
    let cwd = if cwd.as_os_str().is_empty() { PathBuf::from("/") } else { cwd };
    if !cwd.is_absolute() {
        return Err(invalid("working directory", cwd.as_os_str(), "it is not absolute"));
    }
    for mount in &wanted.mounts {
        mount.check()?;
    }
    let capabilities = capabilities(wanted.add_capabilities, &wanted.drop_capabilities);
    Ok(Spec {
        args,
        env,
        cwd,
        user: wanted.user.as_deref().unwrap_or(&image.user).parse()?,
        hostname,
        mounts: wanted.mounts,
        read_only: wanted.read_only,
        network: wanted.network,
        terminal: wanted.terminal,
        interactive: wanted.interactive,
        capabilities,
        no_new_privileges: wanted.no_new_privileges,
        seccomp: wanted.seccomp,
        ids,
        dir,
        remove: wanted.remove,
    })
}

/// As docker has it: without ALL or without one of the usual ones, but with what is named to be
/// added (`--cap-drop ALL --cap-add CHOWN`).
fn capabilities(add: Capabilities, without: &Capabilities) -> Vec<Capability> {
    let mut kept = if add.all { caps::all() } else { CAPABILITIES.to_vec() };
    kept.retain(|capability| !without.all && !without.named.contains(capability));
    kept.extend(add.named);
    kept.sort_unstable_by_key(Capability::index);
    kept.dedup();
    kept
}

fn arguments(
    image: &RunConfig,
    entrypoint: Option<Vec<OsString>>,
    args: Vec<OsString>,
) -> Result<Vec<OsString>> {
    let strings = |list: &[String]| -> Vec<OsString> { list.iter().map(OsString::from).collect() };
    let cmd = match &entrypoint {
        _ if !args.is_empty() => args,
        Some(_) => Vec::new(),
        None => strings(&image.cmd),
    };
    let mut all = entrypoint.unwrap_or_else(|| strings(&image.entrypoint));
    all.extend(cmd);
    if all.first().is_none_or(|command| command.is_empty()) {
        return Err(Error::NoCommand);
    }
    if let Some(bad) = all.iter().find(|arg| arg.as_bytes().contains(&0)) {
        return Err(invalid("argument", bad, "it contains a NUL byte"));
    }
    Ok(all)
}

/// Later settings of a variable take the place of earlier ones.
fn environment(
    image: &[String],
    wanted: Vec<(OsString, Option<OsString>)>,
    hostname: &str,
    terminal: bool,
) -> Result<Vec<(OsString, OsString)>> {
    let mut env: Vec<(OsString, OsString)> =
        vec![("PATH".into(), PATH.into()), ("HOSTNAME".into(), hostname.into())];
    if terminal {
        env.push(("TERM".into(), "xterm".into()));
    }
    env.push(("container".into(), "mica".into()));
    let image = image.iter().map(|setting| match setting.split_once('=') {
        Some((name, value)) => (name.into(), Some(value.into())),
        None => (OsString::from(setting), Some(OsString::new())),
    });
    for (name, value) in image.chain(wanted) {
        let value_bytes = value.as_ref().map_or(&b""[..], |value| value.as_bytes());
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            return Err(invalid("environment variable", &name, "this is no name"));
        }
        if name.as_bytes().contains(&0) || value_bytes.contains(&0) {
            return Err(invalid("environment variable", &name, "it contains a NUL byte"));
        }
        let at = env.iter().position(|(known, _)| *known == name);
        match (at, value) {
            (Some(at), Some(value)) => {
                if let Some(setting) = env.get_mut(at) {
                    setting.1 = value;
                }
            }
            (Some(at), None) => drop(env.remove(at)),
            (None, Some(value)) => env.push((name, value)),
            (None, None) => {}
        }
    }
    Ok(env)
}

fn check_hostname(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if name.is_empty() || name.len() > MAX_HOSTNAME || !name.chars().all(allowed) {
        let why = "a host name has 1 to 64 letters, digits, dots, dashes and underscores";
        return Err(invalid("host name", OsStr::new(name), why));
    }
    Ok(())
}

impl Mount {
    /// Where it goes in the container.
    #[must_use]
    pub fn target(&self) -> &Path {
        match self {
            Self::Bind { target, .. } => target,
            Self::Tmpfs(tmpfs) => &tmpfs.target,
        }
    }

    /// Whether it can be mounted there.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a path that is not absolute, contains `..`, or is not to be covered.
    pub fn check(&self) -> Result<()> {
        let refuse = |path: &Path, why| Err(invalid("mount", path.as_os_str(), why));
        if let Self::Bind { source, .. } = self
            && !source.is_absolute()
        {
            return refuse(source, "the path on the host is not absolute");
        }
        let target = self.target();
        if !target.is_absolute() {
            return refuse(target, "the path in the container is not absolute");
        }
        if target.components().any(|part| part == Component::ParentDir) {
            return refuse(target, "the path in the container contains \"..\"");
        }
        let mut parts = target.components().skip(1);
        match parts.next() {
            None => refuse(target, "the root of the container is not to be replaced"),
            Some(first) if first.as_os_str() == "proc" => {
                refuse(target, "nothing is mounted within /proc")
            }
            Some(_) => Ok(()),
        }
    }
}

impl FromStr for Mount {
    type Err = Error;

    /// Reads `SOURCE:TARGET[:ro|rw]`, as the option `-v` has it.
    fn from_str(text: &str) -> Result<Self> {
        let form = || invalid("mount", OsStr::new(text), "it is not SOURCE:TARGET[:ro|rw]");
        let mut parts = text.split(':');
        let (source, target) = (parts.next(), parts.next());
        let read_only = match (parts.next(), parts.next()) {
            (None | Some("rw"), None) => false,
            (Some("ro"), None) => true,
            _ => return Err(form()),
        };
        let (Some(source), Some(target)) = (source, target) else { return Err(form()) };
        let mount = Self::Bind { source: source.into(), target: target.into(), read_only };
        mount.check()?;
        Ok(mount)
    }
}

impl Spec {
    /// The environment as execve(2) takes it, with `HOME` if it is not set.
    pub(super) fn env_block(&self, home: &Path) -> Result<Vec<CString>> {
        let has_home = self.env.iter().any(|(name, _)| name == "HOME");
        let home = (!has_home).then(|| (OsString::from("HOME"), home.as_os_str().to_owned()));
        let setting = |(name, value): &(OsString, OsString)| {
            c_string(&[name.as_bytes(), b"=", value.as_bytes()].concat())
        };
        self.env.iter().chain(&home).map(setting).collect()
    }

    /// The arguments as execve(2) takes them.
    pub(super) fn arg_block(&self) -> Result<Vec<CString>> {
        self.args.iter().map(|arg| c_string(arg.as_bytes())).collect()
    }

    /// The value of a variable of the environment.
    pub(super) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
    }
}

/// Bytes as C has them.
pub(super) fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| {
        let shown = OsString::from_vec(bytes.to_vec());
        invalid("text", &shown, "it contains a NUL byte")
    })
}

fn invalid(option: &'static str, value: &OsStr, why: &str) -> Error {
    let value = value.as_bytes().escape_ascii().to_string();
    Error::Invalid { option, value, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{CAPABILITIES, Capabilities, Capability, capabilities};

    #[test]
    fn what_is_added_by_name_is_there_even_if_all_is_dropped() {
        let set = |all, named: &[Capability]| Capabilities { all, named: named.to_vec() };
        let (none, all) = (set(false, &[]), set(true, &[]));
        let (chown, admin) = (Capability::CAP_CHOWN, Capability::CAP_NET_ADMIN);
        assert_eq!(capabilities(none.clone(), &none).len(), CAPABILITIES.len());
        assert_eq!(capabilities(none.clone(), &all), []);
        assert_eq!(capabilities(set(false, &[chown, chown]), &all), [chown]);
        assert!(!capabilities(none, &set(false, &[chown])).contains(&chown));
        let most = capabilities(all, &set(false, &[chown]));
        assert!(!most.contains(&chown) && most.contains(&admin));
    }
}
