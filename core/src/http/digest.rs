//! `Repr-Digest` (RFC 9530 §3): digests of the whole representation, whatever range was sent.

use crate::checksum::{Algorithm, Checksum};
use crate::split::{cut, members};

/// The checksums that the lines of a `Repr-Digest` name. Other algorithms and malformed members are ignored; the last
/// member of an algorithm counts (RFC 8941 §4.2.2).
pub fn repr_digests<'h>(lines: impl Iterator<Item = &'h str>) -> Vec<Checksum> {
    let mut found: Vec<Checksum> = Vec::new();
    for checksum in members(lines).into_iter().filter_map(member) {
        found.retain(|earlier| earlier.algorithm != checksum.algorithm);
        found.push(checksum);
    }
    found
}

fn member(item: &str) -> Option<Checksum> {
    let (key, value) = cut(item, b'=')?;
    let algorithm = Algorithm::of_repr_digest(key.trim_ascii())?;
    let inner = value.trim_ascii().strip_prefix(":")?.strip_suffix(":")?;
    Checksum::new(algorithm, &hex_of_base64(inner)?).ok()
}

/// The bytes of padded base64 in hexadecimal digits.
fn hex_of_base64(text: &str) -> Option<String> {
    let padding = text.bytes().rev().take_while(|&byte| byte == b'=').count();
    let letters = text.bytes().take(text.len() - padding);
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let (mut bits, mut count, mut hex) = (0_u32, 0_u32, String::with_capacity(128));
    for letter in letters {
        bits = (bits << 6) | u32::from(sextet(letter)?);
        count += 6;
        while count >= 4 {
            count -= 4;
            hex.push(char::from_digit((bits >> count) & 0xf, 16)?);
        }
        bits &= (1 << count) - 1;
    }
    // Bits that do not fill a byte at the end are padding.
    hex.truncate(hex.len() / 2 * 2);
    Some(hex)
}

fn sextet(letter: u8) -> Option<u8> {
    Some(match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}
