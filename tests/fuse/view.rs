//! A mounted view for a test: a lower directory, an upper one, and the view of both.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use mica::fuse::{MountOptions, Session};
use tempfile::TempDir;

use crate::stack;

/// Requests are counted for the whole process, so who counts must be alone.
static TURNS: RwLock<()> = RwLock::new(());

#[derive(Debug)]
#[expect(dead_code, reason = "held, not read")]
enum Turn {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(Alone),
}

/// A view of a lower and an upper directory, unmounted when dropped.
#[derive(Debug)]
pub(crate) struct View {
    _turn: Turn,
    // The mount goes before the directory that it is in.
    session: Option<Session>,
    options: MountOptions,
    dir: TempDir,
}

/// While this is held, there is no [`View`] in this process.
#[derive(Debug)]
pub(crate) struct Alone(
    #[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'static, ()>,
);

impl Alone {
    pub(crate) fn new() -> Self {
        Self(TURNS.write().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl View {
    /// Mounts a view over a lower directory that `build` has filled.
    pub(crate) fn new(build: impl FnOnce(&Path)) -> Self {
        Self::with(options(), build)
    }

    pub(crate) fn with(options: MountOptions, build: impl FnOnce(&Path)) -> Self {
        Self::in_turn(shared(), options, build)
    }

    /// As [`View::new`], while no other view of this process is there.
    pub(crate) fn alone(build: impl FnOnce(&Path)) -> Self {
        Self::in_turn(Turn::Alone(Alone::new()), options(), build)
    }

    fn in_turn(turn: Turn, options: MountOptions, build: impl FnOnce(&Path)) -> Self {
        // Files are made with the permissions that a test asks for.
        mica::sys::daemon::clear_umask();
        let dir = tempfile::tempdir().expect("a temporary directory");
        for name in ["lower", "upper", "work", "view"] {
            std::fs::create_dir(dir.path().join(name)).expect("a directory for the view");
        }
        for path in [dir.path(), &dir.path().join("lower"), &dir.path().join("upper")] {
            set_mode(path, 0o755);
        }
        build(&dir.path().join("lower"));
        let mut view = Self { _turn: turn, session: None, options, dir };
        view.mount();
        view
    }

    fn mount(&mut self) {
        let union = stack::union(self.dir.path());
        self.session = Some(
            mica::fuse::serve(union, &self.root(), &self.options).expect("the view is mounted"),
        );
    }

    /// Unmounts, and mounts a new view of the same directories.
    pub(crate) fn remount(&mut self) {
        let session = self.session.take().expect("mounted");
        session.unmount().expect("nothing is open");
        self.mount();
    }

    /// Hands the session over.
    pub(crate) fn take_session(&mut self) -> Session {
        self.session.take().expect("mounted")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("view")
    }

    /// A path in the view.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root().join(name)
    }
}

fn shared() -> Turn {
    Turn::Shared(TURNS.read().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// All that the caller may allow.
pub(crate) fn options() -> MountOptions {
    let root = is_root();
    MountOptions {
        source: "a-test".into(),
        allow_other: root,
        suid: root,
        dev: root,
        ..MountOptions::default()
    }
}

pub(crate) fn is_root() -> bool {
    mica::sys::process::effective_ids().0 == 0
}

/// Says why a test that needs root cannot run, and whether that is so.
pub(crate) fn cannot_without_root() -> bool {
    let cannot = !is_root();
    if cannot {
        println!("skipped: needs root, to act as several users");
    }
    cannot
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

/// Runs a shell script in `dir`, and gives back what it printed.
pub(crate) fn sh(dir: &Path, script: &str) -> String {
    succeed(Command::new("sh").args(["-euc", script]).current_dir(dir))
}

/// The same as the user `nobody`.
pub(crate) fn sh_as_nobody(dir: &Path, script: &str) -> Output {
    Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .args(["sh", "-euc", script])
        .current_dir(dir)
        .output()
        .expect("setpriv is installed")
}

pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("the command is installed");
    assert!(
        output.status.success(),
        "{command:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a Python script with arguments; it must succeed.
pub(crate) fn python(script: &str, arguments: &[&OsStr]) -> String {
    succeed(Command::new("python3").arg("-c").arg(script).args(arguments))
}

/// The error number of a failure.
pub(crate) fn errno<T>(result: std::io::Result<T>) -> i32 {
    match result {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().expect("an error of the system"),
    }
}
