//! The last steps of the process that becomes the command.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::error::Doing as _;
use super::init::Prepared;
use super::spec::c_string;
use super::user::Identity;
use super::{Error, IdMaps, Result, Spec};
use crate::sys::{caps, process, pty, signal};

/// What to execute, as whom.
#[derive(Debug)]
pub(super) struct Plan {
    uid: u32,
    gid: u32,
    /// `None` where the kernel does not allow a change.
    groups: Option<Vec<u32>>,
    name: OsString,
    /// Where the command may be, in the order to try.
    candidates: Vec<CString>,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Plan {
    pub(super) fn new(spec: &Spec, identity: &Identity) -> Result<Self> {
        let groups = match spec.ids {
            IdMaps::Host | IdMaps::Ranges { .. } => Some(identity.groups.clone()),
            IdMaps::Single { .. } => None,
        };
        let home = identity.home.as_deref().unwrap_or(Path::new("/"));
        let name = spec.args.first().ok_or(Error::NoCommand)?;
        Ok(Self {
            uid: identity.uid,
            gid: identity.gid,
            groups,
            name: name.clone(),
            candidates: candidates(name, spec.variable("PATH"))?,
            args: spec.arg_block()?,
            env: spec.env_block(home)?,
        })
    }
}

fn candidates(name: &OsStr, path: Option<&OsStr>) -> Result<Vec<CString>> {
    if name.as_bytes().contains(&b'/') {
        return Ok(vec![c_string(name.as_bytes())?]);
    }
    let dirs = path.map_or(&b""[..], OsStr::as_bytes).split(|&b| b == b':');
    dirs.filter(|dir| !dir.is_empty())
        .map(|dir| c_string(&[dir, b"/", name.as_bytes()].concat()))
        .collect()
}

/// Takes on the command's terminal, directory, filters, ids and privileges, and becomes it.
pub(super) fn execute(prepared: &Prepared<'_>) -> Result<Infallible> {
    let Prepared { spec, plan, .. } = prepared;
    process::new_session().doing("make a session")?;
    if let Some(pty) = &prepared.terminal {
        let terminal = pty.terminal.as_fd();
        pty::take_control(terminal).doing("take the terminal")?;
        process::set_stdio(Some(terminal), Some(terminal)).doing("use the terminal")?;
    } else if !spec.interactive {
        process::set_stdio(Some(prepared.null.as_fd()), None).doing("read nothing")?;
    }
    process::enter_dir(prepared.cwd.as_fd()).doing("enter the working directory")?;
    process::set_umask(0o022);
    caps::bound(&spec.capabilities).doing("bound the privileges")?;
    if spec.no_new_privileges {
        process::no_new_privileges().doing("rule out new privileges")?;
    }
    if let Some(profile) = &prepared.profile {
        // Before the ids: to install a filter takes a privilege that goes with them.
        profile.install().doing("install the system call filter")?;
    }
    take_ids(spec, plan)?;
    signal::reset().doing("reset signals")?;
    process::close_rest_on_exec().doing("close inherited files")?;
    Err(replace(plan))
}

fn take_ids(spec: &Spec, plan: &Plan) -> Result<()> {
    process::set_ids(plan.uid, plan.gid, plan.groups.as_deref()).map_err(|source| {
        let who = format!("become user {} and group {}", plan.uid, plan.gid);
        let doing = match (&spec.ids, source.errno()) {
            (IdMaps::Single { .. }, _) => format!("{who} (only root exists in the container)"),
            (_, process::EINVAL) => format!("{who} (not among the mapped ids)"),
            _ => who,
        };
        Error::Sys { doing, source }
    })?;
    let keep: &[_] = if plan.uid == 0 { &spec.capabilities } else { &[] };
    caps::limit(keep).doing("limit the privileges")
}

/// Tries the candidates. What is found but cannot be executed counts more than what is not found.
fn replace(plan: &Plan) -> Error {
    let command = plan.name.as_bytes().escape_ascii().to_string();
    let mut denied = None;
    for candidate in &plan.candidates {
        let error = process::execute(candidate, &plan.args, &plan.env);
        let why = io::Error::from_raw_os_error(error.errno());
        match why.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {}
            _ => denied = denied.or(Some(why)),
        }
    }
    match denied {
        Some(why) => Error::CannotInvoke { command, why: why.to_string() },
        None if plan.candidates.len() == 1 => {
            Error::NotFound { command, why: "no such file, or its interpreter is missing".into() }
        }
        None => Error::NotFound { command, why: "it is in no directory of PATH".into() },
    }
}
