//! `Repr-Digest` (RFC 9530 §3): the digest of the whole representation, whatever range was sent.

/// The SHA-256 a `Repr-Digest` names, as lower-case hex; `None` where there is none or it is malformed.
pub fn sha256_of_repr_digest(value: &str) -> Option<String> {
    let member = |item: &str| {
        let (key, value) = item.trim_ascii().split_once('=')?;
        let inner = value.trim_ascii().strip_prefix(':')?.strip_suffix(':')?;
        (key.trim_ascii() == "sha-256")
            .then(|| hex_of_base64(inner))
            .flatten()
    };
    value.split(',').find_map(member)
}

/// 32 bytes in base64 are 43 characters and one `=`.
fn hex_of_base64(text: &str) -> Option<String> {
    let text = text.strip_suffix('=').filter(|text| text.len() == 43)?;
    let (mut bits, mut count, mut hex) = (0_u32, 0_u32, String::with_capacity(64));
    for letter in text.bytes() {
        bits = (bits << 6) | u32::from(sextet(letter)?);
        count += 6;
        while count >= 4 && hex.len() < 64 {
            count -= 4;
            hex.push(char::from_digit((bits >> count) & 0xf, 16)?);
        }
        bits &= (1 << count) - 1;
    }
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
