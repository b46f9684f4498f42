//! HTTP-dates (RFC 9110 §5.6.7), in their three forms. Not by httpdate, whose code is 5 KB of WebAssembly.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `w` and `W` are the name of the weekday, `n` is that of the month, and other small letters are a digit of a number each.
const FORMS: [&str; 4] =
    ["w, dd n yyyy hh:mm:ss GMT", "W, dd-n-yy hh:mm:ss GMT", "w n  d hh:mm:ss yyyy", "w n dd hh:mm:ss yyyy"];
/// From that of 1 January 1970 on.
const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
/// The months, and the days of the year before each.
const MONTHS: [(&str, u64); 12] = [
    ("Jan", 0),
    ("Feb", 31),
    ("Mar", 59),
    ("Apr", 90),
    ("May", 120),
    ("Jun", 151),
    ("Jul", 181),
    ("Aug", 212),
    ("Sep", 243),
    ("Oct", 273),
    ("Nov", 304),
    ("Dec", 334),
];

/// The time that a date names. `None` if it has none of the forms, names a day that does not exist or another weekday, or is before
/// 1970.
pub fn parse_date(text: &str) -> Option<SystemTime> {
    FORMS.iter().find_map(|form| read(form.as_bytes(), text.trim_ascii().as_bytes()))
}

fn read(form: &[u8], mut text: &[u8]) -> Option<SystemTime> {
    let (mut weekday, mut month) = (0, 0);
    let (mut year, mut day, mut hour, mut minute, mut second) = (0, 0, 0, 0, 0);
    for letter in form {
        let number = match letter {
            b'w' | b'W' => {
                let length = if *letter == b'w' { 3 } else { usize::MAX };
                let names = WEEKDAYS.map(|name| name.get(..length).unwrap_or(name));
                weekday = position(&mut text, names)?;
                continue;
            }
            b'n' => {
                month = position(&mut text, MONTHS.map(|(name, _)| name))?;
                continue;
            }
            b'y' => &mut year,
            b'd' => &mut day,
            b'h' => &mut hour,
            b'm' => &mut minute,
            b's' => &mut second,
            literal => {
                text = text.strip_prefix(&[*literal])?;
                continue;
            }
        };
        let (digit, rest) = text.split_first()?;
        *number = *number * 10 + u64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        text = rest;
    }
    if form.starts_with(b"W") {
        year += if year < 70 { 2000 } else { 1900 };
    }
    let leap = |year: u64| u64::from(year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)));
    let first =
        |month: usize| MONTHS.get(month).map_or(365, |(_, days)| *days) + if month > 1 { leap(year) } else { 0 };
    let before = year.checked_sub(1970)? * 365 + (1970..year).map(leap).sum::<u64>();
    let days = before + first(month) + day.checked_sub(1)?;
    let exists = days < before + first(month + 1) && hour < 24 && minute < 60 && second < 60;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    (text.is_empty() && exists && days % 7 == weekday as u64).then(|| UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Skips the name that the text starts with.
fn position<const N: usize>(text: &mut &[u8], names: [&str; N]) -> Option<usize> {
    names.iter().position(|name| {
        let rest = text.strip_prefix(name.as_bytes());
        *text = rest.unwrap_or(text);
        rest.is_some()
    })
}
