//! The byte order mark that editors of Windows put before a text.

/// The text without a byte order mark (U+FEFF) before it.
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}
