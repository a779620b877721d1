//! Where a command works and how it shows what it does.

use std::env;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use super::failure::{Failure, Result};
use super::options::{Global, ProgressMode};
use super::progress::{Bars, JsonLines, Plain};
use crate::image::{self, Progress, Quiet, Store};

/// What every command is given.
#[derive(Debug)]
pub(super) struct Context {
    root: PathBuf,
    progress: ProgressMode,
}

impl Context {
    pub(super) fn new(global: &Global) -> Result<Self> {
        let root = match &global.root {
            Some(root) => root.clone(),
            None => default_root(variable, image::is_root())?,
        };
        Ok(Self { root, progress: global.progress })
    }

    /// The store.
    pub(super) fn store(&self) -> Result<Store> {
        Store::open(&self.root).map_err(|error| {
            let what = format!("cannot open the store {}", self.root.display());
            Failure::of(what, &image::Error::from(error))
        })
    }

    /// Who shows progress; nobody if the command is to be `quiet`.
    pub(super) fn progress(&self, quiet: bool) -> Box<dyn Progress> {
        match self.progress {
            _ if quiet => Box::new(Quiet),
            ProgressMode::Auto if std::io::stderr().is_terminal() => Box::new(Bars::default()),
            ProgressMode::Auto | ProgressMode::Plain => Box::new(Plain::default()),
            ProgressMode::Json => Box::new(JsonLines::default()),
            ProgressMode::None => Box::new(Quiet),
        }
    }
}

/// A variable of the environment that is set to something.
fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where images are kept unless the command line says otherwise.
fn default_root(variable: impl Fn(&str) -> Option<PathBuf>, is_root: bool) -> Result<PathBuf> {
    if let Some(root) = variable("MICA_ROOT") {
        return Ok(root);
    }
    if is_root {
        return Ok(PathBuf::from("/var/lib/mica"));
    }
    // A relative path is to be ignored (XDG base directory specification).
    let data = variable("XDG_DATA_HOME").filter(|path| path.is_absolute());
    let home = || variable("HOME").filter(|path| path.is_absolute());
    let data = data.or_else(|| Some(home()?.join(".local/share")));
    data.map(|data| data.join("mica")).ok_or_else(|| {
        Failure::new("cannot tell where images are kept: HOME is not an absolute path")
            .hint("say where with --root or MICA_ROOT")
    })
}

#[cfg(test)]
mod tests {
    use super::{PathBuf, default_root};

    #[test]
    fn images_are_kept_where_the_environment_says() {
        for (variables, is_root, root) in [
            (&[("MICA_ROOT", "m"), ("HOME", "/h")][..], false, Some("m")),
            (&[("MICA_ROOT", "/m")], true, Some("/m")),
            (&[("XDG_DATA_HOME", "/x"), ("HOME", "/h")], true, Some("/var/lib/mica")),
            (&[("XDG_DATA_HOME", "/x"), ("HOME", "/h")], false, Some("/x/mica")),
            (&[("XDG_DATA_HOME", "x"), ("HOME", "/h")], false, Some("/h/.local/share/mica")),
            (&[("HOME", "h")], false, None),
            (&[], false, None),
        ] {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| PathBuf::from(value))
            };
            let found = default_root(variable, is_root);
            assert_eq!(found.ok(), root.map(PathBuf::from), "{variables:?}");
        }
    }
}
