//! Processes: making them, waiting for them, and what ties their lives together.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr;
use std::time::{Duration, Instant};

use rustix::process::{PidfdFlags, WaitOptions};

pub use rustix::process::Pid;

use super::signal::Signal;
use super::{Error, Result};

/// The number of "invalid argument": of ids that are not mapped, among others.
pub const EINVAL: i32 = libc::EINVAL;

/// The number of "broken pipe": nobody reads what is written.
pub const EPIPE: i32 = libc::EPIPE;

/// Which side of a [`fork`] this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The caller; the new process has this number.
    Parent(Pid),
    /// The new process.
    Child,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this code.
    Exited(i32),
    /// A signal killed it.
    Signaled(i32),
}

/// Waits until this is the only thread of the process, for at most `patience`: a thread that was
/// joined may still be on its way out.
///
/// # Errors
/// `EBUSY` when there are still others.
pub fn be_single_threaded(patience: Duration) -> Result<()> {
    let end = Instant::now() + patience;
    loop {
        // SAFETY: the flag changes nothing; it asks whether the thread group has other members.
        let alone = unsafe { libc::unshare(libc::CLONE_THREAD) } == 0;
        if alone {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(Error::new("fork", "while other threads run", libc::EBUSY));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Makes a copy of this process.
///
/// # Errors
/// `EBUSY` when there are other threads: what they hold locked would stay locked for ever in the
/// copy. Else as fork(2).
pub fn fork() -> Result<Fork> {
    be_single_threaded(Duration::ZERO)?;
    // SAFETY: no other thread exists, so no lock and no half-done change is copied.
    let pid = unsafe { libc::fork() };
    forked("fork", i64::from(pid))
}

/// Makes a copy of this process in new namespaces, given as `CLONE_NEW*` bits.
pub(super) fn clone(namespaces: i32) -> Result<Fork> {
    be_single_threaded(Duration::ZERO)?;
    let flags = libc::c_long::from(namespaces | libc::SIGCHLD);
    // SAFETY: no stack and no thread areas are given, so this is a fork; no other thread exists.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    forked("clone", pid)
}

fn forked(call: &'static str, pid: i64) -> Result<Fork> {
    if pid == 0 {
        return Ok(Fork::Child);
    }
    let number = i32::try_from(pid).ok().filter(|&pid| pid > 0).and_then(Pid::from_raw);
    number.map(Fork::Parent).ok_or_else(|| last_error(call, ""))
}

/// The number of this process.
#[must_use]
pub fn own_pid() -> Pid {
    rustix::process::getpid()
}

/// The number of the parent, unless it is in another pid namespace.
#[must_use]
pub fn parent_pid() -> Option<Pid> {
    rustix::process::getppid()
}

/// The effective user and group, as numbers of this process's user namespace.
#[must_use]
pub fn effective_ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Ends the process at once: nothing is dropped, flushed or called.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: ends the process and touches no memory of it.
    unsafe { libc::_exit(i32::from(code)) }
}

/// Has this process killed when the thread that made it ends. A change of credentials undoes it.
pub fn die_with_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|e| Error::new("prctl", "PR_SET_PDEATHSIG", e.raw_os_error()))
}

/// Hides this process from others of its user: its memory, descriptors, root and program file
/// cannot be reached through `/proc` nor traced, but with `CAP_SYS_PTRACE` over it.
pub fn hide() -> Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|e| Error::new("prctl", "PR_SET_DUMPABLE, 0", e.raw_os_error()))
}

/// Overwrites the arguments that others see this process to have been started with: by `name`,
/// as far as there is room. For a process that was forked and never reads them again.
pub fn rename(name: &str) -> Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")
        .map_err(|e| Error::from_io("read", "/proc/self/stat", &e))?;
    let (start, end) =
        argument_range(&stat).ok_or_else(|| Error::new("read", "/proc/self/stat", libc::EINVAL))?;
    let len = end.saturating_sub(start);
    let at = ptr::with_exposed_provenance_mut::<u8>(start);
    // SAFETY: the kernel says that the arguments lie there; they stay mapped and writable for as
    // long as the process lives, there is one thread, and zeros are still strings that end.
    unsafe { at.write_bytes(0, len) };
    // The last zero stays.
    let name = name.as_bytes().get(..len.saturating_sub(1)).unwrap_or(name.as_bytes());
    // SAFETY: as above; the name is no longer than the room.
    unsafe { at.copy_from_nonoverlapping(name.as_ptr(), name.len().min(len)) };
    Ok(())
}

