//! Times as people and images write them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds of a day, an hour and a minute.
const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;
const MINUTE: i64 = 60;

/// The time in seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// The seconds since 1970 of an RFC 3339 time, as an image config has it: fractions are dropped.
/// `None` for other texts.
pub(super) fn parse(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let is = |at: usize, wanted: &[u8]| text.as_bytes().get(at).is_some_and(|b| wanted.contains(b));
    let marks = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let fits = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !marks || !fits {
        return None;
    }
    let rest = text.get(19..)?;
    let zone = rest
        .strip_prefix('.')
        .map_or(rest, |fraction| fraction.trim_start_matches(|c: char| c.is_ascii_digit()));
    let time = hour * HOUR + minute * MINUTE + second;
    Some(days_before(year, month, day) * DAY + time - offset(zone)?)
}

/// The seconds that a zone is ahead of UTC: `Z`, `+01:00`.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let two = |text: &str| (text.len() == 2).then(|| text.parse::<u8>().ok()).flatten();
    let seconds = i64::from(two(hours)?) * HOUR + i64::from(two(minutes)?) * MINUTE;
    match zone.as_bytes().first()? {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar. Years begin in March here, so that the
/// day that may be missing is the last of the year.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + leap_days + day_of_year - 719_468
}

/// How long ago `then` is, in the words of docker: `3 weeks ago`. Both in seconds since 1970.
pub(super) fn ago(then: i64, now: i64) -> String {
    let seconds = now.saturating_sub(then);
    let units = [
        (2 * 365 * DAY, 365 * DAY, "years"),
        (60 * DAY, 30 * DAY, "months"),
        (14 * DAY, 7 * DAY, "weeks"),
        (48 * HOUR, DAY, "days"),
        (90 * MINUTE, HOUR, "hours"),
        (2 * MINUTE, MINUTE, "minutes"),
        (2, 1, "seconds"),
    ];
    if (HOUR - 14 * MINUTE..90 * MINUTE).contains(&seconds) {
        return "About an hour ago".to_owned();
    }
    if (MINUTE..2 * MINUTE).contains(&seconds) {
        return "About a minute ago".to_owned();
    }
    for (from, unit, name) in units {
        if seconds >= from {
            return format!("{} {name} ago", seconds / unit);
        }
    }
    "Less than a second ago".to_owned()
}

#[cfg(test)]
mod tests {
    use super::{ago, parse};

    #[test]
    fn times_of_image_configs_are_read() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", -1),
            ("2000-02-29T12:00:00.999999999Z", 951_825_600),
            ("2024-12-31T23:59:60Z", 1_735_689_600),
            ("2026-11-21T02:00:00+01:00", 1_795_222_800),
            ("2026-11-20T20:30:00-04:30", 1_795_222_800),
            ("0001-01-01T00:00:00Z", -62_135_596_800),
        ] {
            assert_eq!(parse(text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "2026-11-21",
            "2026-11-21T02:00:00",
            "2026-13-21T02:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T02:00:00+0100",
            "2026-11-21T02:00:00é",
            "2026-11-2éT02:00:00Z",
            "+026-11-21T02:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn ages_are_said_as_docker_says_them() {
        for (seconds, said) in [
            (-5, "Less than a second ago"),
            (0, "Less than a second ago"),
            (59, "59 seconds ago"),
            (60, "About a minute ago"),
            (120, "2 minutes ago"),
            (45 * 60, "45 minutes ago"),
            (46 * 60, "About an hour ago"),
            (90 * 60, "1 hours ago"),
            (47 * 3600, "47 hours ago"),
            (48 * 3600, "2 days ago"),
            (13 * 86_400, "13 days ago"),
            (14 * 86_400, "2 weeks ago"),
            (60 * 86_400, "2 months ago"),
            (3 * 365 * 86_400, "3 years ago"),
        ] {
            assert_eq!(ago(0, seconds), said, "{seconds}");
        }
    }
}
