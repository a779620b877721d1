//! How data is laid out on stdout.

use std::fmt::Write as _;
use std::io::{Write as _, stdout};

use serde::Serialize;

use super::failure::{Failure, Result};
use super::talk::harmless;

/// The narrowest column, and the space between two, as podman has them.
const NARROWEST: usize = 12;
const GAP: usize = 2;

/// A table of left-aligned columns, with a line feed after each line.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<_>> =
        rows.iter().map(|row| row.iter().map(|cell| harmless(cell)).collect()).collect();
    let width = |column: usize| -> usize {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        let own = head.get(column).map_or(0, |cell| cell.chars().count());
        (cells.max().unwrap_or(0).max(own) + GAP).max(NARROWEST)
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            // Writing to a String cannot fail.
            let _infallible = write!(line, "{cell:width$}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(&mut head.iter().copied());
    for row in &rows {
        line(&mut row.iter().map(AsRef::as_ref));
    }
    text
}

/// A number of bytes in powers of 1000 with three digits that count, as docker and podman say it:
/// `124 MB`.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        // What would be rounded up to 1000 belongs to the next unit.
        if value >= 999.5 || unit == "B" {
            (value, unit) = (value / 1000.0, larger);
        }
    }
    let decimals = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// Writes data to stdout.
pub(super) fn print(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

/// Writes data to stdout.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// A value as JSON for people and programs, with a line feed at the end.
pub(super) fn json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new("cannot write JSON").because(&error))?;
    // Beyond those that JSON has to escape, some terminals obey these, too. They are in strings.
    let escape = |c: char| match c {
        '\u{7f}'..='\u{9f}' => format!("\\u{:04x}", u32::from(c)),
        _ => c.into(),
    };
    let text: String = match text.contains(|c| ('\u{7f}'..='\u{9f}').contains(&c)) {
        true => text.chars().map(escape).collect(),
        false => text,
    };
    Ok(text + "\n")
}

/// Whether `text` matches `pattern`, where `*` stands for any characters but `/`, and `?` for one.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some('*'), _) if matches(after_first(pattern), text) => true,
        (Some('*' | '?'), Some('/')) => false,
        (Some('*'), Some(_)) => matches(pattern, after_first(text)),
        (Some('?'), Some(_)) => matches(after_first(pattern), after_first(text)),
        (Some(wanted), Some(found)) if wanted == found => {
            matches(after_first(pattern), after_first(text))
        }
        _ => false,
    }
}

/// The text without its first character.
fn after_first(text: &str) -> &str {
    let mut rest = text.chars();
    rest.next();
    rest.as_str()
}

/// The first twelve digits of a digest, as people use them.
pub(super) fn short(hex: &str) -> String {
    hex.chars().take(12).collect()
}

/// A text cut to `width` characters, the last of them dots when something is missing.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(3)).collect();
    kept + "..."
}

#[cfg(test)]
mod tests {
    use super::{cut, json, matches, size, table};

    #[test]
    fn patterns_match_within_a_part_of_a_name() {
        for (pattern, text) in
            [("", ""), ("*", "debian"), ("*/debian", "a/debian"), ("d?b*:1*", "debian:12")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "x"), ("*", "a/b"), ("a?b", "a/b"), ("debian", "debian2"), ("?", ""), ("a*", "b")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn sizes_have_three_digits_that_count() {
        for (bytes, said) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (1_006, "1.01 kB"),
            (9_994, "9.99 kB"),
            (9_995, "10.0 kB"),
            (99_949, "99.9 kB"),
            (99_950, "100 kB"),
            (123_456_789, "123 MB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (1_150_000_000, "1.15 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(size(bytes), said, "{bytes}");
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_have_no_end_of_blanks() {
        let rows = vec![vec!["a long first cell".to_owned(), "b".into(), String::new()]];
        assert_eq!(
            table(&["X", "Y", "Z"], &rows),
            "X                  Y           Z\na long first cell  b\n"
        );
    }

    #[test]
    fn a_cell_stays_in_its_line_and_commands_no_terminal() {
        let rows = vec![vec!["a\u{1b}[2J\nb\u{9b}31m".to_owned()]];
        assert_eq!(table(&["X"], &rows), "X\na\\u{1b}[2J\\nb\\u{9b}31m\n");
    }

    #[test]
    fn json_keeps_what_it_holds_and_commands_no_terminal() {
        let text = json(&"a\u{1b}\u{7f}\u{9b}é\n").unwrap();
        assert_eq!(text, "\"a\\u001b\\u007f\\u009bé\\n\"\n");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), "a\u{1b}\u{7f}\u{9b}é\n");
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer text", 7), "long...");
        assert_eq!(cut("ääääää", 5), "ää...");
    }
}
