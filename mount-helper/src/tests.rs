//! Each call is one that mount(8) of util-linux makes.

use super::{Action, FAILED, Refusal, USAGE, split, translate};
use std::ffi::OsString;

fn call(words: &[&str], privileged: bool) -> Result<Action, Refusal> {
    translate(words.iter().map(OsString::from), privileged)
}

fn mounts(words: &[&str]) -> Vec<String> {
    match call(words, false).unwrap() {
        Action::Mount(args) => args.into_iter().map(|a| a.into_string().unwrap()).collect(),
        Action::Nothing => panic!("nothing to mount"),
    }
}

fn code(words: &[&str]) -> u8 {
    call(words, true).unwrap_err().code
}

#[test]
fn an_image_and_a_directory_are_handed_over() {
    assert_eq!(mounts(&["app:1", "/mnt"]), ["--", "app:1", "/mnt"]);
    assert_eq!(mounts(&["image:app:1", "/mnt"]), ["--", "app:1", "/mnt"]);
    assert_eq!(mounts(&["oci:/images:app", "/mnt"]), ["--", "oci:/images:app", "/mnt"]);
}

#[test]
fn options_of_mount_itself_are_left_out_and_the_others_stay_in_order() {
    let options = "ro,nodev,nofail,_netdev,user,x-systemd.automount,helper=x,upperdir=/u,defaults";
    let args = mounts(&["app", "/mnt", "-o", options]);
    assert_eq!(args, ["-o", "ro,nodev,upperdir=/u", "--", "app", "/mnt"]);
}

#[test]
fn flags_may_stand_anywhere_and_together() {
    let args = mounts(&["-sn", "app", "-vo", "ro", "/mnt", "-owork=/w", "-t", "mica.sub"]);
    assert_eq!(args, ["-o", "ro,work=/w", "--", "app", "/mnt"]);
}

#[test]
fn root_gets_devices_and_set_user_id_unless_it_says_otherwise() {
    let options = |given: &str| match call(&["app", "/mnt", "-o", given], true).unwrap() {
        Action::Mount(args) => args[1].clone().into_string().unwrap(),
        Action::Nothing => panic!("nothing to mount"),
    };
    assert_eq!(options("ro"), "ro,dev,suid");
    assert_eq!(options("nodev"), "nodev,suid");
    assert_eq!(options("dev,nosuid"), "dev,nosuid");
}

#[test]
fn a_fake_mount_is_checked_and_not_done() {
    assert_eq!(call(&["app", "/mnt", "-f"], true), Ok(Action::Nothing));
    assert_eq!(code(&["/etc/app", "/mnt", "-f"]), USAGE);
}

#[test]
fn a_remount_never_starts_a_second_daemon() {
    assert_eq!(code(&["app", "/mnt", "-o", "remount,ro"]), FAILED);
    assert_eq!(code(&["app", "/mnt", "-f", "-o", "ro,remount"]), FAILED);
}

#[test]
fn another_namespace_is_refused_not_ignored() {
    assert_eq!(code(&["app", "/mnt", "-N", "/proc/1/fd/4"]), FAILED);
}

#[test]
fn wrong_calls_are_usage_errors() {
    for words in [
        &["app"][..],
        &["app", "/mnt", "more"],
        &["app", "/mnt", "-o"],
        &["app", "/mnt", "-x"],
        &["image:", "/mnt"],
        &["/home/me/app", "/mnt"],
    ] {
        assert_eq!(code(words), USAGE, "{words:?}");
    }
}

#[test]
fn a_comma_in_quotes_or_behind_a_backslash_ends_no_option() {
    let list = br#"a,context="x,y",lowerdir=/l\,1\\,ro,,"#;
    let options: [&[u8]; 4] = [b"a", br#"context="x,y""#, br"lowerdir=/l\,1\\", b"ro"];
    assert_eq!(split(list), options);
}
