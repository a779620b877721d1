//! What each room may import and use: section "The rooms" of `docs/ARCHITECTURE.md`.

use super::source::{Source, closing, identifiers, line_of};
use super::{none, one, project};

/// A room: its level, its name, and the rooms it may import.
type Room = (u8, &'static str, &'static [&'static str]);

const ROOMS: &[Room] = &[
    (0, "sys", &[]),
    (0, "oci", &[]),
    (0, "tree", &[]),
    (1, "blob", &["oci", "sys"]),
    (2, "store", &["oci", "blob", "sys"]),
    (2, "registry", &["oci", "blob"]),
    (2, "layer", &["oci", "tree", "blob", "sys"]),
    (2, "upper", &["oci", "tree", "sys"]),
    (2, "union", &["tree"]),
    (3, "fuse", &["tree", "union", "sys"]),
    (3, "run", &["oci", "sys"]),
    (
        4,
        "image",
        &[
            "oci", "sys", "tree", "blob", "store", "registry", "layer", "upper", "union", "fuse",
            "run",
        ],
    ),
    (5, "cli", &["oci", "image", "run"]),
];

/// What the doubles for tests may import; inline tests of every room may import them.
const TESTING: &[&str] = &["oci", "tree", "blob", "registry"];

/// A crate and where it may be named: a room, or a file of one.
const CRATES: &[(&str, &[&str])] = &[
    ("fuser", &["src/fuse/"]),
    ("clap", &["src/cli/"]),
    ("clap_complete", &["src/cli/"]),
    ("clap_mangen", &["src/cli/"]),
    ("indicatif", &["src/cli/"]),
    ("anstream", &["src/cli/"]),
    ("anstyle", &["src/cli/"]),
    ("tar", &["src/layer/", "src/testing/", "src/upper/diff.rs", "src/upper/diff/"]),
    ("ureq", &["src/registry/"]),
    ("rustls", &["src/registry/"]),
    ("rustls_native_certs", &["src/registry/"]),
    ("rustix", &["src/sys/"]),
    ("libc", &["src/sys/"]),
    ("memmap2", &["src/sys/"]),
    ("caps", &["src/sys/"]),
    ("seccompiler", &["src/sys/"]),
];

/// Ways to print, to read the environment and to end the process: all of them `cli`'s.
const CLI_ONLY: &[&str] = &[
    "println!",
    "eprintln!",
    "print!",
    "eprint!",
    "io::stdout()",
    "io::stderr()",
    "env::var(",
    "env::var_os(",
    "env::vars(",
    "env::vars_os(",
    "env::args(",
    "env::args_os(",
    "process::exit(",
];

/// Words inside strings, and the one file that may spell each.
const SPELLED_ONCE: &[(&str, &str)] = &[
    (".wh.", "src/oci/whiteout.rs"),
    ("trusted.overlay.", "src/upper/mark.rs"),
    ("user.overlay.", "src/upper/mark.rs"),
    ("user.fuseoverlayfs.", "src/upper/mark.rs"),
];

fn allowed(room: &str) -> Option<&'static [&'static str]> {
    if room == "testing" {
        return Some(TESTING);
    }
    ROOMS.iter().find(|r| r.1 == room).map(|r| r.2)
}

fn sources(files: &[Source]) -> impl Iterator<Item = &Source> {
    files.iter().filter(|f| f.is_rust() && f.path.starts_with("src/"))
}

/// What follows `crate::` (or a chain of `super::` that climbs out of the room), with where.
fn crate_paths(code: &str, depth: usize) -> Vec<(usize, String)> {
    let words = identifiers(code);
    let follows = |at: usize, word: &str| code[at + word.len()..].trim_start().starts_with("::");
    let mut found = Vec::new();
    for (index, &(at, word)) in words.iter().enumerate() {
        let macro_crate = at > 0 && code.as_bytes()[at - 1] == b'$';
        let first = index == 0 || words[index - 1].1 != "super";
        if word == "crate" && !macro_crate && follows(at, word) {
            found.extend(heads(code, at + word.len()));
        } else if word == "super" && first {
            let supers = words[index..].iter().take_while(|w| w.1 == "super").count();
            let (last, _) = words[index + supers - 1];
            // Inline modules make the climb shorter than it looks; only names of rooms count then.
            if supers >= depth && follows(last, "super") {
                let names = heads(code, last + "super".len());
                found.extend(names.into_iter().filter(|(_, name)| allowed(name).is_some()));
            }
        } else if word == "crate" && words.get(index + 1).is_some_and(|w| w.1 == "as") {
            found.push((at, "crate".to_owned()));
        }
    }
    found
}

/// The first names of the path, or of each path of the group, that `::` at `at` leads to.
fn heads(code: &str, at: usize) -> Vec<(usize, String)> {
    let Some(start) = code[at..].find("::").map(|n| at + n + 2) else { return Vec::new() };
    let start = start + (code[start..].len() - code[start..].trim_start().len());
    if !code[start..].starts_with('{') {
        return identifiers(&code[start..])
            .first()
            .map(|&(n, name)| (start + n, name.to_owned()))
            .into_iter()
            .collect();
    }
    let end = closing(code, start);
    let mut depth = 0;
    let mut names = Vec::new();
    let mut expected = true;
    for (n, c) in code[start + 1..end].char_indices() {
        let at = start + 1 + n;
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => expected = true,
            c if expected && depth == 0 && (c.is_alphabetic() || c == '_') => {
                expected = false;
                names.push((at, identifiers(&code[at..])[0].1.to_owned()));
            }
            _ => {}
        }
    }
    names
}

