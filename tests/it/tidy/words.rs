//! Words that have no place in the project. They are put together here so as not to stand here.

use super::source::Source;
use super::{none, one, project};

/// Marks of unfinished work.
const UNFINISHED: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

/// Hosts of package registries: where packages come from is a setting of the machine.
const HOSTS: &[&str] = &[
    concat!("crates", ".io"),
    concat!("deb", ".debian.org"),
    concat!("security", ".debian.org"),
    concat!("pypi", ".org"),
    concat!("npmjs", ".org"),
    concat!("proxy", ".golang.org"),
];

fn words(files: &[Source]) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            let mut said = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            let open = said.find(|word| UNFINISHED.contains(word));
            let host = HOSTS.iter().find(|host| line.contains(**host)).copied();
            if let Some(word) = open.or(host) {
                breaches.push(format!("{}:{}: says {word}", file.path, number + 1));
            }
        }
    }
    breaches
}

#[test]
fn nothing_is_left_open_and_no_package_registry_is_named() {
    none(&words(&project()));
}

#[test]
fn each_banned_word_is_found() {
    for word in UNFINISHED.iter().chain(HOSTS) {
        one(
            words,
            &[("scripts/a", &format!("x\n# {word}: y"))],
            &format!("scripts/a:2: says {word}"),
        );
    }
    none(&words(&[Source::new("a.md", "XXXL, a TODOS list")]));
}
