//! `Content-Disposition` (RFC 6266): the file name that a server suggests. It is a stranger's: see
//! [`SafeName`](crate::SafeName).

/// The last path segment of the name in a `Content-Disposition`. `filename*` (RFC 8187) takes precedence over `filename`; of
/// several the first counts. `None` if there is no name that can be decoded.
pub fn suggested_name(value: &str) -> Option<String> {
    let (mut quoted, mut escaped) = (false, false);
    let ends_parameter = |letter| {
        let is_escaped = std::mem::take(&mut escaped);
        match letter {
            _ if is_escaped => {}
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            _ => return letter == ';' && !quoted,
        }
        false
    };
    let parameters: Vec<(&str, &str)> = value.split(ends_parameter).filter_map(|one| one.split_once('=')).collect();
    let named = |wanted: &'static str| {
        let is_wanted = move |(name, _): &&(&str, &str)| name.trim_ascii().eq_ignore_ascii_case(wanted);
        parameters.iter().filter(is_wanted).map(|(_, value)| unquoted(value.trim_ascii()))
    };
    let extended = named("filename*").find_map(|value| extended(&value));
    let name = extended.or_else(|| named("filename").next().map(utf8_or_latin1))?;
    name.rsplit(['/', '\\']).next().map(|name| name.trim().to_owned())
}

/// A quoted string (RFC 9110 §5.6.4) without its quotes and escapes; any other text as it is.
fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else {
        return value.to_owned();
    };
    let mut letters = inner.chars();
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => text.extend(letters.next()),
            _ => text.push(letter),
        }
    }
    text
}

/// Fields are read as Latin-1, but many servers send UTF-8.
fn utf8_or_latin1(text: String) -> String {
    let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(text)
}

/// `UTF-8'en'%e2%82%ac` (RFC 8187 §3.2).
fn extended(value: &str) -> Option<String> {
    let mut fields = value.splitn(3, '\'');
    let (charset, _language, text) = (fields.next()?, fields.next()?, fields.next()?);
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        let mut digit = || -> Option<u8> { char::from(rest.next()?).to_digit(16)?.try_into().ok() };
        bytes.push(match byte {
            b'%' => (digit()? << 4) | digit()?,
            _ => byte,
        });
    }
    match charset.to_ascii_lowercase().as_str() {
        "utf-8" => String::from_utf8(bytes).ok(),
        "iso-8859-1" => Some(bytes.into_iter().map(char::from).collect()),
        _ => None,
    }
}
