//! What `mica mount` leaves behind: the process that serves the view.

use std::fs;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::mount_command::home;

/// The process with these bytes among its arguments.
fn process(argument: &Path) -> PathBuf {
    let argument = argument.as_os_str().as_encoded_bytes();
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let mut found = processes.filter(|process| {
        // Processes come and go; one that has gone has no arguments.
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        command.split(|&byte| byte == 0).any(|word| word == argument)
    });
    found.next().expect("a process that serves")
}

#[test]
fn the_server_of_a_mount_holds_nothing_of_who_started_it() {
    let home = home();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 077; exec \"$@\" 9>&1", "sh"])
        .args([env!("CARGO_BIN_EXE_mica"), "mount", "registry.example/app:1"])
        .arg(home.path().join("mnt"))
        .env("MICA_ROOT", home.path().join("store"))
        .stdin(OwnedFd::from(std::io::pipe().unwrap().0))
        .stderr(writer.try_clone().unwrap())
        .stdout(writer);
    assert!(command.status().unwrap().success());
    drop(command);
    // The server, which had the end of the pipe three times, lives on.
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
    assert_eq!(fs::read(home.path().join("mnt/word")).unwrap(), b"said");

    let server = process(&home.path().join("mnt"));
    for stream in 0..3 {
        let leads_to = fs::read_link(server.join(format!("fd/{stream}"))).unwrap();
        assert_eq!(leads_to, Path::new("/dev/null"));
    }
    assert_eq!(fs::read_link(server.join("cwd")).unwrap(), Path::new("/"));
    let status = fs::read_to_string(server.join("status")).unwrap();
    assert!(status.contains("Umask:\t0000"), "{status}");
    let stat = fs::read_to_string(server.join("stat")).unwrap();
    let session = stat.rsplit(')').next().unwrap().split(' ').nth(4).unwrap();
    assert_eq!(server.file_name().unwrap(), session, "it leads a session");

    let mica = env!("CARGO_BIN_EXE_mica");
    let ended = Command::new(mica).arg("umount").arg(home.path().join("mnt")).status();
    assert!(ended.unwrap().success());
}
