//! Root filesystems that were made to harm: nothing outside them is read, changed or waited for.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::support::Bench;

trials!(
    a_user_database_that_is_a_pipe_is_refused_and_not_waited_for,
    a_user_database_of_ten_gigabytes_is_refused,
    a_user_database_that_points_outside_is_read_inside,
    a_user_database_that_is_a_directory_is_refused,
    a_working_directory_through_descriptors_is_refused,
    a_working_directory_stays_inside,
    mount_targets_stay_inside,
    links_in_place_of_system_directories_stay_inside,
    files_of_etc_that_are_dangling_links_are_made_inside,
    a_loop_of_links_is_refused,
    names_that_are_no_text_are_fine,
);

fn replace_passwd(bench: &Bench) -> std::path::PathBuf {
    let passwd = bench.rootfs().join("etc/passwd");
    fs::remove_file(&passwd).unwrap();
    passwd
}

fn refused(bench: &Bench, options: &[&str], why: &str) {
    let said = bench.run(options, &["true"]);
    assert_eq!(said.code, 125, "{said:?}");
    assert!(said.err.contains(why), "{said:?}");
}

fn a_user_database_that_is_a_pipe_is_refused_and_not_waited_for() {
    let bench = Bench::new();
    let passwd = replace_passwd(&bench);
    assert!(Command::new("mkfifo").arg(passwd).status().unwrap().success());
    refused(&bench, &[], "/etc/passwd");
}

fn a_user_database_of_ten_gigabytes_is_refused() {
    let bench = Bench::new();
    let file = fs::File::create(replace_passwd(&bench)).unwrap();
    file.set_len(10 << 30).unwrap();
    refused(&bench, &[], "File too large");
}

fn a_user_database_that_points_outside_is_read_inside() {
    let bench = Bench::new();
    let outside = bench.path().join("passwd");
    fs::write(&outside, "outsider:x:7:7::/:/bin/sh\n").unwrap();
    for target in [outside.clone(), "../../passwd".into(), "../../../../../passwd".into()] {
        symlink(&target, replace_passwd(&bench)).unwrap();
        refused(&bench, &["--user", "outsider"], "no such user");
    }
    fs::write(bench.rootfs().join("passwd"), "insider:x:8:8::/:/bin/sh\n").unwrap();
    assert_eq!(bench.sh(&["--user", "insider"], "id -u"), "8\n");
    // What was meant to be the process' own descriptors is no way out either.
    symlink("/proc/self/root/etc/passwd", replace_passwd(&bench)).unwrap();
    refused(&bench, &["--user", "outsider"], "no such user");
}

fn a_user_database_that_is_a_directory_is_refused() {
    let bench = Bench::new();
    fs::create_dir(replace_passwd(&bench)).unwrap();
    refused(&bench, &[], "/etc/passwd");
}

fn a_working_directory_through_descriptors_is_refused() {
    let bench = Bench::new();
    for number in 0..20 {
        let said = bench.run(&["--cwd", &format!("/proc/self/fd/{number}")], &["pwd"]);
        assert_eq!(said.code, 125, "{said:?}");
    }
    for path in ["/proc/self/cwd", "/proc/1/root", "/proc/self/fd/7/../../.."] {
        assert_eq!(bench.run(&["--cwd", path], &["pwd"]).code, 125, "{path}");
    }
}

fn a_working_directory_stays_inside() {
    let bench = Bench::new();
    symlink("../../../../../..", bench.rootfs().join("up")).unwrap();
    for cwd in ["/up", "/../../..", "/up/up"] {
        assert_eq!(bench.sh(&["--cwd", cwd], "pwd -P; ls -d etc"), "/\netc\n", "{cwd}");
    }
    symlink(bench.path(), bench.rootfs().join("out")).unwrap();
    let inside = bench.sh(&["--cwd", "/out/new"], "pwd -P");
    assert_eq!(inside.trim(), bench.path().join("new").to_str().unwrap());
    assert!(!bench.path().join("new").exists());
}

fn mount_targets_stay_inside() {
    let bench = Bench::new();
    let outside = bench.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, bench.rootfs().join("link")).unwrap();
    symlink("../../../..", bench.rootfs().join("up")).unwrap();
    bench.sh(&["--tmpfs", "/link/a", "--tmpfs", "/up/up/b"], "ls -d /b");
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
    assert!(bench.rootfs().join("b").is_dir());
}

fn links_in_place_of_system_directories_stay_inside() {
    let bench = Bench::new();
    let outside = bench.path().join("outside");
    fs::create_dir(&outside).unwrap();
    for name in ["proc", "sys", "dev"] {
        fs::remove_dir(bench.rootfs().join(name)).unwrap();
        symlink(&outside, bench.rootfs().join(name)).unwrap();
    }
    // They are mounted over one another; whatever comes of it, it is within.
    bench.run(&[], &["true"]);
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

fn files_of_etc_that_are_dangling_links_are_made_inside() {
    let bench = Bench::new();
    let etc = bench.rootfs().join("etc");
    symlink("../run/systemd/resolve/stub-resolv.conf", etc.join("resolv.conf")).unwrap();
    symlink(bench.path().join("hosts"), etc.join("hosts")).unwrap();
    let out = bench.sh(&[], "grep -c localhost /etc/hosts; ls /run/systemd/resolve");
    assert_eq!(out.lines().last(), Some("stub-resolv.conf"));
    assert!(!bench.path().join("hosts").exists());
    let mut resolv = String::new();
    if let Ok(host) = fs::read_to_string("/etc/resolv.conf") {
        resolv = host;
    }
    assert_eq!(bench.sh(&[], "cat /etc/resolv.conf"), resolv);
}

fn a_loop_of_links_is_refused() {
    let bench = Bench::new();
    symlink("loop", bench.rootfs().join("loop")).unwrap();
    refused(&bench, &["--cwd", "/loop"], "Too many levels of symbolic links");
    refused(&bench, &["--tmpfs", "/loop/x"], "Too many levels of symbolic links");
}

fn names_that_are_no_text_are_fine() {
    use std::os::unix::ffi::OsStrExt as _;
    let bench = Bench::new();
    let name = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    fs::write(bench.rootfs().join(name), "x").unwrap();
    assert_eq!(bench.sh(&[], "cat /??"), "x");
}
