//! `mica history`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::options::Format;
use crate::cli::output::{self, cut, short, size};
use crate::cli::time;
use crate::image::{Entry, Image, history};

/// How much of a command is shown.
const COMMAND: usize = 45;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mica history debian:12
  mica history --no-trunc --format json debian:12")]
pub(in crate::cli) struct Options {
    /// The name or ID of an image in the store
    image: String,
    /// Only IDs
    #[arg(short, long)]
    quiet: bool,
    /// `json` or `table`
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_possible_values = true)]
    format: Format,
    /// Do not shorten IDs and commands
    #[arg(long)]
    no_trunc: bool,
}

impl Options {
    pub(super) fn execute(&self, context: &Context) -> Result<ExitCode> {
        let (image, entries) = history(&context.store()?, &self.image).map_err(|error| {
            Failure::of(format!("cannot show the history of {}", self.image), &error)
        })?;
        let text = match (self.quiet, self.format) {
            (true, _) => (0..entries.len()).map(|n| self.id(&image, n) + "\n").collect(),
            (false, Format::Json) => json(&image, &entries)?,
            (false, Format::Table) => self.table(&image, &entries),
        };
        output::print(&text)?;
        Ok(ExitCode::SUCCESS)
    }

    /// The ID of the image that the `n`th entry completes: known of the newest only.
    fn id(&self, image: &Image, n: usize) -> String {
        match (n, self.no_trunc) {
            (0, true) => image.id().to_string(),
            (0, false) => short(&image.id().hex()),
            _ => "<missing>".to_owned(),
        }
    }

    fn table(&self, image: &Image, entries: &[Entry]) -> String {
        let now = time::now();
        let row = |(n, entry): (usize, &Entry)| {
            let created = entry.history.created.as_deref().and_then(time::parse);
            let by = one_line(entry.history.created_by.as_deref().unwrap_or_default());
            vec![
                self.id(image, n),
                created.map_or("N/A".to_owned(), |created| time::ago(created, now)),
                if self.no_trunc { by } else { cut(&by, COMMAND) },
                size(entry.layer.as_ref().map_or(0, |(layer, _)| layer.size)),
                one_line(entry.history.comment.as_deref().unwrap_or_default()),
            ]
        };
        let rows: Vec<_> = entries.iter().enumerate().map(row).collect();
        output::table(&["ID", "CREATED", "CREATED BY", "SIZE", "COMMENT"], &rows)
    }
}

/// The text in one line, with nothing in it that a terminal would obey.
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn json(image: &Image, entries: &[Entry]) -> Result<String> {
    let entry = |(n, entry): (usize, &Entry)| {
        let layer = entry.layer.as_ref();
        json!({
            "id": (n == 0).then_some(image.id()),
            "created": entry.history.created,
            "createdBy": entry.history.created_by,
            "comment": entry.history.comment,
            "emptyLayer": layer.is_none(),
            "layer": layer.map(|(layer, _)| layer.digest),
            "diffId": layer.map(|(_, diff_id)| *diff_id),
            "size": layer.map_or(0, |(layer, _)| layer.size),
        })
    };
    output::json(&entries.iter().enumerate().map(entry).collect::<Vec<_>>())
}
