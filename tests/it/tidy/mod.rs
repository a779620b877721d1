//! The house rules that a compiler does not know: which room may import which, which room may use
//! what, sizes, forgotten files, words. Each rule also proves here that it can fail.

mod modules;
mod rooms;
mod source;
mod words;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use source::Source;

/// Longest file of product code, in lines.
const FILE_LINES: usize = 500;
/// Longest mount helper, in lines without its tests: it runs as root, so it stays readable at once.
const HELPER_LINES: usize = 250;
/// Widest line of code, in characters.
const LINE_CHARS: usize = 100;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All text files of the project: no build output, no lock file, nothing hidden but the two folders
/// of settings.
fn project() -> Vec<Source> {
    let mut paths = Vec::new();
    collect(top(), &mut paths);
    paths.sort();
    let files = paths.iter().filter_map(|path| {
        let text = String::from_utf8(fs::read(path).unwrap()).ok()?;
        let path = path.strip_prefix(top()).unwrap().to_str().unwrap();
        Some(Source::new(path, &text))
    });
    let files: Vec<_> = files.collect();
    assert!(files.iter().any(|f| f.path == "src/lib.rs"), "the walk found no sources");
    files
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        let hidden = name.starts_with('.') && name != ".ci" && name != ".config";
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && !hidden && name != "target" {
            collect(&entry.path(), into);
        } else if kind.is_file() && !hidden && name != "Cargo.lock" {
            into.push(entry.path());
        }
    }
}

fn none(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

/// Asserts that `rule` finds exactly one breach in `files`, and that it says `what`.
fn one(rule: fn(&[Source]) -> Vec<String>, files: &[(&str, &str)], what: &str) {
    let files: Vec<_> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    let breaches = rule(&files);
    assert!(matches!(&breaches[..], [only] if only.contains(what)), "{breaches:?}, not {what}");
}

fn sizes(files: &[Source]) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in files.iter().filter(|f| f.is_rust()) {
        let helper = file.path.starts_with("mount-helper/");
        let (lines, most) = if helper {
            let text = file.product_text();
            (text.lines().filter(|l| !l.trim().is_empty()).count(), HELPER_LINES)
        } else {
            (file.text.lines().count(), FILE_LINES)
        };
        if lines > most && !file.is_test() {
            breaches.push(format!("{}: {lines} lines, more than {most}", file.path));
        }
    }
    for file in files.iter().filter(|f| f.is_rust() || f.text.starts_with("#!")) {
        for (number, line) in file.text.lines().enumerate() {
            // A string is as long as what it says; rustfmt leaves such lines alone too.
            if line.chars().count() > LINE_CHARS && !line.contains('"') {
                let at = number + 1;
                breaches.push(format!("{}:{at}: wider than {LINE_CHARS} characters", file.path));
            }
        }
    }
    breaches
}

fn scripts(files: &[Source]) -> Vec<String> {
    let ours = files.iter().filter(|f| f.path.starts_with("scripts/") || f.path == ".ci/run");
    let mut breaches = Vec::new();
    for file in ours {
        let library = file.path.starts_with("scripts/lib/");
        if !file.text.starts_with("#!") && !library {
            breaches.push(format!("{}: does not say what runs it", file.path));
        }
        if file.text.starts_with("#!") && !file.text.contains("\nset -euo pipefail\n") {
            breaches.push(format!("{}: goes on after errors", file.path));
        }
    }
    breaches
}

#[test]
fn files_stay_short_and_lines_narrow() {
    none(&sizes(&project()));
}

#[test]
fn a_long_file_or_a_wide_line_is_found() {
    one(sizes, &[("src/union/a.rs", &"\n".repeat(501))], "501 lines");
    one(sizes, &[("mount-helper/src/main.rs", &"x;\n".repeat(251))], "251 lines");
    one(sizes, &[("tests/it/a.rs", &"é".repeat(101))], "wider");
    let fits = Source::new("src/union/a.rs", &format!("{}\n", "é".repeat(100)).repeat(500));
    let tests = Source::new("tests/it/a.rs", &"\n".repeat(501));
    none(&sizes(&[fits, tests]));
}

#[test]
fn scripts_stop_at_the_first_error_and_can_be_run() {
    let files = project();
    none(&scripts(&files));
    let mut seen = 0;
    for file in files.iter().filter(|f| f.text.starts_with("#!") && !f.is_rust()) {
        let mode = fs::metadata(top().join(&file.path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{} has no run bit", file.path);
        seen += 1;
    }
    assert!(seen >= 5, "only {seen} scripts found");
}

#[test]
fn a_careless_script_is_found() {
    one(scripts, &[("scripts/a", "#!/bin/bash\ntrue\n")], "goes on");
    one(scripts, &[(".ci/run", "true\n")], "what runs it");
}
