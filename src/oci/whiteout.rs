//! How an image layer spells a whiteout (image-spec, layer.md, "Whiteouts"): the only place that
//! knows `.wh.`.

/// What the base name of an archive entry means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling<'a> {
    /// A file of that name.
    Plain(&'a [u8]),
    /// `.wh.NAME`: lower layers' `NAME` is deleted.
    Whiteout(&'a [u8]),
    /// `.wh..wh..opq`: what lower layers have in this directory is deleted.
    Opaque,
    /// Other `.wh..wh.` names, which AUFS kept for itself: never shown, no meaning.
    Reserved,
    /// `.wh.` alone: an error.
    Invalid,
}

const PREFIX: &[u8] = b".wh.";
const META: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Reads the base name of an archive entry.
#[must_use]
pub fn read(base: &[u8]) -> Spelling<'_> {
    if base == OPAQUE {
        return Spelling::Opaque;
    }
    if base.starts_with(META) {
        return Spelling::Reserved;
    }
    match base.strip_prefix(PREFIX) {
        None => Spelling::Plain(base),
        Some(b"" | b"." | b"..") => Spelling::Invalid,
        Some(name) => Spelling::Whiteout(name),
    }
}

/// The base name that deletes `name` from lower layers.
#[must_use]
pub fn whiteout(name: &[u8]) -> Vec<u8> {
    [PREFIX, name].concat()
}

/// The base name that makes its directory opaque.
#[must_use]
pub fn opaque() -> &'static [u8] {
    OPAQUE
}

#[cfg(test)]
mod tests {
    use super::{Spelling, opaque, read, whiteout};

    #[test]
    fn each_spelling_has_its_one_meaning() {
        assert_eq!(read(b"x"), Spelling::Plain(b"x"));
        assert_eq!(read(b".whx"), Spelling::Plain(b".whx"));
        assert_eq!(read(&whiteout(b"x")), Spelling::Whiteout(b"x"));
        assert_eq!(read(opaque()), Spelling::Opaque);
        assert_eq!(read(b".wh..wh.plnk"), Spelling::Reserved);
        assert_eq!(read(b".wh..wh.aufs"), Spelling::Reserved);
        for name in [&b".wh."[..], b".wh..", b".wh..."] {
            assert_eq!(read(name), Spelling::Invalid);
        }
    }
}
