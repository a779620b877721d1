//! Progress of a pull: bars, lines or JSON, always on stderr.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::output::{short, size};
use super::talk::{bars, say};
use crate::image::{Progress, Step};
use crate::oci::Digest;

/// What is known of the layers: something of each.
type Table<T> = Mutex<HashMap<Digest, T>>;

/// The table, whatever became of a thread that held it: entries are whole at any time.
fn lock<T>(table: &Table<T>) -> MutexGuard<'_, HashMap<Digest, T>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

fn word(step: Step) -> &'static str {
    match step {
        Step::Waiting => "waiting for another mica",
        Step::Fetching => "fetching",
        Step::Storing => "storing",
        Step::Done => "done",
        Step::Present => "already here",
        Step::Failed => "failed",
    }
}

/// A bar for each layer, for a terminal.
#[derive(Debug, Default)]
pub(super) struct Bars {
    bars: Table<ProgressBar>,
}

impl Bars {
    fn style(step: Step) -> ProgressStyle {
        let template = match step {
            Step::Fetching => {
                "{prefix}  {decimal_total_bytes:>10}  [{wide_bar}]  {decimal_bytes:>10} \
                 {decimal_bytes_per_sec:>12}  {eta:>4}"
            }
            _ => "{prefix}  {decimal_total_bytes:>10}  {msg}",
        };
        // The templates are ours; a mistake in one shows as indicatif's own bar.
        ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ")
    }
}

impl Progress for Bars {
    fn layers(&self, layers: &[(Digest, u64)]) {
        let mut table = lock(&self.bars);
        for (digest, size) in layers {
            table.entry(*digest).or_insert_with(|| {
                let bar = bars().add(ProgressBar::new(*size));
                bar.set_prefix(short(&digest.hex()));
                bar.set_style(Self::style(Step::Waiting));
                bar
            });
        }
    }

    fn step(&self, layer: &Digest, step: Step) {
        let Some(bar) = lock(&self.bars).get(layer).cloned() else { return };
        bar.set_style(Self::style(step));
        match step {
            Step::Waiting | Step::Storing => bar.set_message(word(step)),
            Step::Fetching => bar.reset(),
            Step::Done | Step::Present => bar.finish_with_message(word(step)),
            Step::Failed => bar.abandon_with_message(word(step)),
        }
    }

    fn fetched(&self, layer: &Digest, bytes: u64) {
        if let Some(bar) = lock(&self.bars).get(layer) {
            bar.set_position(bytes);
        }
    }
}

/// A line for each layer when it is there.
#[derive(Debug, Default)]
pub(super) struct Plain {
    sizes: Table<u64>,
}

impl Progress for Plain {
    fn layers(&self, layers: &[(Digest, u64)]) {
        lock(&self.sizes).extend(layers.iter().copied());
    }

    fn step(&self, layer: &Digest, step: Step) {
        if matches!(step, Step::Fetching | Step::Storing) {
            return;
        }
        let bytes = lock(&self.sizes).get(layer).copied().unwrap_or_default();
        say(&format!("{}: {}, {}", short(&layer.hex()), size(bytes), word(step)));
    }

    fn fetched(&self, _layer: &Digest, _bytes: u64) {}
}

/// How many bytes have to come before another line says so.
const JSON_STEP: u64 = 1 << 20;

/// A JSON object in a line for each event.
#[derive(Debug, Default)]
pub(super) struct JsonLines {
    layers: Table<Shown>,
}

/// What was last said of a layer.
#[derive(Debug, Clone, Copy)]
struct Shown {
    size: u64,
    bytes: u64,
}

impl JsonLines {
    fn say(layer: &Digest, shown: Shown, step: &str) {
        let (bytes, size) = (shown.bytes, shown.size);
        say(&json!({"layer": layer, "step": step, "bytes": bytes, "size": size}).to_string());
    }
}

impl Progress for JsonLines {
    fn layers(&self, layers: &[(Digest, u64)]) {
        let shown = layers.iter().map(|(digest, size)| (*digest, Shown { size: *size, bytes: 0 }));
        lock(&self.layers).extend(shown);
    }

    fn step(&self, layer: &Digest, step: Step) {
        let step = match step {
            Step::Waiting => "waiting",
            Step::Fetching => "fetching",
            Step::Storing => "storing",
            Step::Done => "done",
            Step::Present => "present",
            Step::Failed => "failed",
        };
        let mut table = lock(&self.layers);
        let Some(shown) = table.get_mut(layer) else { return };
        if matches!(step, "done" | "present") {
            shown.bytes = shown.size;
        }
        Self::say(layer, *shown, step);
    }

    fn fetched(&self, layer: &Digest, bytes: u64) {
        let mut table = lock(&self.layers);
        let Some(shown) = table.get_mut(layer) else { return };
        if bytes.saturating_sub(shown.bytes) >= JSON_STEP {
            shown.bytes = bytes;
            Self::say(layer, *shown, "fetching");
        }
    }
}
