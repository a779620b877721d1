//! Records of containers, in files: what each was made with, and how far it got.
//!
//! ```text
//! <id>/              locked for as long as its supervisor, or whoever makes or removes it, lives
//! <id>/config.json   what it was made with; a directory without one is being made or removed
//! <id>/state.json    how far it got
//! <id>/upper, work   what it changed, for those who mount its root filesystem
//! ```
//!
//! The directory of all containers is itself locked while containers are made, and while those
//! are cleared away whose processes were killed. Both locks go with their process, so nothing that
//! is killed, at whatever moment, needs more than [`Containers::sweep`].

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::error::Doing as _;
use super::{Error, Exit, IdMaps, Result, idmap};
use crate::oci::Digest;
use crate::sys::flock::{self, Share};
use crate::sys::process;
use crate::sys::signal::Signal;

/// The version of both records. Later ones are refused.
const VERSION: u32 = 1;

/// The largest record that is read, in bytes.
const MAX_RECORD: u64 = 1 << 20;

/// How long a killed container may take to end, and how long to wait before looking again.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

/// All containers of a store.
#[derive(Debug)]
pub struct Containers {
    dir: PathBuf,
}

/// What a container is made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The version of the record.
    version: u32,
    /// Its identity: 64 hexadecimal digits.
    pub id: String,
    /// Its name, which no other container has.
    pub name: String,
    /// The digest of the manifest of its image.
    pub image: Digest,
    /// The image as the caller named it.
    pub reference: String,
    /// The command and its arguments, for a person.
    pub command: Vec<String>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// Whether it goes when it ends.
    pub remove: bool,
    /// Who owns the files that it changes.
    pub ids: IdMaps,
}

/// How far a container got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    /// It never ran.
    Created,
    /// It runs, launched by this process.
    Running {
        /// The number of the launching process.
        pid: i32,
        /// Since when, in seconds since 1970.
        since: u64,
    },
    /// It ended.
    Exited {
        /// The exit code as a shell would report it.
        code: u8,
        /// When, in seconds since 1970.
        at: u64,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct StateRecord {
    version: u32,
    #[serde(flatten)]
    state: State,
}

/// A container as its records tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it was made with.
    pub config: Config,
    /// How far it got. One that was killed is [`State::Running`] until it is swept.
    pub state: State,
}

/// A container of this process: nobody else runs or removes it meanwhile.
#[derive(Debug)]
pub struct Container {
    config: Config,
    dir: PathBuf,
    _lock: File,
}

/// The wishes of whoever makes a container.
#[derive(Debug, Clone)]
pub struct New {
    /// Its identity, from [`Containers::new_id`].
    pub id: String,
    /// Its name; without one, the first 12 digits of its identity.
    pub name: Option<String>,
    /// See [`Config::image`].
    pub image: Digest,
    /// See [`Config::reference`].
    pub reference: String,
    /// See [`Config::command`].
    pub command: Vec<String>,
    /// See [`Config::remove`].
    pub remove: bool,
    /// See [`Config::ids`].
    pub ids: IdMaps,
}

