//! Makes text from other machines safe to store and show: error messages, titles, names that are only shown.
//!
//! Invariant: the result of [`shown`] is one line of at most [`LONGEST`] characters, without characters that move the cursor or
//! change how other text reads. Values that another program must recognise (an ETag, an item id) do not go through it: they
//! are refused if they are too long.

use std::borrow::Cow;

/// The longest result in characters, including the ellipsis.
pub const LONGEST: usize = 512;

/// Replaces the rest of a text.
const ELLIPSIS: char = '…';

/// Cuts the text at [`LONGEST`] characters and replaces control and invisible characters by `?`.
///
/// ```
/// assert_eq!(regrip_core::shown("one\ntwo"), "one?two");
/// assert_eq!(regrip_core::shown(&"x".repeat(3_000_000)).chars().count(), 512);
/// ```
pub fn shown(text: &str) -> Cow<'_, str> {
    let is_odd = |letter: char| letter.is_control() || is_invisible(letter);
    let end = text.char_indices().nth(LONGEST);
    if end.is_none() && !text.contains(is_odd) {
        return Cow::Borrowed(text);
    }
    let kept = if end.is_some() { LONGEST - 1 } else { LONGEST };
    let letters = text.chars().take(kept);
    let mut shown: String = letters.map(|letter| if is_odd(letter) { '?' } else { letter }).collect();
    if end.is_some() {
        shown.push(ELLIPSIS);
    }
    Cow::Owned(shown)
}

/// Describes a text that may be a secret by its kind and length.
///
/// ```
/// assert_eq!(regrip_core::redacted("secret"), "a string of 6 characters");
/// ```
pub fn redacted(text: &str) -> String {
    match text.chars().count() {
        0 => "an empty string".to_owned(),
        1 => "a string of 1 character".to_owned(),
        count => format!("a string of {count} characters"),
    }
}

/// Unicode bidi controls and zero-width characters.
pub(crate) fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\u{061C}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{2069}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_only_if_it_is_too_long() {
        for letter in ["x", "ß", "語", "🎬"] {
            let fits = letter.repeat(LONGEST);
            assert_eq!(shown(&fits), fits);
            let cut = shown(&fits.repeat(2)).into_owned();
            assert_eq!(cut.chars().count(), LONGEST);
            assert_eq!(cut, letter.repeat(LONGEST - 1) + "…");
        }
        assert_eq!(shown(""), "");
    }

    #[test]
    fn what_moves_a_cursor_or_turns_the_text_around_is_replaced() {
        assert_eq!(shown("a\r\nb\u{1b}[2J\u{202e}c\u{9b}"), "a??b?[2J?c?");
    }
}
