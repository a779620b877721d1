//! How many requests the kernel sends for what programs do.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, Once, PoisonError};

use log::{LevelFilter, Log, Metadata, Record};

use crate::view::{View, set_mode};

/// The requests since the last look, by name: read from what fuser logs of each.
static SEEN: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());

struct Counter;

impl Log for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "fuser::request"
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // "FUSE( 12) ino 0x0000000000000001 LOOKUP name ..."
        let text = record.args().to_string();
        let name = text.split(" ino ").nth(1).and_then(|rest| rest.split(' ').nth(1));
        let name = name.filter(|name| !name.starts_with("thread=")).unwrap_or("unknown");
        // What is forgotten, and when, is up to the kernel's memory, and nobody waits for it.
        if !matches!(name, "FORGET" | "BATCHFORGET") {
            let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
            *seen.entry(name.to_owned()).or_default() += 1;
        }
    }

    fn flush(&self) {}
}

fn start_counting() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| log::set_logger(&Counter).expect("the only logger"));
    log::set_max_level(LevelFilter::Debug);
}

/// What the kernel asks for while `work` runs, as text: `CREATE 1, LOOKUP 2`.
fn requests(work: impl FnOnce()) -> String {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).clear();
    work();
    let seen = std::mem::take(&mut *SEEN.lock().unwrap_or_else(PoisonError::into_inner));
    let list: Vec<_> = seen.iter().map(|(name, count)| format!("{name} {count}")).collect();
    list.join(", ")
}

fn view() -> View {
    start_counting();
    View::alone(|lower| {
        fs::create_dir(lower.join("dir")).unwrap();
        for i in 0..200 {
            fs::write(lower.join(format!("dir/{i}")), b"some text").unwrap();
        }
        std::os::unix::fs::symlink("dir/1", lower.join("link")).unwrap();
    })
}

#[test]
fn what_is_known_costs_no_request() {
    let view = view();
    let list = || {
        for entry in fs::read_dir(view.path("dir")).unwrap() {
            entry.unwrap().metadata().unwrap();
        }
    };
    let read = || {
        for i in 0..200 {
            assert_eq!(fs::read(view.path(format!("dir/{i}"))).unwrap(), b"some text");
        }
    };
    let miss = || assert!(!view.path("dir/none").exists());
    let follow = || drop(fs::read_link(view.path("link")).unwrap());
    for work in [&list as &dyn Fn(), &read, &miss, &follow] {
        work();
        // A read leaves a new time of last read to be asked for.
        work();
        assert_eq!(requests(work), "");
    }
    let first = requests(|| drop(File::open(view.path("dir")).unwrap()));
    assert_eq!(first, "", "opening and closing is no request from the first time on");
}

#[test]
fn a_change_costs_what_it_must() {
    let view = view();
    let path = view.path("new");
    // What a change left to be asked for: the attributes of the directory, when next used.
    let settle = || drop((fs::metadata(view.root()), fs::metadata(&path)));
    let costs = |what: &str, work: &dyn Fn()| {
        assert_eq!(requests(work), what);
        settle();
    };
    // Not zeros: the kernel cuts a write short where memory has never been touched.
    let block = vec![1; 1024 * 1024];
    costs("LOOKUP 1", &|| assert!(!path.exists()));
    costs("CREATE 1", &|| drop(File::create(&path).unwrap()));
    let file = File::options().read(true).write(true).open(&path).unwrap();
    costs("GETXATTR 1, WRITE 1", &|| file.write_all_at(&block, 0).unwrap());
    costs("SETATTR 1", &|| set_mode(&path, 0o600));
    costs("GETXATTR 1, SETATTR 1", &|| file.set_len(10).unwrap());
    costs("FSYNC 1", &|| file.sync_data().unwrap());
    drop(file);
    costs("UNLINK 1", &|| fs::remove_file(&path).unwrap());
    // What must not exist is looked up again, whatever the kernel knows of it.
    costs("LOOKUP 1, MKDIR 1", &|| fs::create_dir(&path).unwrap());
    costs("RMDIR 1", &|| fs::remove_dir(&path).unwrap());
}

#[test]
fn a_large_read_takes_as_few_requests_as_the_kernel_allows() {
    let view = view();
    fs::write(view.path("large"), vec![1; 8 * 1024 * 1024]).unwrap();
    let mut view = view;
    view.remount();
    let file = File::open(view.path("large")).unwrap();
    let mut block = vec![0; 1024 * 1024];
    let count = requests(|| {
        for i in 0..8 {
            file.read_exact_at(&mut block, i * 1024 * 1024).unwrap();
        }
    });
    let reads: u32 = count.strip_prefix("READ ").and_then(|n| n.parse().ok()).expect(&count);
    assert!(reads <= 8 * 1024 / 128 + 2, "{count}");
}