impl Containers {
    /// The containers in `dir`, which is made if it is not there.
    pub fn open(dir: PathBuf) -> Result<Self> {
        fs::create_dir_all(&dir).doing(format!("make {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// An identity that no container has.
    ///
    /// # Errors
    /// Those of reading random bytes.
    pub fn new_id(&self) -> Result<String> {
        random_id()
    }

    /// Where the container of this identity is kept.
    #[must_use]
    pub fn dir_of(&self, id: &str) -> PathBuf {
        self.dir.join(id)
    }

    /// Makes a container.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::NameInUse`] for its name.
    pub fn create(&self, new: New) -> Result<Container> {
        let name = new.name.unwrap_or_else(|| new.id.chars().take(12).collect());
        check_name(&name)?;
        let config = Config {
            version: VERSION,
            id: new.id,
            name,
            image: new.image,
            reference: new.reference,
            command: new.command,
            created: now(),
            remove: new.remove,
            ids: new.ids,
        };
        let _alone = self.lock()?;
        if let Some(other) = self.list()?.into_iter().find(|c| c.config.name == config.name) {
            return Err(Error::NameInUse { name: config.name, id: other.config.id });
        }
        let dir = self.dir_of(&config.id);
        fs::create_dir(&dir).doing(format!("make {}", dir.display()))?;
        let lock = try_lock(&dir)?.ok_or_else(|| busy(&config.name))?;
        write_record(&dir, "config.json", &config, !config.remove)?;
        let container = Container { config, dir, _lock: lock };
        container.set(State::Created)?;
        Ok(container)
    }

    /// All containers, oldest first. A record that cannot be used is logged and left out.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let mut all = Vec::new();
        for (_, dir) in self.directories()? {
            match read(&dir) {
                Ok(found) => all.extend(found),
                Err(error) => log::warn!("{error}"),
            }
        }
        all.sort_by_key(|listed| (listed.config.created, listed.config.id.clone()));
        Ok(all)
    }

    /// The container of that name, of that identity, or of the one identity that begins so.
    pub fn find(&self, text: &str) -> Result<Option<Listed>> {
        let all = self.list()?;
        let exact = all.iter().find(|c| c.config.name == text || c.config.id == text);
        if let Some(found) = exact {
            return Ok(Some(found.clone()));
        }
        let mut begin =
            all.into_iter().filter(|c| !text.is_empty() && c.config.id.starts_with(text));
        match (begin.next(), begin.next()) {
            (Some(_), Some(_)) => Err(Error::Invalid {
                option: "container",
                value: text.to_owned(),
                why: "several containers begin so".to_owned(),
            }),
            (found, _) => Ok(found),
        }
    }

    /// Takes a container that nobody runs.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it runs.
    pub fn take(&self, listed: &Listed) -> Result<Container> {
        let dir = self.dir.join(&listed.config.id);
        let lock = try_lock(&dir)?.ok_or_else(|| busy(&listed.config.name))?;
        Ok(Container { config: listed.config.clone(), dir, _lock: lock })
    }

    /// As [`Containers::take`], after killing the container if it runs.
    ///
    /// # Errors
    /// As [`Containers::take`], when it does not end within ten seconds.
    pub fn seize(&self, listed: &Listed) -> Result<Container> {
        let first = self.take(listed);
        let (Err(Error::Invalid { .. }), State::Running { pid, .. }) = (&first, listed.state)
        else {
            return first;
        };
        // Somebody holds the lock, so the launching process lives: its end would be theirs.
        if let Some(launcher) = process::Pid::from_raw(pid) {
            process::kill(launcher, Signal::KILL).doing("kill the container")?;
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.take(listed) {
                Err(Error::Invalid { .. }) if Instant::now() < deadline => thread::sleep(PAUSE),
                taken => return taken,
            }
        }
    }

    /// Clears up after processes that were killed: containers that were to go are removed, as is
    /// what was half made or half removed; others are marked as ended by signal 9. What fails is
    /// logged and left to the next time. This process must have a single thread.
    ///
    /// Returns how many directories were cleared up.
    pub fn sweep(&self) -> Result<usize> {
        let _alone = self.lock()?;
        let mut swept = 0;
        for (name, dir) in self.directories()? {
            match sweep_one(&dir) {
                Ok(true) => swept += 1,
                Ok(false) => {}
                Err(error) => log::warn!("cannot clear up container {name}: {error}"),
            }
        }
        Ok(swept)
    }

    fn lock(&self) -> Result<File> {
        let shown = self.dir.display().to_string();
        let file = File::open(&self.dir).doing(format!("open {shown}"))?;
        flock::lock(&file, Share::Exclusive, &shown).doing("lock the containers")?;
        Ok(file)
    }

    fn directories(&self) -> Result<Vec<(String, PathBuf)>> {
        let doing = || format!("list {}", self.dir.display());
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.dir).doing(doing())? {
            let entry = entry.doing(doing())?;
            if let Ok(name) = entry.file_name().into_string()
                && is_id(&name)
            {
                all.push((name, entry.path()));
            }
        }
        Ok(all)
    }
}

/// Clears one directory up if its processes are gone and there is something to clear.
fn sweep_one(dir: &Path) -> Result<bool> {
    let Some(lock) = try_lock(dir)? else { return Ok(false) };
    let Some(Listed { config, state }) = read(dir)? else {
        // Without a record it is not known whose files they are; only an own beginning is left.
        return remove_tree(dir, &IdMaps::of_caller()?).map(|()| true);
    };
    let container = Container { config, dir: dir.to_owned(), _lock: lock };
    match state {
        _ if container.config.remove => container.remove().map(|()| true),
        State::Running { .. } => {
            container.set(State::Exited { code: 137, at: now() })?;
            Ok(true)
        }
        State::Created | State::Exited { .. } => Ok(false),
    }
}

impl Container {
    /// What it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Records that it runs, launched by this process.
    pub fn started(&self) -> Result<()> {
        let pid = process::own_pid().as_raw_nonzero().get();
        self.set(State::Running { pid, since: now() })
    }

