//! Which user and group ids of the host stand for those of the container
//! (user_namespaces(7), subuid(5)).

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};

use super::error::Doing as _;
use super::report::{Line, Report};
use super::{Error, Result};
use crate::sys::namespace;
use crate::sys::process::{self, Fork, Pid};

/// Ids `inside` to `inside + count - 1` of the container are ids `outside` on of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first id in the container.
    pub inside: u32,
    /// The first id of the host.
    pub outside: u32,
    /// How many there are; not 0.
    pub count: u32,
}

/// Which ids of the host stand for those of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdMaps {
    /// Those of the host, as they are. For root only.
    Host,
    /// Ranges that `newuidmap` and `newgidmap` grant.
    Ranges {
        /// Users.
        uids: Vec<Range>,
        /// Groups.
        gids: Vec<Range>,
    },
    /// Only root exists in the container; it is this user and group.
    Single {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
}

/// The most ranges of one user that are used.
const MAX_RANGES: usize = 32;

impl IdMaps {
    /// The widest maps that the caller may have.
    pub fn of_caller() -> Result<Self> {
        let (uid, gid) = process::effective_ids();
        if uid == 0 {
            return Ok(Self::Host);
        }
        let name = process::user_name(uid).doing("find the name of this user")?;
        let ranges = |path, own| {
            let file = match fs::read_to_string(path) {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
                Err(e) => return Err(e).doing(format!("read {path}")),
            };
            Ok(ranges(&file, name.as_deref(), uid, own))
        };
        match (ranges("/etc/subuid", uid)?, ranges("/etc/subgid", gid)?) {
            (Some(uids), Some(gids)) => Ok(Self::Ranges { uids, gids }),
            _ => Ok(Self::Single { uid, gid }),
        }
    }

    /// What a person should know of the limits of these maps.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        match self {
            Self::Host | Self::Ranges { .. } => None,
            Self::Single { .. } => Some(
                "only root exists in the container: this user has no ranges of ids in \
                 /etc/subuid and /etc/subgid, so all files belong to root and cannot be given to \
                 others, and programs cannot become other users",
            ),
        }
    }

    /// Gives the process `pid`, which is in a new user namespace, its ids.
    pub(super) fn write(&self, pid: Pid) -> Result<()> {
        match self {
            Self::Host => Ok(()),
            Self::Ranges { uids, gids } => {
                // Both at once: most of their time is that of starting a program.
                let granting = grant("newuidmap", pid, uids)?;
                granted("newgidmap", grant("newgidmap", pid, gids)?)?;
                granted("newuidmap", granting)
            }
            Self::Single { uid, gid } => {
                let write = |file: &str, content: String| {
                    let path = format!("/proc/{pid}/{file}");
                    fs::write(&path, content).doing(format!("write {path}"))
                };
                write("setgroups", "deny".to_owned())?;
                write("uid_map", format!("0 {uid} 1"))?;
                write("gid_map", format!("0 {gid} 1"))
            }
        }
    }

    /// Moves this process into a new user namespace and waits until the other end of `line` has
    /// given it ids. Then it is root there.
    pub(super) fn enter(&self, line: &Line) -> Result<()> {
        let groups: Option<&[u32]> = match self {
            Self::Host => return Ok(()),
            Self::Ranges { .. } => Some(&[]),
            Self::Single { .. } => None,
        };
        namespace::leave_user().doing(
            "make a user namespace (does the kernel allow it to users? see \
             /proc/sys/user/max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns)",
        )?;
        line.send(&Report::WithoutIds, None)?;
        match line.receive()? {
            Some((Report::Mapped, _)) => {}
            _ => return Err(Error::Ids("the launching process ended".to_owned())),
        }
        process::set_ids(0, 0, groups).doing("become root of the container")
    }
}

