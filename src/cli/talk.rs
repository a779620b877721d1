//! What is said on stderr while a command works: the log, without tearing progress bars.

use std::io::Write as _;
use std::sync::OnceLock;

use anstyle::{AnsiColor, Style};
use indicatif::MultiProgress;
use log::{Level, LevelFilter, Log, Metadata, Record};

use super::options::LogLevel;

/// The bars that are on the terminal, if any; whoever writes to stderr writes above them.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// The progress bars of this process.
pub(super) fn bars() -> &'static MultiProgress {
    BARS.get_or_init(MultiProgress::new)
}

/// Writes a line to stderr. When that fails there is nobody to tell.
pub(super) fn say(line: &str) {
    let write = || {
        let _nobody_listens = writeln!(anstream::stderr().lock(), "{line}").is_err();
    };
    match BARS.get() {
        Some(bars) => bars.suspend(write),
        None => write(),
    }
}

/// Says what a person should know before going on.
pub(super) fn warn(text: &str) {
    say(&format!("{} {text}", coloured("warning:", AnsiColor::Yellow)));
}

/// A word in the colour of its kind, for [`say`], which leaves the colour out where it does not
/// belong.
pub(super) fn coloured(word: &str, colour: AnsiColor) -> String {
    let style = Style::new().bold().fg_color(Some(colour.into()));
    format!("{style}{word}{style:#}")
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries talk of their insides: only when asked for all there is.
        metadata.target().starts_with("mica") || log::max_level() == LevelFilter::Trace
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let label = match record.level() {
            Level::Error => coloured("error:", AnsiColor::Red),
            Level::Warn => coloured("warning:", AnsiColor::Yellow),
            Level::Info => coloured("info:", AnsiColor::Green),
            Level::Debug => coloured("debug:", AnsiColor::Blue),
            Level::Trace => coloured("trace:", AnsiColor::Cyan),
        };
        say(&format!("{label} {}", record.args()));
    }

    fn flush(&self) {}
}

/// From now on what is logged is said, down to `level`.
pub(super) fn start(level: LogLevel) {
    // A second call in one process finds the same logger in place.
    if log::set_logger(&Logger).is_ok() {
        log::debug!("logging to stderr");
    }
    log::set_max_level(match level {
        LogLevel::Off => LevelFilter::Off,
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Trace => LevelFilter::Trace,
    });
}
