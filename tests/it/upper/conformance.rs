//! The lists of promises, kept by directories on disk in every form and as every kind of user.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use mica::testing::conformance::{Abilities, check_lower, check_upper};
use mica::upper::{DotWh, MarkFamily, UpperOptions, WhiteoutForm};

use super::fixture::{Dirs, abilities, in_user_namespace, is_root};

fn check(options: UpperOptions) {
    let can = Abilities {
        origin_of_special: abilities().origin_of_special && options.family == MarkFamily::Auto,
        ..abilities()
    };
    check_upper(&Dirs::new(options.clone()), can);
    let dirs = Dirs::new(options);
    check_lower(&|items| Arc::new(dirs.lower(items)), can);
}

#[test]
fn promises_are_kept_with_the_marks_of_the_kernel() {
    check(UpperOptions::default());
}

#[test]
fn promises_are_kept_with_marks_of_users() {
    check(UpperOptions { family: MarkFamily::User, ..UpperOptions::default() });
}

#[test]
fn promises_are_kept_with_whiteouts_that_are_attributes() {
    let whiteouts = WhiteoutForm::Attribute;
    check(UpperOptions { whiteouts, ..UpperOptions::default() });
}

#[test]
fn promises_are_kept_with_whiteouts_that_are_names() {
    let whiteouts = WhiteoutForm::Name;
    check(UpperOptions { whiteouts, dot_wh: DotWh::Marks, ..UpperOptions::default() });
}

#[test]
fn promises_are_kept_where_dot_wh_names_are_marks() {
    check(UpperOptions { dot_wh: DotWh::Marks, ..UpperOptions::default() });
}

#[test]
fn promises_are_kept_without_durability() {
    check(UpperOptions { volatile: true, ..UpperOptions::default() });
}

/// Runs the test `name` of this binary once more, behind `prefix`.
fn again(prefix: &[&str], name: &str) {
    let exe = std::env::current_exe().expect("current_exe");
    let (program, args) = prefix.split_first().expect("a program");
    let out = Command::new(program)
        .args(args)
        .arg(&exe)
        .args([name, "--exact", "--nocapture"])
        .current_dir(Path::new("/"))
        .output()
        .expect(program);
    let text = String::from_utf8_lossy(&out.stdout);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}\n{errors}");
}

const ALONE: &str = "upper::conformance::promises_are_kept_with_the_marks_of_the_kernel";

#[test]
fn promises_are_kept_for_root_of_a_user_namespace() {
    if in_user_namespace() {
        return;
    }
    let mut prefix = vec!["unshare", "-Ur"];
    if is_root() {
        let drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        prefix.splice(0..0, drop);
    }
    again(&prefix, ALONE);
}

#[test]
fn promises_are_kept_without_a_file_mode_creation_mask() {
    again(&["sh", "-c", r#"umask 0; exec "$@""#, "sh"], ALONE);
}

#[test]
fn promises_are_kept_for_a_plain_user() {
    if is_root() && !in_user_namespace() {
        again(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], ALONE);
    }
}