/// Where the arguments begin and end (`arg_start` and `arg_end` of proc_pid_stat(5)).
fn argument_range(stat: &str) -> Option<(usize, usize)> {
    // The second field may contain anything; the third comes after its last parenthesis.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(48 - 3);
    let (start, end) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    (0 < start && start < end).then_some((start, end))
}

/// Makes this process the leader of a new session without a terminal.
pub fn new_session() -> Result<()> {
    match rustix::process::setsid() {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::new("setsid", "", e.raw_os_error())),
    }
}

/// Waits for a child to end.
pub fn wait(pid: Pid) -> Result<Ended> {
    loop {
        match rustix::process::waitpid(Some(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => match ended(status) {
                Some(ended) => return Ok(ended),
                None => continue,
            },
            Ok(None) | Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(Error::new("waitpid", pid.to_string(), e.raw_os_error())),
        }
    }
}

/// Takes the end of any child that has ended; `None` when none has, or there is no child.
pub fn reap() -> Result<Option<(Pid, Ended)>> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                if let Some(ended) = ended(status) {
                    return Ok(Some((pid, ended)));
                }
            }
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(None),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Error::new("waitpid", "-1", e.raw_os_error())),
        }
    }
}

fn ended(status: rustix::process::WaitStatus) -> Option<Ended> {
    let exited = status.exit_status().map(Ended::Exited);
    exited.or_else(|| status.terminating_signal().map(Ended::Signaled))
}

/// A handle on a child that stays valid, and meaningless to others, after its number is reused.
pub fn pidfd(pid: Pid) -> Result<OwnedFd> {
    rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .map_err(|e| Error::new("pidfd_open", pid.to_string(), e.raw_os_error()))
}

/// Sends a signal to a process that has not been waited for.
pub fn kill(pid: Pid, signal: Signal) -> Result<()> {
    // SAFETY: sends a signal; touches no memory.
    match unsafe { libc::kill(pid.as_raw_nonzero().get(), signal.number()) } {
        0 => Ok(()),
        _ => Err(last_error("kill", format!("{pid}, {}", signal.number()))),
    }
}

/// Sends a signal to the process behind a [`pidfd`].
pub fn kill_pidfd(pidfd: BorrowedFd<'_>, signal: Signal) -> Result<()> {
    let (fd, info) = (pidfd.as_raw_fd(), ptr::null::<libc::siginfo_t>());
    // SAFETY: a null siginfo is allowed: the kernel fills in that of kill(2).
    let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal.number(), info, 0) };
    match done {
        0 => Ok(()),
        _ => Err(last_error("pidfd_send_signal", signal.number().to_string())),
    }
}

/// Takes on a user, a group and supplementary groups; `None` leaves those groups as they are.
/// Privileges that depend on the user go with it.
pub fn set_ids(uid: u32, gid: u32, groups: Option<&[u32]>) -> Result<()> {
    use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
    if let Some(groups) = groups {
        let ids: Vec<_> = groups.iter().map(|&id| rustix::process::Gid::from_raw(id)).collect();
        set_thread_groups(&ids)
            .map_err(|e| Error::new("setgroups", format!("{groups:?}"), e.raw_os_error()))?;
    }
    set_thread_gid(rustix::process::Gid::from_raw(gid))
        .map_err(|e| Error::new("setgid", gid.to_string(), e.raw_os_error()))?;
    set_thread_uid(rustix::process::Uid::from_raw(uid))
        .map_err(|e| Error::new("setuid", uid.to_string(), e.raw_os_error()))
}

/// Sets the file mode creation mask.
pub fn set_umask(mask: u32) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
}

/// Makes `dir` the working directory.
pub fn enter_dir(dir: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(dir).map_err(|e| Error::new("fchdir", "", e.raw_os_error()))
}

/// Keeps this process and what it executes from gaining privileges by set-user-id files.
pub fn no_new_privileges() -> Result<()> {
    rustix::thread::set_no_new_privs(true)
        .map_err(|e| Error::new("prctl", "PR_SET_NO_NEW_PRIVS", e.raw_os_error()))
}

