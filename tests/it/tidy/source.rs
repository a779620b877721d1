//! Enough of Rust's lexical grammar to tell code from comments, strings and inline tests.

/// A file of the project.
#[derive(Clone)]
pub(super) struct Source {
    /// Where it is, from the top of the project, with `/`.
    pub(super) path: String,
    /// What it says.
    pub(super) text: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The text with every comment blanked; strings stay. Lines keep their numbers.
    pub(super) fn without_comments(&self) -> String {
        blank(&self.text, false)
    }

    /// The text with comments and what strings hold blanked. Lines keep their numbers.
    pub(super) fn code(&self) -> String {
        blank(&self.text, true)
    }

    /// As [`Source::code`], without inline test modules; nothing for a file of tests.
    pub(super) fn product_code(&self) -> String {
        if self.is_test() {
            String::new()
        } else {
            without_inline_tests(&self.code(), &self.code())
        }
    }

    /// As [`Source::product_code`], with strings.
    pub(super) fn product_text(&self) -> String {
        if self.is_test() {
            return String::new();
        }
        without_inline_tests(&self.without_comments(), &self.code())
    }

    /// Whether all of it is test code.
    pub(super) fn is_test(&self) -> bool {
        let in_tests = self.path.starts_with("tests/") || self.path.contains("/tests/");
        in_tests || self.path.ends_with("/tests.rs")
    }

    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The room it stands in: `union` for `src/union/merge.rs`; none for `src/lib.rs`.
    pub(super) fn room(&self) -> Option<&str> {
        let (room, rest) = self.path.strip_prefix("src/")?.split_once('/')?;
        (!rest.is_empty()).then_some(room)
    }
}

/// The number of the line that the byte at `at` stands on.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].iter().filter(|&&b| b == b'\n').count() + 1
}

/// The identifiers of `code` with where each begins.
pub(super) fn identifiers(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut start = None;
    for (at, c) in code.char_indices().chain([(code.len(), ' ')]) {
        let in_word = c.is_alphanumeric() || c == '_';
        match (start, in_word) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                found.push((from, &code[from..at]));
                start = None;
            }
            _ => {}
        }
    }
    found
}

/// Where the brace, parenthesis or bracket that opens at `open` closes (the end, if it does not).
pub(super) fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

fn without_inline_tests(text: &str, code: &str) -> String {
    let mut kept = text.as_bytes().to_vec();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        let attribute = from + found;
        // The item ends with its block, or at a semicolon that stands before any block.
        let end = match code[attribute..].find(['{', ';']).map(|at| attribute + at) {
            Some(at) if code.as_bytes()[at] == b'{' => closing(code, at),
            Some(at) => at,
            None => code.len(),
        };
        for byte in &mut kept[attribute..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        from = end;
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn blank(text: &str, strings: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (len, hide) = if rest.starts_with(b"//") {
            (rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len()), true)
        } else if rest.starts_with(b"/*") {
            (block_comment(rest), true)
        } else if let Some(len) = raw_string(bytes, at) {
            (len, strings)
        } else if rest[0] == b'"' {
            (quoted(rest), strings)
        } else if rest[0] == b'\'' {
            let len = char_literal(text, at);
            (len, strings && len > 1)
        } else {
            (1, false)
        };
        if hide {
            for byte in &mut out[at..at + len] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at += len;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let in_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    let prefix = [&b"r"[..], b"br", b"cr"].into_iter().find(|p| bytes[at..].starts_with(p))?;
    let rest = &bytes[at + prefix.len()..];
    let hashes = rest.iter().take_while(|&&b| b == b'#').count();
    if in_word || rest.get(hashes) != Some(&b'"') {
        return None;
    }
    let end = [&b"\""[..], &b"#".repeat(hashes)].concat();
    let body = &rest[hashes + 1..];
    let len = body.windows(end.len()).position(|w| w == end).unwrap_or(body.len());
    Some((prefix.len() + hashes + 1 + len + end.len()).min(bytes.len() - at))
}

fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of the character at `at`, or 1 for the quote of a lifetime.
fn char_literal(text: &str, at: usize) -> usize {
    let mut chars = text[at + 1..].char_indices();
    match chars.next() {
        Some((_, '\\')) => {
            let close = text[at + 3..].find('\'').map_or(text.len(), |n| at + 3 + n + 1);
            close.min(text.len()) - at
        }
        Some(_) => match chars.next() {
            Some((n, '\'')) => n + 2,
            _ => 1,
        },
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{Source, closing, identifiers};

    fn code(text: &str) -> String {
        Source::new("src/x/y.rs", text).code()
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        for hidden in [
            "// fuser",
            "/* fuser /* fuser */ fuser */",
            "\"fuser\"",
            "b\"\\\"fuser\"",
            "r#\"fuser \" fuser\"#",
            "br\"fuser\"",
        ] {
            let text = format!("a {hidden}\nb");
            assert_eq!(identifiers(&code(&text)).last().map(|i| i.1), Some("b"), "{text}");
            assert!(!code(&text).contains("fuser"), "{text}");
        }
    }

    #[test]
    fn quotes_of_lifetimes_and_of_characters_are_told_apart() {
        let kept = code("fn f<'a>(x: &'a str) { g('\"', '\\'', '\\u{7f}', b'\\\\'); fuser }");
        assert!(kept.contains("fuser"), "{kept}");
        assert!(kept.contains("x: &'a str"), "{kept}");
    }

    #[test]
    fn inline_tests_are_not_product_code() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { \"}\"; } }\nfn c() {}";
        let kept = Source::new("src/x/y.rs", text).product_code();
        let names: Vec<_> = identifiers(&kept).into_iter().map(|i| i.1).collect();
        assert_eq!(names, ["fn", "a", "fn", "c"]);
    }

    #[test]
    fn a_bracket_closes_at_its_own_level() {
        assert_eq!(closing("{a{b}c}d", 0), 6);
    }
}
