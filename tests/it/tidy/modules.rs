//! No file is forgotten: each Rust file is reached from a root that cargo builds.

use std::collections::{BTreeSet, HashMap};

use super::source::{Source, identifiers};
use super::{none, one, project};

/// Whether cargo builds the file by its place alone.
fn is_root(path: &str) -> bool {
    let parts: Vec<_> = path.split('/').collect();
    matches!(
        parts[..],
        ["src", "lib.rs" | "main.rs"]
            | ["mount-helper", "src", "main.rs"]
            | ["mount-helper", "tests", _]
            | ["tests" | "examples" | "benches", _]
            | ["tests" | "examples" | "benches", _, "main.rs"]
    )
}

/// The files that the module lines of `file` name: for each line, the places it may stand for.
fn named(file: &Source) -> Vec<Vec<String>> {
    let dir = file.path.rsplit_once('/').map_or("", |d| d.0);
    let stem = file.path.trim_end_matches(".rs");
    let owns_dir = file.path.ends_with("/mod.rs") || is_root(&file.path);
    let children = if owns_dir { dir } else { stem };
    let text = file.without_comments();
    let code = file.code();
    let words = identifiers(&code);
    let mut found = Vec::new();
    for pair in words.windows(2) {
        let [(at, word), (name_at, name)] = *pair else { continue };
        if word != "mod" || !code[name_at + name.len()..].trim_start().starts_with(';') {
            continue;
        }
        // The attributes of the item stand between the end of the one before and its name.
        let begin = code[..at].rfind([';', '}', '{']).map_or(0, |n| n + 1);
        let given = text[begin..at].split("path = \"").nth(1).and_then(|p| p.split('"').next());
        found.push(match given {
            Some(path) => vec![normal(&format!("{dir}/{path}"))],
            None => vec![format!("{children}/{name}.rs"), format!("{children}/{name}/mod.rs")],
        });
    }
    found
}

fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn forgotten(files: &[Source]) -> Vec<String> {
    let rust: HashMap<_, _> =
        files.iter().filter(|f| f.is_rust()).map(|f| (f.path.as_str(), f)).collect();
    let mut reached = BTreeSet::new();
    let mut next: Vec<_> = rust.values().filter(|f| is_root(&f.path)).copied().collect();
    while let Some(file) = next.pop() {
        if !reached.insert(file.path.clone()) {
            continue;
        }
        let children = named(file).into_iter().flatten();
        next.extend(children.filter_map(|path| rust.get(path.as_str())));
    }
    let mut breaches: Vec<_> = rust
        .keys()
        .filter(|path| !reached.contains(**path) && !path.starts_with("fuzz/"))
        .map(|path| format!("{path}: no module line leads to it"))
        .collect();
    breaches.sort();
    breaches
}

#[test]
fn no_file_is_forgotten() {
    none(&forgotten(&project()));
}

#[test]
fn a_forgotten_file_is_found() {
    let main = ("tests/it/main.rs", "mod a;\n// mod b;\n#[path = \"../shared/c.rs\"]\nmod c;");
    let reached = [("tests/it/a/mod.rs", "mod d;"), ("tests/it/a/d.rs", "mod e;")];
    let more = [("tests/it/a/d/e.rs", ""), ("tests/shared/c.rs", ""), ("tests/fuse/main.rs", "")];
    let mut files = vec![main];
    files.extend(reached);
    files.extend(more);
    none(&forgotten(&files.iter().map(|(p, t)| Source::new(p, t)).collect::<Vec<_>>()));
    files.push(("tests/it/b.rs", ""));
    one(forgotten, &files, "tests/it/b.rs");
}
