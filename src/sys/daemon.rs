//! Going into the background.
//!
//! The parent returns to its caller when the child says that it is ready, or with what the child
//! has to say about why it is not. The child lives on in a session of its own and holds nothing
//! of the caller: whoever waits for the end of the caller's output is not kept waiting.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::time::Duration;

use rustix::io::FdFlags;
use rustix::pipe::PipeFlags;
use rustix::process::Pid;

use super::process::{self, Ended, Fork};
use super::{Error, Result};

/// The longest message of a child that fails, in bytes.
const MESSAGE_MAX: u64 = 64 * 1024;

/// The first byte of what a child says: that it is ready, or that the reason follows why not.
const READY: u8 = b'+';
const FAILED: u8 = b'-';

/// How long to wait for threads that are on their way out, such as those of a pull.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which of the two processes this is, after [`fork`].
#[derive(Debug)]
pub enum Forked {
    /// The one that was there before.
    Parent(Starting),
    /// The new one.
    Child(Report),
}

/// A child that is not ready yet, seen from its parent.
#[derive(Debug)]
pub struct Starting {
    pipe: File,
    child: Pid,
}

/// How the start of a child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is ready and goes on by itself.
    Ready,
    /// It gave up, and why, in its own words.
    Failed(Vec<u8>),
    /// It died without a word; what waitpid(2) says of it, for a person to read.
    Died(String),
}

/// The child's way to say how its start went. Dropped without a word: [`Outcome::Died`].
#[derive(Debug)]
pub struct Report {
    pipe: File,
    /// Whether the child could leave its parent behind; told by [`Report::ready`], since an error
    /// of [`fork`] in the child would look like one in the parent.
    detached: Result<()>,
}

/// Makes a child process for the background: it leads a session of its own, its umask is 0, and
/// it has closed what it inherited from before this program began. Standard input, output and
/// error and the working directory stay until [`Report::ready`].
///
/// # Errors
/// Those of pipe2(2) and fork(2). `EBUSY` when there is more than one thread: only the calling
/// one would exist in the child, and locks of the others would stay locked.
pub fn fork() -> Result<Forked> {
    process::be_single_threaded(PATIENCE)?;
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|errno| Error::new("pipe2", "O_CLOEXEC", errno.raw_os_error()))?;
    match process::fork()? {
        Fork::Parent(child) => Ok(Forked::Parent(Starting { pipe: File::from(read), child })),
        Fork::Child => {
            drop(read);
            Ok(Forked::Child(Report { pipe: File::from(write), detached: detach() }))
        }
    }
}

fn detach() -> Result<()> {
    rustix::process::setsid().map_err(|errno| Error::new("setsid", "", errno.raw_os_error()))?;
    clear_umask();
    close_inherited()
}

/// From now on files are made with exactly the permissions that are asked for.
pub fn clear_umask() {
    rustix::process::umask(rustix::fs::Mode::empty());
}

impl Starting {
    /// Waits until the child is ready, gives up or dies.
    ///
    /// # Errors
    /// Those of read(2) and waitpid(2).
    pub fn wait(self) -> Result<Outcome> {
        let failed = |e| Error::from_io("read", "the pipe from the child", &e);
        let mut said = self.pipe.try_clone().map_err(failed)?.take(MESSAGE_MAX);
        let mut verdict = Vec::new();
        said.by_ref().take(1).read_to_end(&mut verdict).map_err(failed)?;
        match verdict.first() {
            Some(&READY) => Ok(Outcome::Ready),
            Some(_) => {
                let mut why = Vec::new();
                said.read_to_end(&mut why).map_err(failed)?;
                self.reap()?;
                Ok(Outcome::Failed(why))
            }
            None => Ok(Outcome::Died(self.reap()?)),
        }
    }

    fn reap(&self) -> Result<String> {
        Ok(match process::wait(self.child)? {
            Ended::Exited(code) => format!("exit status {code}"),
            Ended::Signaled(signal) => format!("killed by signal {signal}"),
        })
    }
}

impl Report {
    /// Lets go of standard input, output and error and of the working directory, then tells the
    /// parent that all is well.
    ///
    /// # Errors
    /// Those of setsid(2), open(2), dup2(2), chdir(2) and write(2); the parent is then told
    /// nothing yet.
    pub fn ready(&mut self) -> Result<()> {
        std::mem::replace(&mut self.detached, Ok(()))?;
        let null = File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(|e| Error::from_io("open", "\"/dev/null\"", &e))?;
        rustix::process::chdir("/")
            .map_err(|errno| Error::new("chdir", "\"/\"", errno.raw_os_error()))?;
        process::set_stdio(Some(null.as_fd()), Some(null.as_fd()))?;
        self.say(&[READY])
    }

    /// Tells the parent why there will be nothing: at most 64 KiB of it.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn failed(&mut self, why: &[u8]) -> Result<()> {
        let message: Vec<u8> = std::iter::once(FAILED).chain(why.iter().copied()).collect();
        self.say(&message)
    }

    fn say(&mut self, message: &[u8]) -> Result<()> {
        self.pipe
            .write_all(message)
            .map_err(|e| Error::from_io("write", "the pipe to the parent", &e))
    }
}

/// Closes what this program did not open itself: everything above standard error that is not
/// marked close-on-exec, since nothing here opens files without that mark.
fn close_inherited() -> Result<()> {
    for fd in open_fds()? {
        // SAFETY: the number was listed as open a moment ago, and the borrow ends in this loop.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        // An error means that it is closed by now: the listing itself was among what it listed.
        let inherited =
            rustix::io::fcntl_getfd(borrowed).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC));
        if inherited && fd > 2 {
            // SAFETY: nothing in this program owns it, as it has no close-on-exec mark.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
    Ok(())
}

fn open_fds() -> Result<Vec<i32>> {
    let failed = |e: std::io::Error| Error::from_io("readdir", "\"/proc/self/fd\"", &e);
    let mut fds = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        fds.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(fds)
}