fn imports(files: &[Source]) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in sources(files) {
        let Some(room) = file.room() else { continue };
        let Some(may) = allowed(room) else {
            breaches.push(format!("{}: the room {room} is not in the table", file.path));
            continue;
        };
        let inner = file.path.trim_end_matches("/mod.rs").trim_end_matches(".rs");
        let depth = inner.matches('/').count();
        let code = file.code();
        let product = file.product_code();
        for (at, name) in crate_paths(&code, depth) {
            let in_test = file.is_test() || product.as_bytes()[at] != code.as_bytes()[at];
            let doubles = in_test && name == "testing";
            if name != room && !may.contains(&name.as_str()) && !doubles {
                let line = line_of(&code, at);
                breaches.push(format!("{}:{line}: {room} may not import {name}", file.path));
            }
        }
    }
    breaches
}

/// Whether `code` imports something of this name from within the project.
fn imported(code: &str, name: &str) -> bool {
    identifiers(code).iter().any(|&(at, word)| {
        let before = code[..at].trim_end();
        let after = code[at + word.len()..].trim_start();
        let ends = after.starts_with([',', '}', ';']) || after.starts_with("::{self");
        word == name && before.ends_with(['{', ',', ':']) && ends
    })
}

/// Where the crate `name` is named in `code`: at the head of a path, or in a `use`.
fn named(code: &str, name: &str) -> Option<usize> {
    if imported(code, name) {
        return None;
    }
    let words = identifiers(code);
    words.iter().enumerate().find_map(|(index, &(at, word))| {
        let before = code[..at].trim_end();
        let after = code[at + word.len()..].trim_start();
        let previous = index.checked_sub(1).map_or("", |i| words[i].1);
        let global = before.ends_with("::")
            && !before
                .trim_end_matches(':')
                .trim_end()
                .ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '>');
        let head = after.starts_with("::") && (!before.ends_with("::") || global);
        let used = previous == "use" || (previous == "crate" && !before.ends_with("::"));
        (word == name && (head || used)).then_some(at)
    })
}