/// Runs `work` in a new process that has the ids `maps` gives, as root of them: what a container
/// wrote with other ids than the caller's can be read, changed and removed there. The caller must
/// have a single thread.
pub fn in_namespace(maps: &IdMaps, work: impl FnOnce() -> io::Result<()>) -> Result<()> {
    let (ours, theirs) = Line::pair()?;
    match process::fork().doing("start a helper process")? {
        Fork::Child => {
            drop(ours);
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                process::die_with_parent().doing("tie the helper to its parent")?;
                maps.enter(&theirs)?;
                work().doing("do the work of the helper")
            }));
            let failed = match done {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error),
                Err(_) => Some(Error::Lost { part: "helper process", how: "panic".to_owned() }),
            };
            let told = failed.map_or(Ok(()), |e| theirs.send(&Report::Failed(e.into()), None));
            process::exit_now(u8::from(told.is_err()));
        }
        Fork::Parent(pid) => {
            drop(theirs);
            let outcome = attend(maps, pid, &ours);
            drop(ours);
            let ended = process::wait(pid).doing("wait for the helper process")?;
            outcome?;
            match ended {
                process::Ended::Exited(0) => Ok(()),
                other => {
                    let how = format!("{other:?}");
                    Err(Error::Lost { part: "helper process", how })
                }
            }
        }
    }
}

fn attend(maps: &IdMaps, pid: Pid, line: &Line) -> Result<()> {
    while let Some((report, _)) = line.receive()? {
        match report {
            Report::WithoutIds => {
                maps.write(pid)?;
                line.send(&Report::Mapped, None)?;
            }
            Report::Failed(failure) => return Err(failure.into()),
            other => log::warn!("unexpected report of a helper process: {other:?}"),
        }
    }
    Ok(())
}

/// The ranges that a file in the form of subuid(5) grants a user, after the user's own id as 0.
fn ranges(file: &str, name: Option<&str>, uid: u32, own: u32) -> Option<Vec<Range>> {
    let uid = uid.to_string();
    let granted = file.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let outside: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        let ours = owner == uid || Some(owner) == name;
        (ours && count > 0 && outside.checked_add(count).is_some()).then_some((outside, count))
    });
    let mut ranges = vec![Range { inside: 0, outside: own, count: 1 }];
    let mut inside: u32 = 1;
    for (outside, count) in granted.take(MAX_RANGES) {
        let Some(next) = inside.checked_add(count) else { break };
        ranges.push(Range { inside, outside, count });
        inside = next;
    }
    (ranges.len() > 1).then_some(ranges)
}

/// Starts one of the two helpers of shadow-utils, which may write maps of several ids.
fn grant(program: &str, pid: Pid, ranges: &[Range]) -> Result<Child> {
    let mut command = Command::new(program);
    command.arg(pid.to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    for Range { inside, outside, count } in ranges {
        command.args([inside.to_string(), outside.to_string(), count.to_string()]);
    }
    command.spawn().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            Error::Ids(format!("{program} was not found (it is in the package uidmap)"))
        }
        _ => Error::Ids(format!("cannot execute {program}: {e}")),
    })
}

fn granted(program: &str, child: Child) -> Result<()> {
    let output = child.wait_with_output().doing(format!("wait for {program}"))?;
    if output.status.success() {
        return Ok(());
    }
    let mut why = format!("{program} failed ({})", output.status);
    let said = output.stderr.get(..1000).unwrap_or(&output.stderr);
    write!(why, ": {}", said.trim_ascii().escape_ascii())
        .map_err(|_| Error::Ids(format!("{program} failed")))?;
    Err(Error::Ids(why))
}

#[cfg(test)]
mod tests {
    use super::{Range, ranges};

    #[test]
    fn ranges_follow_the_users_own_id_without_gaps() {
        let file = "other:1:5\nme:100000:65536\n# me:1:1\n1001:300000:10\nme:x:y\n";
        let all = ranges(file, Some("me"), 1001, 1001).unwrap();
        let expected = [(0, 1001, 1), (1, 100_000, 65_536), (65_537, 300_000, 10)];
        let expected = expected.map(|(inside, outside, count)| Range { inside, outside, count });
        assert_eq!(all, expected);
    }

    #[test]
    fn a_user_without_a_range_has_no_ranges() {
        assert_eq!(ranges("other:1:5\nme:7:0\nme:4294967295:2\n", Some("me"), 1001, 1001), None);
        assert_eq!(ranges("", None, 1001, 1001), None);
    }
}
