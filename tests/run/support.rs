//! A small root filesystem made of the machine's own programs, and containers over it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A store and a root filesystem of one test. The programs are the machine's, bound read-only.
pub(crate) struct Bench {
    dir: TempDir,
}

/// What a container said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    daemon:x:1:1:daemon:/usr/sbin:/bin/sh\n\
    www-data:x:33:33:www-data:/var/www:/bin/sh\n";
const GROUP: &str = "root:x:0:\ndaemon:x:1:\ntty:x:5:\nwww-data:x:33:\naudio:x:29:www-data\n";

impl Bench {
    pub(crate) fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        fs::set_permissions(bench.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = bench.rootfs();
        for dir in ["etc", "usr", "root", "tmp", "var/www", "proc", "sys", "dev"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        for link in ["bin", "sbin", "lib", "lib64"] {
            if Path::new("/").join(link).exists() {
                symlink(format!("usr/{link}"), root.join(link)).unwrap();
            }
        }
        fs::write(root.join("etc/passwd"), PASSWD).unwrap();
        fs::write(root.join("etc/group"), GROUP).unwrap();
        bench
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir.path().join("rootfs")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("containers")
    }

    /// `vehicle run` with these options and this command.
    pub(crate) fn command(&self, options: &[&str], command: &[&str]) -> Command {
        let mut all = vehicle("run", &self.store());
        all.args(["--bind", "/usr:/usr:ro"]).args(options).arg(self.rootfs()).args(command);
        all
    }

    /// Runs a command.
    pub(crate) fn run(&self, options: &[&str], command: &[&str]) -> Said {
        said(self.command(options, command).output().unwrap())
    }

    /// Runs a line of shell, which must succeed, and returns what it wrote.
    pub(crate) fn sh(&self, options: &[&str], script: &str) -> String {
        let said = self.run(options, &["sh", "-c", script]);
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    }

    /// Clears up; returns how many directories that took.
    pub(crate) fn sweep(&self) -> i32 {
        let said = said(vehicle("sweep", &self.store()).output().unwrap());
        assert_eq!(said.err, "");
        said.code
    }

    /// The directories of containers.
    pub(crate) fn containers(&self) -> Vec<PathBuf> {
        fs::read_dir(self.store()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Files of other ids are removed as the runner does it.
        for dir in fs::read_dir(self.store()).into_iter().flatten().flatten() {
            if let Err(error) = fs::remove_dir_all(dir.path()) {
                eprintln!("{}: {error}", dir.path().display());
            }
        }
    }
}

pub(crate) fn vehicle(verb: &str, store: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["vehicle", verb]).arg(store).stdin(Stdio::null());
    command
}

pub(crate) fn said(output: Output) -> Said {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

pub(crate) fn am_root() -> bool {
    mica::sys::process::effective_ids().0 == 0
}

/// Waits until `what` holds, and fails when it does not for ten seconds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within ten seconds");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process, told from a later one of the same number by when it started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    started: String,
}

impl Process {
    pub(crate) fn alive(&self) -> bool {
        // A process whose first thread has ended lives for as long as others have not.
        let threads =
            || fs::read_dir(format!("/proc/{}/task", self.pid)).map_or(0, Iterator::count);
        stat(self.pid).is_some_and(|(_, state, started)| {
            started == self.started && (state != "Z" || threads() > 1)
        })
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.pid.to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub(crate) fn children(&self) -> Vec<Self> {
        let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            entry.unwrap().file_name().to_str().and_then(|name| name.parse::<i32>().ok())
        });
        pids.filter_map(|pid| stat(pid).map(|stat| (pid, stat)))
            .filter(|(_, (parent, _, _))| *parent == self.pid)
            .map(|(pid, (_, _, started))| Self { pid, started })
            .collect()
    }

    pub(crate) fn of(pid: u32) -> Self {
        let pid = i32::try_from(pid).unwrap();
        Self { pid, started: stat(pid).unwrap().2 }
    }
}

/// Parent, state and start of a process (proc(5)).
fn stat(pid: i32) -> Option<(i32, String, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    Some((fields[1].parse().ok()?, fields[0].to_owned(), fields[19].to_owned()))
}