fn crates(files: &[Source]) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in sources(files) {
        let code = file.product_code();
        for (name, homes) in CRATES {
            if homes.iter().any(|home| file.path.starts_with(home)) {
                continue;
            }
            if let Some(at) = named(&code, name) {
                let line = line_of(&code, at);
                breaches.push(format!("{}:{line}: may not name {name}", file.path));
            }
        }
    }
    breaches
}

fn person(files: &[Source]) -> Vec<String> {
    let mut breaches = Vec::new();
    let others = sources(files).filter(|f| f.room() != Some("cli") && f.path != "src/main.rs");
    for file in others {
        let code = file.product_code();
        for (number, line) in code.lines().enumerate() {
            let mut ways = CLI_ONLY.iter().filter(|way| {
                line.match_indices(**way)
                    .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
            });
            if let Some(way) = ways.next() {
                breaches.push(format!("{}:{}: only cli may use {way}", file.path, number + 1));
            }
        }
    }
    breaches
}

fn unsafety(files: &[Source]) -> Vec<String> {
    let mut breaches = Vec::new();
    let others = files.iter().filter(|f| f.is_rust() && !f.path.starts_with("src/sys/"));
    for file in others {
        let code = file.code();
        let words = identifiers(&code);
        for (index, &(at, word)) in words.iter().enumerate() {
            let previous = index.checked_sub(1).map_or("", |i| words[i].1);
            let eased = word == "unsafe_code" && (previous == "allow" || previous == "expect");
            if word == "unsafe" || eased {
                let line = line_of(&code, at);
                breaches.push(format!("{}:{line}: {word} outside sys", file.path));
            }
        }
    }
    breaches
}

fn spellings(files: &[Source]) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in sources(files).filter(|f| f.room() != Some("testing")) {
        let text = file.product_text();
        for (word, home) in SPELLED_ONCE {
            if let Some(at) = text.find(word).filter(|_| file.path != *home) {
                let line = line_of(&text, at);
                breaches.push(format!("{}:{line}: only {home} spells {word}", file.path));
            }
        }
    }
    breaches
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    none(&imports(&project()));
}

#[test]
fn the_table_leads_downward_only() {
    for (level, room, may) in ROOMS {
        for other in *may {
            let below = ROOMS.iter().find(|r| r.1 == *other).unwrap().0;
            assert!(below < *level, "{room} may not be allowed {other}");
        }
    }
}

#[test]
fn the_architecture_page_has_the_same_table() {
    let files = project();
    let page = files.iter().find(|f| f.path == "docs/ARCHITECTURE.md").unwrap();
    for (level, room, may) in ROOMS {
        let row = page.text.lines().find(|l| l.starts_with(&format!("| {level} | `{room}` |")));
        let row = row.unwrap_or_else(|| panic!("no row for {room}"));
        let cell = row.split('|').nth(4).unwrap().trim();
        let said: Vec<_> = match cell {
            "-" => Vec::new(),
            "all below" => ROOMS.iter().filter(|r| r.0 < *level).map(|r| r.1).collect(),
            names => names.split(' ').collect(),
        };
        let mut said = said;
        let mut table = may.to_vec();
        said.sort_unstable();
        table.sort_unstable();
        assert_eq!(said, table, "{room}");
    }
}

#[test]
fn every_way_to_import_upward_is_found() {
    for (path, text, what) in [
        ("src/union/a.rs", "use crate::fuse::Driver;", "union may not import fuse"),
        ("src/union/a.rs", "use crate::{tree::Name, upper::{Mark, x}};", "not import upper"),
        ("src/union/mod.rs", "fn f() { super::store::open(); }", "not import store"),
        ("src/union/a.rs", "use super::super::run;", "not import run"),
        ("src/blob/a.rs", "fn f(x: crate::union::Union) {}", "not import union"),
        ("src/tree/a.rs", "use crate as all;", "not import crate"),
        ("src/oci/a.rs", "use crate::testing::Double;", "not import testing"),
        ("src/attic/a.rs", "", "not in the table"),
        ("src/oci/a.rs", "#[cfg(test)]\nmod tests { use crate::blob::X; }", "not import blob"),
    ] {
        one(imports, &[(path, text)], what);
    }
}

