//! Bencode (BEP 3), as far as stubs need it: a strict parser, and a writer of strings and numbers.
//!
//! The parser refuses nesting deeper than [`DEEPEST`], bytes after the value, numbers with leading zeros and duplicate keys. It
//! accepts unsorted keys, because not every writer sorts them; what is hashed are the bytes as they are ([`raw`]).

use std::collections::BTreeMap;

/// The deepest nesting that is accepted. A torrent has three levels.
const DEEPEST: u32 = 16;

/// A value, borrowed from the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// An integer.
    Number(i64),
    /// A byte string.
    Bytes(&'a [u8]),
    /// A list. Its content is checked and discarded, because stubs need none.
    List,
    /// A dictionary.
    Dictionary(BTreeMap<&'a [u8], Value<'a>>),
}

impl<'a> Value<'a> {
    /// The value of a key, if this is a dictionary that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Value<'a>> {
        match self {
            Value::Dictionary(entries) => entries.get(key.as_bytes()),
            Value::Number(_) | Value::Bytes(_) | Value::List => None,
        }
    }

    /// The string, if this is one and valid UTF-8.
    pub(crate) fn text(&self) -> Option<&'a str> {
        match self {
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            Value::Number(_) | Value::List | Value::Dictionary(_) => None,
        }
    }
}

/// Where and why the input is not bencode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// Offset of the invalid byte.
    pub(crate) at: usize,
    /// What is wrong with it.
    pub(crate) what: &'static str,
}

/// Parses the input as exactly one value.
///
/// # Errors
/// The first error in the input.
pub(crate) fn read(input: &[u8]) -> Result<Value<'_>, Flaw> {
    let mut reader = Reader { input, at: 0 };
    let value = reader.value(0)?;
    if reader.at < input.len() {
        return Err(reader.flaw("bytes after the end"));
    }
    Ok(value)
}

/// The bytes of the value of a key of the outermost dictionary, as they are in the input.
pub(crate) fn raw<'a>(input: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let mut reader = Reader { input, at: 1 };
    while input.first() == Some(&b'd') && reader.peek() != Some(b'e') {
        let key = reader.string().ok()?;
        let begin = reader.at;
        reader.value(1).ok()?;
        if key == wanted.as_bytes() {
            return input.get(begin..reader.at);
        }
    }
    None
}

/// Writes a string.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(text.as_bytes());
}

/// Writes a number.
pub(crate) fn write_number(number: u64, out: &mut Vec<u8>) {
    out.push(b'i');
    out.extend_from_slice(number.to_string().as_bytes());
    out.push(b'e');
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: u32) -> Result<Value<'a>, Flaw> {
        if depth >= DEEPEST {
            return Err(self.flaw("nested too deep"));
        }
        match self.peek() {
            Some(b'i') => self.number().map(Value::Number),
            Some(b'0'..=b'9') => self.string().map(Value::Bytes),
            Some(b'l') => self.list(depth),
            Some(b'd') => self.dictionary(depth),
            Some(_) => Err(self.flaw("no value begins like this")),
            None => Err(self.flaw("the end where a value was due")),
        }
    }

    fn list(&mut self, depth: u32) -> Result<Value<'a>, Flaw> {
        self.at += 1;
        while self.peek() != Some(b'e') {
            self.value(depth + 1)?;
        }
        self.at += 1;
        Ok(Value::List)
    }

    fn dictionary(&mut self, depth: u32) -> Result<Value<'a>, Flaw> {
        self.at += 1;
        let mut entries = BTreeMap::new();
        while self.peek() != Some(b'e') {
            let begin = self.at;
            let key = self.string()?;
            let value = self.value(depth + 1)?;
            if entries.insert(key, value).is_some() {
                let what = "a key that came before";
                return Err(Flaw { at: begin, what });
            }
        }
        self.at += 1;
        Ok(Value::Dictionary(entries))
    }

    fn string(&mut self) -> Result<&'a [u8], Flaw> {
        let length = self.digits()?;
        self.expect(b':', "no colon after a length")?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let rest = self.input.get(self.at..).unwrap_or_default();
        let Some((string, _)) = rest.split_at_checked(length) else {
            return Err(self.flaw("a string longer than its file"));
        };
        self.at += length;
        Ok(string)
    }

    fn number(&mut self) -> Result<i64, Flaw> {
        self.at += 1;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let begin = self.at;
        let digits = i64::try_from(self.digits()?).map_err(|_| self.flaw("a number too large"))?;
        if negative && digits == 0 {
            let what = "a minus before nothing";
            return Err(Flaw { at: begin, what });
        }
        self.expect(b'e', "no end after a number")?;
        Ok(if negative { -digits } else { digits })
    }

    /// Parses digits without a leading zero.
    fn digits(&mut self) -> Result<u64, Flaw> {
        let begin = self.at;
        let mut number: u64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            let grown = number.checked_mul(10).and_then(|grown| grown.checked_add(u64::from(digit - b'0')));
            number = grown.ok_or_else(|| self.flaw("a number too large"))?;
            self.at += 1;
        }
        match self.at - begin {
            0 => Err(self.flaw("no digit where one was due")),
            2.. if self.input.get(begin) == Some(&b'0') => {
                let what = "a leading zero";
                Err(Flaw { at: begin, what })
            }
            _ => Ok(number),
        }
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Flaw> {
        if self.peek() != Some(byte) {
            return Err(self.flaw(what));
        }
        self.at += 1;
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn flaw(&self, what: &'static str) -> Flaw {
        Flaw { at: self.at, what }
    }
}
