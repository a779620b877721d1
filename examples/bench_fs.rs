//! Times warm walks and warm reads of several trees in turn, for `scripts/bench`.
//!
//! `bench_fs ROUNDS DIR...`: each DIR is walked without leaving its filesystem, with lstat(2) of
//! every entry, as `find -xdev` does with `-printf %s`; then up to 5,000 regular files of 1 byte to
//! 16 KiB are opened, read and closed. The files are those of the first DIR, by their paths, so
//! that every tree reads the same. One round warms up and is not counted; after it the trees take
//! turns, so that what disturbs the machine disturbs all of them.
//!
//! Prints a JSON array, an object for each DIR: its path, the entries walked, the files and bytes
//! read, and the nanoseconds of each round.
#![allow(clippy::print_stdout, reason = "this is a program of its own")]

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const FILES: usize = 5000;
const LARGEST: u64 = 16 << 10;

/// What one tree took.
struct Tree {
    root: PathBuf,
    entries: usize,
    bytes: usize,
    walks: Vec<Duration>,
    reads: Vec<Duration>,
}

/// Calls `see` for everything below `dir` that is on the filesystem `device`, and for nothing on
/// another.
fn walk(dir: &Path, device: u64, see: &mut dyn FnMut(&Path, &Metadata)) -> io::Result<()> {
    let mut below = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.dev() != device {
            continue;
        }
        let path = entry.path();
        see(&path, &meta);
        if meta.is_dir() {
            below.push(path);
        }
    }
    below.iter().try_for_each(|dir| walk(dir, device, see))
}

/// The small files below `root`, as paths relative to it.
fn small_files(root: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    walk(root, fs::metadata(root)?.dev(), &mut |path, meta| {
        if meta.is_file() && (1..=LARGEST).contains(&meta.len()) {
            files.push(path.to_owned());
        }
    })?;
    files.sort();
    files.truncate(FILES);
    let relative = files.iter().map(|path| path.strip_prefix(root).map(Path::to_owned));
    Ok(relative.collect::<Result<_, _>>()?)
}

impl Tree {
    fn new(root: OsString) -> Self {
        let root = root.into();
        Self { root, entries: 0, bytes: 0, walks: Vec::new(), reads: Vec::new() }
    }

    fn time_walk(&mut self) -> io::Result<Duration> {
        let device = fs::metadata(&self.root)?.dev();
        let mut entries = 0_usize;
        let start = Instant::now();
        walk(&self.root, device, &mut |_, _| entries = entries.saturating_add(1))?;
        let took = start.elapsed();
        self.entries = entries;
        Ok(took)
    }

    fn time_reads(&mut self, files: &[PathBuf]) -> io::Result<Duration> {
        let files: Vec<_> = files.iter().map(|file| self.root.join(file)).collect();
        let mut buf = vec![0; usize::try_from(LARGEST).unwrap_or(usize::MAX)];
        let mut bytes = 0_usize;
        let start = Instant::now();
        for file in &files {
            let mut file = File::open(file)?;
            bytes = bytes.saturating_add(file.read(&mut buf)?);
        }
        let took = start.elapsed();
        self.bytes = bytes;
        Ok(took)
    }

    fn json(&self, files: usize) -> String {
        let nanos = |times: &[Duration]| {
            times.iter().map(|t| t.as_nanos().to_string()).collect::<Vec<_>>().join(",")
        };
        format!(
            r#"{{"dir":{:?},"entries":{},"files":{files},"bytes":{},"walk":[{}],"read":[{}]}}"#,
            self.root.display().to_string(),
            self.entries,
            self.bytes,
            nanos(&self.walks),
            nanos(&self.reads),
        )
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let rounds = args.next().ok_or("usage: bench_fs ROUNDS DIR...")?;
    let rounds: usize = rounds.to_str().ok_or("ROUNDS is no number")?.parse()?;
    let mut trees: Vec<_> = args.map(Tree::new).collect();
    let first = trees.first().ok_or("usage: bench_fs ROUNDS DIR...")?;
    let files = small_files(&first.root)?;
    for round in 0..=rounds {
        for tree in &mut trees {
            let (walk, read) = (tree.time_walk()?, tree.time_reads(&files)?);
            if round > 0 {
                tree.walks.push(walk);
                tree.reads.push(read);
            }
        }
    }
    let trees: Vec<_> = trees.iter().map(|tree| tree.json(files.len())).collect();
    println!("[{}]", trees.join(",\n"));
    Ok(())
}