/// Puts open files in the place of standard input, output and error.
pub fn set_stdio(stdin: Option<BorrowedFd<'_>>, output: Option<BorrowedFd<'_>>) -> Result<()> {
    let replace = |from: BorrowedFd<'_>, number| {
        // SAFETY: the standard streams belong to the whole process; nobody owns their numbers.
        match unsafe { libc::dup2(from.as_raw_fd(), number) } {
            -1 => Err(last_error("dup2", format!("{}, {number}", from.as_raw_fd()))),
            _ => Ok(()),
        }
    };
    if let Some(stdin) = stdin {
        replace(stdin, libc::STDIN_FILENO)?;
    }
    if let Some(output) = output {
        replace(output, libc::STDOUT_FILENO)?;
        replace(output, libc::STDERR_FILENO)?;
    }
    Ok(())
}

/// Has every descriptor from 3 up closed when this process executes a program.
pub fn close_rest_on_exec() -> Result<()> {
    close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor from 3 up but those given, at once. For a process that has just been
/// forked and uses nothing else of what it inherited, ever: it must not return to its caller.
pub fn close_rest(keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut numbers: Vec<u32> =
        keep.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).collect();
    numbers.sort_unstable();
    let mut first = 3;
    for number in numbers {
        if number > first {
            close_range(first, number - 1, 0)?;
        }
        first = first.max(number.saturating_add(1));
    }
    close_range(first, u32::MAX, 0)
}

/// Does `work` in a thread that has no descriptor of this process but the standard streams.
///
/// So a process must do whatever may ask the filesystem that it serves itself. The kernel ends the
/// question of a process that is killed when the connection of that filesystem is closed; a
/// process that asks with the connection among its own descriptors holds it open for as long as
/// the question lasts: then neither ever ends.
///
/// # Errors
/// Those of making the thread and of close_range(2).
pub fn without_files<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    let alone = || {
        close_range(3, u32::MAX, libc::CLOSE_RANGE_UNSHARE)?;
        Ok(work())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("own-mount".to_owned())
            .spawn_scoped(scope, alone)
            .map_err(|e| Error::from_io("clone", "a thread", &e))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn close_range(first: u32, last: u32, flags: u32) -> Result<()> {
    // SAFETY: closes descriptors by number; the callers promise that no owner uses them again.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } {
        0 => Ok(()),
        _ => Err(last_error("close_range", format!("{first}, {last}"))),
    }
}

/// Replaces this program by the one at `path`. Returns only when that fails.
#[must_use]
pub fn execute(path: &CStr, args: &[CString], env: &[CString]) -> Error {
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
    };
    let (argv, envp) = (pointers(args), pointers(env));
    // SAFETY: all three are NUL-terminated, live until the call returns, and are only read.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    last_error("execve", path.to_string_lossy())
}

/// The name of a user as the system's databases know it; `None` when they do not.
pub fn user_name(uid: u32) -> Result<Option<String>> {
    let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
    let mut buffer = vec![0; 1 << 16];
    let mut found = ptr::null_mut();
    // SAFETY: all pointers are valid for writing, and the length is that of the buffer.
    let errno = unsafe {
        libc::getpwuid_r(uid, entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found)
    };
    if found.is_null() {
        return match errno {
            0 | libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM => Ok(None),
            _ => Err(Error::new("getpwuid_r", uid.to_string(), errno)),
        };
    }
    // SAFETY: `found` is not null, so the entry was filled in.
    let entry = unsafe { entry.assume_init() };
    // SAFETY: the name is a NUL-terminated string within `buffer`, which is still alive.
    let name = unsafe { CStr::from_ptr(entry.pw_name) };
    Ok(name.to_str().ok().map(str::to_owned))
}

fn last_error(call: &'static str, args: impl Into<String>) -> Error {
    Error::from_io(call, args, &std::io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::{argument_range, without_files};

    #[test]
    fn a_thread_without_files_has_the_standard_streams_alone_and_takes_them_from_nobody() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let path = format!("/proc/thread-self/fd/{}", file.as_raw_fd());
        let there = || std::fs::symlink_metadata(&path).is_ok();
        assert!(there());
        assert!(!without_files(there).unwrap());
        assert!(there());
        file.metadata().unwrap();
    }

    #[test]
    fn arguments_are_found_behind_a_name_of_any_kind() {
        let fields: Vec<String> = (3..=52).map(|field| (field * 1000).to_string()).collect();
        let stat = format!("1 (a) b) {}\n", fields.join(" "));
        assert_eq!(argument_range(&stat), Some((48_000, 49_000)));
        assert_eq!(argument_range("1 (a) S 1"), None);
        assert_eq!(argument_range(""), None);
    }
}
