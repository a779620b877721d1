//! `mica images`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::options::Format;
use crate::cli::output::{self, matches, short, size};
use crate::cli::time;
use crate::image::{Listed, list};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mica images
  mica images debian
  mica images --filter 'reference=*/team/*' --format json
  mica rmi $(mica images -q)

SIZE is what the layers and the config have in bytes as they are stored: compressed.")]
pub(in crate::cli) struct Options {
    /// Only images of this REPOSITORY, or of this REPOSITORY:TAG
    name: Option<String>,
    /// Only IDs
    #[arg(short, long)]
    quiet: bool,
    /// Only images whose name matches: reference=PATTERN, where * stands for anything but /
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// `json` or `table`
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_possible_values = true)]
    format: Format,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Do not shorten IDs
    #[arg(long)]
    no_trunc: bool,
}

impl Options {
    pub(super) fn execute(&self, context: &Context) -> Result<ExitCode> {
        let patterns = self.patterns()?;
        let mut listed = list(&context.store()?)
            .map_err(|error| Failure::of("cannot list the images", &error))?;
        listed.retain(|found| {
            let wanted = |pattern: &String| names(found, pattern);
            self.name.as_ref().is_none_or(wanted) && patterns.iter().all(wanted)
        });
        // The newest first, as docker and podman have it.
        listed
            .sort_by_key(|found| (std::cmp::Reverse(created(found)), found.reference.to_string()));
        let text = match (self.quiet, self.format) {
            (true, _) => self.ids(&listed),
            (false, Format::Json) => json(&listed)?,
            (false, Format::Table) => self.table(&listed),
        };
        output::print(&text)?;
        Ok(ExitCode::SUCCESS)
    }

    fn patterns(&self) -> Result<Vec<String>> {
        let pattern = |filter: &String| match filter.split_once('=') {
            Some(("reference", pattern)) => Ok(pattern.to_owned()),
            _ => Err(Failure::new(format!("there is no filter \"{filter}\""))
                .hint("filter by name: --filter reference=PATTERN")),
        };
        self.filter.iter().map(pattern).collect()
    }

    fn id(&self, found: &Listed) -> String {
        let id = found.image.id();
        if self.no_trunc { id.to_string() } else { short(&id.hex()) }
    }

    fn ids(&self, listed: &[Listed]) -> String {
        let mut ids: Vec<String> = Vec::new();
        for id in listed.iter().map(|found| self.id(found)) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids.into_iter().map(|id| id + "\n").collect()
    }

    fn table(&self, listed: &[Listed]) -> String {
        let mut head = vec!["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"];
        if self.digests {
            head.insert(2, "DIGEST");
        }
        let now = time::now();
        let row = |found: &Listed| {
            let mut row = vec![
                found.reference.repository().to_string(),
                found.reference.tag().unwrap_or("<none>").to_owned(),
                self.id(found),
                created(found).map_or("N/A".to_owned(), |created| time::ago(created, now)),
                size(found.image.size()),
            ];
            if self.digests {
                row.insert(2, found.source.to_string());
            }
            row
        };
        output::table(&head, &listed.iter().map(row).collect::<Vec<_>>())
    }
}

/// When the image was made, as far as it says.
fn created(found: &Listed) -> Option<i64> {
    found.image.config.created.as_deref().and_then(time::parse)
}

/// Whether `pattern` names the image: in full, as docker shortens it, or without the registry;
/// with its tag or without.
fn names(found: &Listed, pattern: &str) -> bool {
    let repository = found.reference.repository();
    let bases = [repository.to_string(), repository.familiar(), repository.path().to_owned()];
    bases.iter().any(|base| {
        matches(pattern, base)
            || found.reference.tag().is_some_and(|tag| matches(pattern, &format!("{base}:{tag}")))
    })
}

fn json(listed: &[Listed]) -> Result<String> {
    let image = |found: &Listed| {
        json!({
            "Id": found.image.id(),
            "Names": [found.reference.to_string()],
            "Repository": found.reference.repository().to_string(),
            "Tag": found.reference.tag(),
            "Digest": found.source,
            "Manifest": found.image.digest,
            "Created": created(found),
            "CreatedAt": found.image.config.created,
            "Size": found.image.size(),
            "Labels": found.image.config.config.labels,
        })
    };
    output::json(&listed.iter().map(image).collect::<Vec<_>>())
}
