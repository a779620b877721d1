//! The fields of archive headers: numbers, times, and PAX records (POSIX.1-2017, pax,
//! "pax Extended Header"; GNU tar manual, "Extended headers" and "Storing sparse files").

use super::error::Problem;
use crate::tree::{Time, Xattr};

/// What the PAX records of one entry say. Later records of a name replace earlier ones.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) sparse: PaxSparse,
}

/// What the `GNU.sparse.` records say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PaxSparse {
    /// 1 when the map stands before the data (format 1.0).
    pub(super) major: u64,
    /// `GNU.sparse.name`: the name of the file, in the place of a made-up one.
    pub(super) name: Option<Vec<u8>>,
    /// `GNU.sparse.size` or `GNU.sparse.realsize`.
    pub(super) size: Option<u64>,
    /// Offsets and lengths, one after the other (formats 0.0 and 0.1).
    pub(super) map: Option<Vec<u64>>,
}

/// The most bytes of the value of an extended attribute, and of all names together
/// (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const XATTR_MAX: usize = 64 * 1024;

impl Pax {
    /// Reads the records of an extended header.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, Problem> {
        let mut pax = Self::default();
        // Some writers pad with NULs.
        while let Some(&first) = bytes.first()
            && first != 0
        {
            let (key, value, rest) = record(bytes).ok_or(Problem::Malformed("a PAX record"))?;
            pax.take(key, value)?;
            bytes = rest;
        }
        let names: usize = pax.xattrs.iter().map(|(name, _)| name.len() + 1).sum();
        if names > XATTR_MAX {
            return Err(Problem::TooLong("the list of extended attributes"));
        }
        Ok(pax)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        // An empty value takes back what the header itself says: as if it were not there.
        let text = (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = text,
            b"linkpath" => self.linkpath = text,
            b"size" => self.size = decimal(value, "the PAX size")?,
            b"uid" => self.uid = id(value, "the PAX uid")?,
            b"gid" => self.gid = id(value, "the PAX gid")?,
            b"mtime" => self.mtime = time(value)?,
            b"GNU.sparse.major" => self.sparse.major = sparse_number(value)?,
            b"GNU.sparse.name" => self.sparse.name = text,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                self.sparse.size = Some(sparse_number(value)?);
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                self.sparse.map.get_or_insert_default().push(sparse_number(value)?);
            }
            b"GNU.sparse.map" => {
                let numbers = value.split(|&b| b == b',').filter(|part| !part.is_empty());
                self.sparse.map = Some(numbers.map(sparse_number).collect::<Result<_, _>>()?);
            }
            key => return self.take_xattr(key, value),
        }
        Ok(())
    }

    fn take_xattr(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            self.set_xattr(name.to_vec(), value.to_vec(), true)
        } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            let malformed = Problem::Malformed("a LIBARCHIVE.xattr record");
            let value = base64(value).ok_or(malformed.clone())?;
            self.set_xattr(percent(name).ok_or(malformed)?, value, false)
        } else {
            Ok(())
        }
    }

    /// The raw form of an attribute goes before the other, whichever comes first.
    fn set_xattr(&mut self, name: Vec<u8>, value: Vec<u8>, wins: bool) -> Result<(), Problem> {
        if is_overlay_mark(&name) {
            return Ok(());
        }
        if name.is_empty() || name.contains(&0) {
            return Err(Problem::NoName("an extended attribute"));
        }
        if name.len() > 255 || value.len() > XATTR_MAX {
            return Err(Problem::TooLong("an extended attribute"));
        }
        let (name, value) = (name.into_boxed_slice(), value.into_boxed_slice());
        match self.xattrs.iter_mut().find(|(known, _)| *known == name) {
            Some(known) if wins => known.1 = value,
            Some(_) => {}
            None => self.xattrs.push((name, value)),
        }
        Ok(())
    }
}

/// Whether an attribute is one by which overlayfs keeps its books: it is never part of an image,
/// and must not be taken for a mark when the kernel's overlayfs is stacked on the view.
fn is_overlay_mark(name: &[u8]) -> bool {
    let rest = name.strip_prefix(b"trusted.").or_else(|| name.strip_prefix(b"user."));
    rest.is_some_and(|rest| rest.starts_with(b"overlay."))
}