#[test]
fn imports_that_are_allowed_pass() {
    let text = "use crate::{tree::Name, union::merge};\nuse super::super::tree;\nuse super::x;\n\
                // crate::fuse\n#[cfg(test)]\nmod tests { use crate::testing::MemLayer; }";
    none(&imports(&[Source::new("src/union/a.rs", text)]));
}

#[test]
fn crates_are_named_in_their_rooms_only() {
    none(&crates(&project()));
}

#[test]
fn a_crate_named_elsewhere_is_found() {
    for (path, text, name) in [
        ("src/union/a.rs", "use fuser::Session;", "fuser"),
        ("src/run/a.rs", "fn f() { ::libc::getpid(); }", "libc"),
        ("src/upper/work.rs", "use tar;", "tar"),
        ("src/store/a.rs", "extern crate ureq;", "ureq"),
        ("src/image/a.rs", "#[derive(clap::Parser)]\nstruct A;", "clap"),
    ] {
        one(crates, &[(path, text)], &format!("may not name {name}"));
    }
    let own = "use crate::testing::tar::Dsl; fn f(tar: u8) { let libc = tar; }";
    let ours = "use crate::sys::{caps::{self, Set}, pty};\nfn f() { caps::limit(); }";
    let homes = [
        ("src/store/a.rs", own),
        ("src/run/a.rs", ours),
        ("src/upper/diff.rs", "use tar::Builder;"),
    ];
    none(&crates(&homes.map(|(path, text)| Source::new(path, text))));
}

#[test]
fn only_cli_prints_reads_the_environment_and_exits() {
    none(&person(&project()));
}

#[test]
fn printing_the_environment_and_exits_are_found_elsewhere() {
    for text in [
        "fn f() { println!(); }",
        "fn f() { std::process::exit(1); }",
        "fn f() { std::env::var_os(\"HOME\"); }",
        "fn f() { std::io::stdout().lock(); }",
    ] {
        one(person, &[("src/image/a.rs", text)], "only cli may use");
    }
    let fine = "#[cfg(test)]\nmod tests { fn f() { println!(); } }\nfn g() { c.stdout(x); }";
    let files = [("src/image/a.rs", fine), ("src/cli/a.rs", "fn f() { println!(); }")];
    none(&person(&files.map(|(path, text)| Source::new(path, text))));
}

#[test]
fn only_sys_is_unsafe() {
    none(&unsafety(&project()));
}

#[test]
fn unsafe_code_elsewhere_is_found() {
    for (path, text) in [
        ("src/fuse/a.rs", "fn f() { unsafe { g() } }"),
        ("src/fuse/a.rs", "#![allow(unsafe_code)]"),
        ("tests/it/a.rs", "unsafe fn f() {}"),
        ("mount-helper/src/main.rs", "#[expect(unsafe_code)]\nfn f() {}"),
    ] {
        one(unsafety, &[(path, text)], "outside sys");
    }
    none(&unsafety(&[Source::new("mount-helper/src/main.rs", "#![forbid(unsafe_code)]")]));
}

#[test]
fn marks_are_spelled_in_one_file_each() {
    none(&spellings(&project()));
}

#[test]
fn a_second_spelling_of_a_mark_is_found() {
    one(spellings, &[("src/layer/a.rs", "const W: &[u8] = b\".wh.\";")], "spells .wh.");
    one(spellings, &[("src/union/a.rs", "f(\"user.overlay.opaque\")")], "src/upper/mark.rs spells");
    let fine = "// .wh. in a comment\n#[cfg(test)]\nmod tests { const A: &str = \".wh.a\"; }";
    none(&spellings(&[Source::new("src/layer/a.rs", fine)]));
}
