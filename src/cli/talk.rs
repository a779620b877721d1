//! What is said on stderr while a command works: the log, without tearing progress bars.

use std::borrow::Cow;
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

/// A text in one line with nothing in it that a terminal would obey: what a registry answered, or
/// what an image says of itself, is no business of the terminal's.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| -> String {
        if c.is_control() { c.escape_default().collect() } else { c.into() }
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Writes a line to stderr.
pub(super) fn say(line: &str) {
    write(&harmless(line));
}

/// Writes a line to stderr after a word of its own colour, which is left out where it does not
/// belong.
pub(super) fn say_after(word: &str, colour: AnsiColor, line: &str) {
    let style = Style::new().bold().fg_color(Some(colour.into()));
    write(&format!("{style}{word}{style:#} {}", harmless(line)));
}

/// Writes a line to stderr. When that fails there is nobody to tell.
fn write(line: &str) {
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
    say_after("warning:", AnsiColor::Yellow, text);
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
        let (word, colour) = match record.level() {
            Level::Error => ("error:", AnsiColor::Red),
            Level::Warn => ("warning:", AnsiColor::Yellow),
            Level::Info => ("info:", AnsiColor::Green),
            Level::Debug => ("debug:", AnsiColor::Blue),
            Level::Trace => ("trace:", AnsiColor::Cyan),
        };
        say_after(word, colour, &record.args().to_string());
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