/// Takes one record, `LENGTH KEY=VALUE\n`, from the front of `bytes`.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|&b| b == b' ')?;
    let len = usize::try_from(digits(bytes.get(..space)?)?).ok()?;
    let (record, rest) = bytes.split_at_checked(len)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&b| b == b'=')?;
    Some((record.get(..equals)?, record.get(equals + 1..)?, rest))
}

/// A number in decimal digits and nothing else.
pub(super) fn digits(text: &[u8]) -> Option<u64> {
    let all_digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    all_digits.then_some(())?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn decimal(value: &[u8], field: &'static str) -> Result<Option<u64>, Problem> {
    if value.is_empty() {
        return Ok(None);
    }
    digits(value).map(Some).ok_or(Problem::Number(field))
}

fn sparse_number(value: &[u8]) -> Result<u64, Problem> {
    digits(value).ok_or(Problem::Number("a part of the sparse map"))
}

fn id(value: &[u8], field: &'static str) -> Result<Option<u32>, Problem> {
    let number = decimal(value, field)?;
    number.map(|number| owner(i128::from(number), field)).transpose()
}

/// A user or group; the number that chown(2) takes for "none" is none.
pub(super) fn owner(number: i128, field: &'static str) -> Result<u32, Problem> {
    let id = u32::try_from(number).ok().filter(|&id| id != u32::MAX);
    id.ok_or(Problem::Number(field))
}

/// Seconds with an optional fraction, negative before 1970.
fn time(value: &[u8]) -> Result<Option<Time>, Problem> {
    const WRONG: Problem = Problem::Number("the PAX mtime");
    if value.is_empty() {
        return Ok(None);
    }
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(value) => (true, value),
        None => (false, value),
    };
    let mut parts = value.splitn(2, |&b| b == b'.');
    let whole = digits(parts.next().unwrap_or_default()).ok_or(WRONG)?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(WRONG);
    }
    let places = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanos = places.fold(0, |nanos: u32, digit| nanos * 10 + u32::from(digit - b'0'));
    let secs = i64::try_from(whole).map_err(|_| WRONG)?;
    Ok(Some(match (negative, nanos) {
        (false, nanos) => Time { secs, nanos },
        (true, 0) => Time { secs: -secs, nanos },
        (true, nanos) => Time { secs: -secs - 1, nanos: 1_000_000_000 - nanos },
    }))
}

/// A number field of a header: octal digits with blanks around them, or, with the highest bit
/// set, big-endian two's complement (GNU base-256). Empty is 0.
pub(super) fn number(field: &[u8], name: &'static str) -> Result<i128, Problem> {
    const WRONG: fn(&'static str) -> Problem = Problem::Number;
    let Some(&first) = field.first() else { return Ok(0) };
    if first & 0x80 != 0 {
        let negative = first & 0x40 != 0;
        let start = i128::from(first & 0x3f) - if negative { 0x40 } else { 0 };
        let value = field
            .iter()
            .skip(1)
            .try_fold(start, |value, &byte| value.checked_mul(256)?.checked_add(i128::from(byte)));
        return value.ok_or(WRONG(name));
    }
    let blank = |b: &u8| *b == b' ' || *b == 0;
    let text = field.iter().skip_while(|b| blank(b)).take_while(|b| !blank(b));
    text.map(|b| if (b'0'..=b'7').contains(b) { Some(i128::from(b - b'0')) } else { None })
        .try_fold(0_i128, |value, digit| value.checked_mul(8)?.checked_add(digit?))
        .ok_or(WRONG(name))
}

/// RFC 4648, section 4, with or without padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"=").map_or(text, |t| t.strip_suffix(b"=").unwrap_or(t));
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for &digit in group {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        let count = match group.len() {
            4 => 3,
            3 => 2,
            2 => 1,
            _ => return None,
        };
        bits <<= 6 * (4 - u32::try_from(group.len()).ok()?);
        bytes.extend(bits.to_be_bytes().into_iter().skip(1).take(count));
    }
    Some(bytes)
}

