//! The store after kill -9, a full disk or a failing disk at any moment.
//!
//! The victim is this very program, running the one test below that is ignored else.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use mica::oci::Digest;
use mica::store::{Error, Ref, Store};

use crate::support::trace::{self, CALLS, quick_directory};

/// Says to the victim which store to use.
const STORE: &str = "MICA_TEST_STORE";

/// Everything that a pull and a removal do to a store.
fn work(root: &Path) -> Result<(), Error> {
    let io = |source| Error::Io { action: "write", path: root.to_owned(), source };
    let store = Store::open(root)?;
    let session = store.enter()?;
    for (n, name) in [(1, "b:1"), (2, "a:1")] {
        let layer = vec![n; 100_000];
        let blob = Digest::of(&layer);
        let lock = session.lock_layer(&blob)?;
        let mut writer = session.write_blob()?;
        let made = session.write_layer(&blob)?;
        for piece in layer.chunks(30_000) {
            writer.write_all(piece).map_err(io)?;
        }
        for file in ["index", "seek"] {
            std::fs::write(made.path().join(file), format!("{file} of {blob}")).map_err(io)?;
        }
        writer.commit(&blob, 100_000)?;
        made.commit()?;
        drop(lock);
        let config = Digest::of(b"{}");
        session.put_blob(&config, b"{}")?;
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"x/y","digest":"{config}","size":2}},
"layers":[{{"mediaType":"x/y","digest":"{blob}","size":100000}}]}}"#
        );
        let digest = Digest::of(manifest.as_bytes());
        session.put_blob(&digest, manifest.as_bytes())?;
        session.put_ref(&Ref {
            name: name.into(),
            manifest: digest,
            source: digest,
            updated: 1,
        })?;
    }
    drop(session);
    let collector = store.try_collector()?.ok_or(Error::Busy(root.to_owned()))?;
    collector.remove_ref("b:1")?;
    collector.collect()?;
    Ok(())
}

/// What the next command finds: a store that it can use, in which all that is visible is whole.
fn assert_whole(root: &Path, after: &str) {
    let store = Store::open(root).unwrap_or_else(|error| panic!("{after}: {error}"));
    let session = store.enter().unwrap_or_else(|error| panic!("{after}: {error}"));
    let left: Vec<_> = root.join("tmp").read_dir().unwrap().collect();
    assert!(left.is_empty(), "{after}: {left:?} is left");
    let damage = store.check().unwrap().damage;
    assert!(damage.is_empty(), "{after}: {damage:?}");
    for layer in root.join("layers").read_dir().unwrap() {
        let path = layer.unwrap().path();
        let blob = Digest::from_hex(path.file_name().unwrap().to_str().unwrap()).unwrap();
        for file in ["index", "seek"] {
            let text = std::fs::read_to_string(path.join(file)).unwrap();
            assert_eq!(text, format!("{file} of {blob}"), "{after}");
        }
    }
    drop(session);
}

/// After the same work is done to its end, the same is there as without the crash.
fn assert_usable(root: &Path, after: &str) {
    work(root).unwrap_or_else(|error| panic!("{after}: {error}"));
    assert_whole(root, after);
    let names: Vec<_> =
        Store::open(root).unwrap().refs().unwrap().into_iter().map(|found| found.name).collect();
    assert_eq!(names, ["a:1"], "{after}");
    let blobs = root.join("blobs/sha256").read_dir().unwrap().count();
    assert_eq!(blobs, 3, "{after}: manifest, config and layer");
}

#[test]
#[ignore = "the victim of the other tests, which run it"]
fn victim() {
    let Some(root) = std::env::var_os(STORE) else { return };
    work(Path::new(&root)).unwrap();
}

fn victim_command(program: &[&str], root: &Path) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut command = match program {
        [] => Command::new(&this),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(&this);
            command
        }
    };
    command.args(["--exact", "store::crash::victim", "--ignored", "--test-threads=1"]);
    command.env(STORE, root).env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    command
}

/// Runs the victim under strace with `expression`.
fn traced(expression: &str, output: &Path, root: &Path) -> Output {
    let output = output.to_str().unwrap();
    let program = ["strace", "-f", "-qq", "-o", output, "-e", expression];
    victim_command(&program, root).output().expect("strace must be installed")
}

/// How often the victim makes each of the system calls, when nothing goes wrong, in the thread
/// that makes it most often: strace counts them by thread.
fn count_calls() -> BTreeMap<String, u32> {
    let home = quick_directory();
    let trace = home.path().join("trace");
    let output = traced(&format!("trace={CALLS}"), &trace, &home.path().join("store"));
    assert!(output.status.success(), "{output:?}");
    trace::calls_by_thread(&trace)
}

/// Runs the victim with `fault` at its first system call of each kind, its second, and so on to
/// the last, and checks the store each time.
fn sweep(fault: &str) {
    let calls = count_calls();
    assert!(calls.values().sum::<u32>() > 80, "only {calls:?} were tried");
    for (call, count) in calls {
        for n in 1..=count {
            let home = quick_directory();
            let expression = format!("inject={call}:{fault}:when={n}");
            let output = traced(&expression, Path::new("/dev/null"), home.path());
            let killed = output.status.signal() == Some(9);
            assert_eq!(killed, fault == "signal=KILL", "{expression}: {output:?}");
            assert_whole(home.path(), &expression);
            assert_usable(home.path(), &expression);
        }
    }
}

#[test]
fn killed_at_any_system_call_it_leaves_a_store_that_the_next_command_uses() {
    sweep("signal=KILL");
}

#[test]
fn a_full_disk_at_any_system_call_leaves_a_store_that_the_next_command_uses() {
    sweep("error=ENOSPC");
}

#[test]
fn a_full_disk_is_named_in_the_error() {
    for call in ["rename", "fsync", "mkdir"] {
        let home = quick_directory();
        let expression = format!("inject={call}:error=ENOSPC:when=2");
        let output = traced(&expression, Path::new("/dev/null"), home.path());
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("StorageFull"), "{call}: {said}");
    }
}

#[test]
fn killed_at_any_moment_it_leaves_a_store_that_the_next_command_uses() {
    let home = tempfile::tempdir().unwrap();
    for round in 0..40_u64 {
        let mut victim = victim_command(&[], home.path()).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(500 + round * 400));
        victim.kill().unwrap();
        victim.wait().unwrap();
        assert_whole(home.path(), &format!("round {round}"));
    }
    assert_usable(home.path(), "40 rounds");
}
