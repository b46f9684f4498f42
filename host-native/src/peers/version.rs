//! What a handshake says.

use regrip_core::Error;
use serde::Deserialize;

/// The oldest version of the wire that is spoken.
const OLDEST: [u64; 3] = [0, 1, 0];

/// Longest version.
const LONGEST_BYTES: usize = 64;

#[derive(Deserialize)]
struct Handshake {
    version: String,
}

/// Takes a handshake whose version is new enough, and returns that version.
///
/// # Errors
/// `Protocol`.
pub(super) fn check(handshake: &[u8]) -> Result<String, Error> {
    let Handshake { version } = super::answer::read(handshake)?;
    if version.len() > LONGEST_BYTES {
        let what = format!("a version of more than {LONGEST_BYTES} bytes");
        return Err(Error::Protocol(what));
    }
    match numbers(&version) {
        Some(numbers) if numbers >= OLDEST => Ok(version),
        Some(_) => Err(Error::Protocol(format!(
            "the peer speaks version {version}, 0.1.0 is the oldest that will do"
        ))),
        None => Err(Error::Protocol(format!("{version:?} is no version"))),
    }
}

/// `x.y.z`, bare.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mut numbers = [0; 3];
    let mut parts = version.split('.');
    for number in &mut numbers {
        *number = parts.next().filter(|part| digits(part))?.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_version_from_0_1_0_on_will_do() {
        let table = [
            ("0.1.0", true),
            ("0.1.1", true),
            ("0.10.0", true),
            ("1.0.0", true),
            ("18446744073709551615.0.0", true),
            ("0.0.9", false),
            ("0.0.99999", false),
            ("v0.1.0", false),
            ("0.1", false),
            ("0.1.0.0", false),
            ("0.1.0-rc1", false),
            ("0..0", false),
            ("+1.0.0", false),
            ("18446744073709551616.0.0", false),
            ("", false),
        ];
        for (version, will_do) in table {
            let handshake = format!(r#"{{"version": "{version}"}}"#);
            assert_eq!(check(handshake.as_bytes()).is_ok(), will_do, "{version}");
        }
        for other in ["{}", "[]", r#"{"version": 1}"#, "OK", ""] {
            assert!(check(other.as_bytes()).is_err(), "{other}");
        }
    }
}