    /// Records that it ended, or removes it if it was to go.
    pub fn ended(self, exit: Exit) -> Result<()> {
        if self.config.remove {
            return self.remove();
        }
        self.set(State::Exited { code: exit.status(), at: now() })
    }

    /// Removes it with all that it changed. This process must have a single thread.
    pub fn remove(self) -> Result<()> {
        // Without this the rest is no container, whatever happens next.
        let record = self.dir.join("config.json");
        match fs::remove_file(&record) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).doing(format!("remove {}", record.display())),
        }
        remove_tree(&self.dir, &self.config.ids)
    }

    fn set(&self, state: State) -> Result<()> {
        let record = StateRecord { version: VERSION, state };
        write_record(&self.dir, "state.json", &record, !self.config.remove)
    }
}

/// Removes a directory, in the ids of the container where it takes that.
fn remove_tree(dir: &Path, ids: &IdMaps) -> Result<()> {
    let denied = match fs::remove_dir_all(dir) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => e,
    };
    if denied.kind() == io::ErrorKind::PermissionDenied && *ids != IdMaps::Host {
        return idmap::in_namespace(ids, || fs::remove_dir_all(dir));
    }
    Err(denied).doing(format!("remove {}", dir.display()))
}

fn read(dir: &Path) -> Result<Option<Listed>> {
    let Some(config) = read_record::<Config>(&dir.join("config.json"))? else { return Ok(None) };
    let state_path = dir.join("state.json");
    let state = match read_record::<StateRecord>(&state_path)? {
        Some(record) => {
            check_version(record.version, &state_path)?;
            record.state
        }
        None => State::Created,
    };
    check_version(config.version, &dir.join("config.json"))?;
    Ok(Some(Listed { config, state }))
}

fn check_version(version: u32, path: &Path) -> Result<()> {
    if version == VERSION {
        return Ok(());
    }
    let why = format!("it has version {version}, and this program knows {VERSION}");
    Err(Error::Record { path: path.display().to_string(), why })
}

fn read_record<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>> {
    let doing = || format!("read {}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).doing(doing()),
    };
    let mut bytes = Vec::new();
    file.take(MAX_RECORD).read_to_end(&mut bytes).doing(doing())?;
    let parsed = serde_json::from_slice(&bytes);
    let damaged = |e: serde_json::Error| Error::Record {
        path: path.display().to_string(),
        why: e.to_string(),
    };
    parsed.map(Some).map_err(damaged)
}

/// Puts a record in the place of the one before, whole. One that need not outlive a power failure
/// is not forced to the disk.
fn write_record(dir: &Path, name: &str, record: &impl Serialize, durable: bool) -> Result<()> {
    let (path, temp) = (dir.join(name), dir.join(format!(".{name}.new")));
    let write = || {
        let bytes = serde_json::to_vec_pretty(record)?;
        let mut file = File::create(&temp)?;
        file.write_all(&bytes)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&temp, &path)?;
        if durable { File::open(dir)?.sync_all() } else { Ok(()) }
    };
    io::Result::doing(write(), format!("write {}", path.display()))
}

/// The lock of a container, unless a living process has it or the container is gone. It is that of
/// the directory itself, so that it lasts to the end while the files within are being removed.
fn try_lock(dir: &Path) -> Result<Option<File>> {
    let doing = || format!("lock {}", dir.display());
    let file = match File::open(dir) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).doing(doing()),
    };
    let held = flock::try_lock(&file, Share::Exclusive, &dir.display().to_string());
    Ok(held.doing(doing())?.then_some(file))
}

fn busy(name: &str) -> Error {
    let why = "it is running, or another process removes it".to_owned();
    Error::Invalid { option: "container", value: name.to_owned(), why }
}

fn random_id() -> Result<String> {
    use std::fmt::Write as _;
    let mut bytes = [0; 32];
    let random = "/dev/urandom";
    File::open(random)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .doing(format!("read {random}"))?;
    let mut id = String::with_capacity(64);
    for byte in bytes {
        write!(id, "{byte:02x}").map_err(io::Error::other).doing("name the container")?;
    }
    Ok(id)
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// As other container engines have it.
fn check_name(name: &str) -> Result<()> {
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let fine = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(rest);
    if fine && (2..=128).contains(&name.len()) {
        return Ok(());
    }
    let why = "a name has 2 to 128 letters, digits, dots, dashes and underscores, and begins \
               with a letter or digit"
        .to_owned();
    Err(Error::Invalid { option: "name", value: name.to_owned(), why })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