/// RFC 3986, section 2.1.
fn percent(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        if byte == b'%' {
            let mut hex = || char::from(*rest.next()?).to_digit(16);
            let value = hex()? << 4 | hex()?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Pax, base64, number, percent};
    use crate::tree::Time;

    fn time(text: &str) -> Option<Time> {
        super::time(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_time_before_1970_with_a_fraction_is_rounded_down() {
        assert_eq!(time("1.5"), Some(Time { secs: 1, nanos: 500_000_000 }));
        assert_eq!(time("-1.25"), Some(Time { secs: -2, nanos: 750_000_000 }));
        assert_eq!(time("-1"), Some(Time { secs: -1, nanos: 0 }));
        assert_eq!(time("-0.000000001"), Some(Time { secs: -1, nanos: 999_999_999 }));
        assert_eq!(time("7.1234567899"), Some(Time { secs: 7, nanos: 123_456_789 }));
        for wrong in ["x", "1.x", "--1", "1.-5", ".5", "99999999999999999999"] {
            assert!(super::time(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_number_is_octal_or_base_256_of_either_sign() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"    644 ", 0o644),
            (b"\0\0\0\0", 0),
            (b"", 0),
            (b"77777777", 0o77_777_777),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", 256),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
        ] {
            assert_eq!(number(field, "x").unwrap(), value, "{field:?}");
        }
        assert!(number(b"12x4", "x").is_err());
        assert!(number(b"18", "x").is_err());
    }

    /// One record with its length in front.
    fn record(text: &[u8]) -> Vec<u8> {
        let digits = if text.len() + 4 < 100 { 2 } else { 3 };
        [format!("{} ", text.len() + digits + 2).as_bytes(), text, b"\n"].concat()
    }

    #[test]
    fn a_value_may_hold_newlines_equal_signs_and_nuls() {
        let pax = Pax::parse(&record(b"SCHILY.xattr.user.k=a\n=\0b\nc")).unwrap();
        assert_eq!(&*pax.xattrs[0].0, b"user.k");
        assert_eq!(&*pax.xattrs[0].1, b"a\n=\0b\nc");
    }

    #[test]
    fn a_libarchive_attribute_is_decoded_and_gives_way_to_the_raw_one() {
        let other = record(b"LIBARCHIVE.xattr.user.a%62=aGk");
        let pax = Pax::parse(&other).unwrap();
        assert_eq!((&*pax.xattrs[0].0, &*pax.xattrs[0].1), (&b"user.ab"[..], &b"hi"[..]));
        let raw = record(b"SCHILY.xattr.user.ab=raw");
        for both in [[&raw[..], &other].concat(), [&other[..], &raw].concat()] {
            let pax = Pax::parse(&both).unwrap();
            assert_eq!((pax.xattrs.len(), &*pax.xattrs[0].1), (1, &b"raw"[..]));
        }
        assert_eq!(base64(b"aGkh").unwrap(), b"hi!");
        assert_eq!(base64(b"aA==").unwrap(), b"h");
        assert!(base64(b"a").is_none() && base64(b"a?==").is_none() && percent(b"%4").is_none());
    }

    #[test]
    fn what_overlayfs_keeps_for_itself_is_dropped() {
        let trusted = record(b"SCHILY.xattr.trusted.overlay.opaque=y");
        let user = record(b"SCHILY.xattr.user.overlay.opaque=y");
        assert_eq!(Pax::parse(&[trusted, user].concat()).unwrap().xattrs, []);
    }

    #[test]
    fn a_record_that_is_not_as_long_as_it_says_is_refused() {
        assert_eq!(Pax::parse(b"9 path=a\n").unwrap().path.unwrap(), b"a");
        for wrong in
            [&b"8 path=a\n"[..], b"11 path=a\n", b"x path=a\n", b"9 path_a\n", b"0 \n", b"99"]
        {
            assert!(Pax::parse(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }
}
