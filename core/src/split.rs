//! Splits texts at an ASCII character, byte by byte. The searches of `str`, for any character, are some kilobytes of WebAssembly.

/// The text before and after the first `separator`.
pub(crate) fn cut(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|byte| byte == separator)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// The text before and after the last `separator`.
pub(crate) fn cut_last(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = text.bytes().rposition(|byte| byte == separator)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// The members of lists that are separated by commas, without the white space around them.
pub(crate) fn members<'t>(lists: impl Iterator<Item = &'t str>) -> Vec<&'t str> {
    let mut members = Vec::new();
    for list in lists {
        let mut rest = list;
        while let Some((member, more)) = cut(rest, b',') {
            members.push(member.trim_ascii());
            rest = more;
        }
        members.push(rest.trim_ascii());
    }
    members
}
