//! What becomes of a mount whose server is asked to end.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::mount_command::home;

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within ten seconds");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_mounted(at: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.contains(&format!(" {} ", at.display()))
}

fn serve(home: &Path, at: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_mica"))
        .args(["mount", "--foreground", "registry.example/app:1"])
        .arg(at)
        .env("MICA_ROOT", home.join("store"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_server_that_is_asked_to_end_leaves_no_mount_behind() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        println!("skipped: needs root, to mount");
        return;
    }
    let home = home();
    let at = home.path().join("mnt").canonicalize().unwrap();
    for signal in ["-INT", "-TERM", "-HUP"] {
        let mut child = serve(home.path(), &at);
        until("it is mounted", || at.join("word").exists());
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let mut ended = None;
        until("it ends", || {
            ended = child.try_wait().unwrap();
            ended.is_some()
        });
        assert!(ended.unwrap().success(), "{signal}");
        assert!(!is_mounted(&at), "{signal}");
    }
}

#[test]
fn a_second_signal_ends_a_server_whose_mount_is_in_use() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        println!("skipped: needs root, to mount");
        return;
    }
    let home = home();
    let at = home.path().join("mnt").canonicalize().unwrap();
    let mut child = serve(home.path(), &at);
    until("it is mounted", || at.join("word").exists());
    let user = fs::File::open(at.join("word")).unwrap();
    let signal = || {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    };
    signal();
    until("it is taken away", || !is_mounted(&at));
    assert_eq!(std::io::read_to_string(&user).unwrap(), "said", "who uses it is still served");
    signal();
    let mut ended = None;
    until("it ends", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().signal(), Some(15));
}
