//! Quick links: one line that carries all that somebody needs to add this server as a peer. jack reads and writes
//! the same ones.
//!
//! A link is `jack-link:v1:` and the base64url of a JSON object. Whoever has it has the key in it, so it is as secret as that
//! key. Links come from strangers: nothing in one is used before [`QuickLink::read`] has checked all of it.

use super::object::{Secret, base_url_flaw};
use crate::transport::Header;
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use regrip_core::display_url;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::json;
use std::fmt;

/// How a link begins.
const PREFIX: &str = "jack-link:v1:";
/// The longest link, prefix included.
const LONGEST_BYTES: usize = 32_768;
/// Most headers of a link.
const MOST_HEADERS: usize = 100;
/// Longest name, in characters.
pub(crate) const LONGEST_NAME: usize = 100;
/// Headers that no link and no `external` block sets, since they are the connection's or the key's.
const RESERVED: [&str; 5] = ["x-api-key", "host", "content-length", "connection", "transfer-encoding"];

/// Without padding, as jack writes it; padding is read as well.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuickLink {
    /// The name that the other server suggests for itself.
    pub name: String,
    /// Its address.
    pub url: String,
    /// The key that it issued.
    pub api_key: Secret,
    /// Headers that get through what is in front of it.
    pub headers: Vec<(String, Secret)>,
}

/// Why a link is refused. It has nothing of the link in it that may be secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused: {0}")]
pub struct LinkRefused(pub(crate) String);

#[derive(Deserialize)]
struct LinkFields {
    v: u64,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    url: String,
    #[serde(rename = "apiKey")]
    api_key: String,
    #[serde(default)]
    headers: HeaderPairs,
}

/// The fields of an object in their order, a name that is there twice included.
#[derive(Default)]
struct HeaderPairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for HeaderPairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HeaderPairs, D::Error> {
        struct HeaderPairsVisitor;
        impl<'de> Visitor<'de> for HeaderPairsVisitor {
            type Value = HeaderPairs;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HeaderPairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(HeaderPairs(pairs))
            }
        }
        deserializer.deserialize_map(HeaderPairsVisitor)
    }
}

impl QuickLink {
    /// Reads a link, white space around it aside.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(link: &str) -> Result<QuickLink, LinkRefused> {
        let refused = |why: &str| LinkRefused(why.to_owned());
        let link = link.trim();
        if link.len() > LONGEST_BYTES {
            return Err(refused("it is longer than 32 KiB"));
        }
        let Some(encoded) = link.strip_prefix(PREFIX) else {
            return Err(match link.strip_prefix("jack-link:").and_then(|rest| rest.split_once(':')) {
                Some((version, _)) if version.len() <= 8 && version.chars().all(char::is_alphanumeric) => {
                    LinkRefused(format!("its version is {version}, and this version of regrip reads v1"))
                }
                _ => refused("it does not begin with jack-link:v1:"),
            });
        };
        let json = BASE64.decode(encoded).map_err(|_| refused("what follows jack-link:v1: is not base64url"))?;
        let payload: LinkFields = serde_json::from_slice(&json).map_err(|error| {
            use serde_json::error::Category;
            match error.classify() {
                // The message may quote a value, of which one is the key.
                Category::Data if error.to_string().starts_with("missing field") => {
                    LinkRefused(without_place(&error.to_string()))
                }
                Category::Data => refused("a field is of the wrong type or there twice"),
                _ => refused("it does not contain JSON"),
            }
        })?;
        if payload.v != 1 || payload.kind != "peer" {
            return Err(refused("it is not of version 1 and type \"peer\""));
        }
        QuickLink::of(payload.name, payload.url, payload.api_key, payload.headers.0)
    }

    /// A peer by its fields, as strictly as in a link.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn of(
        name: String,
        url: String,
        api_key: String,
        headers: Vec<(String, String)>,
    ) -> Result<QuickLink, LinkRefused> {
        let api_key = Secret::checked(api_key).map_err(|why| LinkRefused(format!("its apiKey: {why}")))?;
        let headers = checked_headers(headers).map_err(LinkRefused)?;
        QuickLink { name: name.trim().to_owned(), url, api_key, headers }.checked()
    }

    /// The link, if name and address can be those of a peer.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn checked(self) -> Result<QuickLink, LinkRefused> {
        self.check().map(|()| self)
    }

    /// The link as text.
    ///
    /// # Errors
    /// It would not be read: [`read`](Self::read) is as strict.
    pub fn write(&self) -> Result<String, LinkRefused> {
        self.check()?;
        let headers: serde_json::Map<_, _> =
            self.headers.iter().map(|(name, value)| (name.clone(), value.reveal().into())).collect();
        let payload = json!({
            "v": 1,
            "type": "peer",
            "name": self.name,
            "url": self.url,
            "apiKey": self.api_key.reveal(),
            "headers": headers,
        });
        let link = format!("{PREFIX}{}", BASE64.encode(payload.to_string()));
        match link.len() <= LONGEST_BYTES {
            true => Ok(link),
            false => Err(LinkRefused("it would be longer than 32 KiB: regrip.external has too much in it".to_owned())),
        }
    }

    fn check(&self) -> Result<(), LinkRefused> {
        let count = self.name.chars().count();
        if !(1..=LONGEST_NAME).contains(&count) || self.name.chars().any(is_deceptive) {
            return Err(LinkRefused("its name is not 1 to 100 characters without control characters".to_owned()));
        }
        match base_url_flaw(&self.url) {
            None => Ok(()),
            Some(flaw) => Err(LinkRefused(format!("its url ({}): {flaw}", display_url(&self.url)))),
        }
    }
}

/// Control characters, and those that turn the direction of text around, by which a name can look like another one.
fn is_deceptive(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The message of a JSON error without line and column, of which a link has none.
fn without_place(message: &str) -> String {
    message.split_once(" at line").map_or(message, |(what, _)| what).to_owned()
}

fn checked_headers(given: Vec<(String, String)>) -> Result<Vec<(String, Secret)>, String> {
    if given.len() > MOST_HEADERS {
        return Err("it has more than 100 headers".to_owned());
    }
    let mut headers: Vec<(String, Secret)> = Vec::new();
    for (at, (name, value)) in (1..).zip(given) {
        check_header(&name, &value, headers.iter().map(|(name, _)| name.as_str()))
            .map_err(|why| format!("its header {at}: {why}"))?;
        headers.push((name, Secret::checked(value).map_err(|why| format!("its header {at}: {why}"))?));
    }
    Ok(headers)
}

/// Checks a header of a link or of `external`, which has the headers `before` already.
///
/// # Errors
/// Why it cannot be one, without its value.
pub(crate) fn check_header<'a>(
    name: &str,
    value: &str,
    mut before: impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Err(format!("{} is set by regrip itself", name.to_ascii_lowercase()));
    }
    if before.any(|before| before.eq_ignore_ascii_case(name)) {
        return Err("its name is there twice".to_owned());
    }
    if value.is_empty() {
        return Err("its value is empty".to_owned());
    }
    Header::new(name, value).map(drop).map_err(|refused| refused.why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link_of(json: &str) -> String {
        format!("{PREFIX}{}", BASE64.encode(json))
    }

    fn sample() -> QuickLink {
        QuickLink {
            name: "Roz's Jack".to_owned(),
            url: "https://jack.example.com".to_owned(),
            api_key: Secret::checked("jack_0123".to_owned()).unwrap(),
            headers: vec![("CF-Access-Client-Id".to_owned(), Secret::checked("id".to_owned()).unwrap())],
        }
    }

    #[test]
    fn a_link_is_read_as_it_was_written() {
        let link = sample().write().unwrap();
        assert!(link.starts_with("jack-link:v1:ey") && !link.contains(['=', '+', '/']), "{link}");
        assert_eq!(QuickLink::read(&format!("  {link}\n")), Ok(sample()));
        let padding = "=".repeat((4 - (link.len() - PREFIX.len()) % 4) % 4);
        assert_eq!(QuickLink::read(&format!("{link}{padding}")), Ok(sample()));
        // As jack writes it, its fields in another order.
        let jacks = link_of(
            r#"{"v":1,"type":"peer","name":"Roz's Jack","url":"https://jack.example.com","apiKey":"jack_0123","headers":{"CF-Access-Client-Id":"id"},"later":[]}"#,
        );
        assert_eq!(QuickLink::read(&jacks), Ok(sample()));
    }

    #[test]
    fn a_hostile_link_is_refused_with_what_is_wrong_and_without_its_key() {
        let json = |from: &str, to: &str| {
            let whole =
                r#"{"v":1,"type":"peer","name":"n","url":"https://a.example","apiKey":"hush-hush","headers":{}}"#;
            assert!(whole.contains(from), "{from}");
            link_of(&whole.replace(from, to))
        };
        let many: String = (0..101).map(|number| format!(r#","A{number}":"v""#)).collect();
        let table = [
            ("hello".to_owned(), "does not begin with jack-link:v1:"),
            ("jack-link:v2:e30".to_owned(), "its version is v2"),
            (format!("{PREFIX}a b"), "not base64url"),
            (format!("{PREFIX}{}", "A".repeat(40_000)), "longer than 32 KiB"),
            (link_of("hush-hush"), "does not contain JSON"),
            (link_of("[1]"), "wrong type"),
            (json(r#""v":1"#, r#""v":2"#), "not of version 1"),
            (json("peer", "server"), "type \"peer\""),
            (json(r#""apiKey":"hush-hush","#, ""), "missing field `apiKey`"),
            (json(r#""apiKey":"hush-hush""#, r#""apiKey":"""#), "its apiKey: found nothing"),
            (json(r#""apiKey":"hush-hush""#, r#""apiKey":"hush\r\nhush""#), "other than visible ASCII"),
            (json(r#""apiKey":"hush-hush""#, r#""apiKey":["hush-hush"]"#), "wrong type"),
            (json(r#""v":1"#, r#""v":1,"url":"http://b""#), "there twice"),
            (json(r#""name":"n""#, r#""name":"  ""#), "its name"),
            (json(r#""name":"n""#, r#""name":"a\u001b[2J""#), "its name"),
            (json(r#""name":"n""#, r#""name":"a\u202eb""#), "its name"),
            (json("https://a.example", "file:///etc/passwd"), "neither http nor https"),
            (json("https://a.example", "https://me:hush-hush@a.example"), "user or password"),
            (json("https://a.example", "https://a.example/?k=hush-hush"), "? or #"),
            (json("https://a.example", "https://a.ex\\nample"), "white space or control characters"),
            (json("https://a.example", "a.example"), "not a URL"),
            (json(r#""headers":{}"#, r#""headers":{"X-Api-Key":"v"}"#), "x-api-key is set by regrip itself"),
            (json(r#""headers":{}"#, r#""headers":{"Host":"v"}"#), "host is set"),
            (json(r#""headers":{}"#, r#""headers":{"A":"v","a":"w"}"#), "there twice"),
            (json(r#""headers":{}"#, r#""headers":{"A":"v","A":"w"}"#), "there twice"),
            (json(r#""headers":{}"#, r#""headers":{"A":""}"#), "its value is empty"),
            (json(r#""headers":{}"#, r#""headers":{"A b":"v"}"#), "its header 1"),
            (json(r#""headers":{}"#, r#""headers":{"A":"v\r\nB: w"}"#), "its header 1"),
            (json(r#""headers":{}"#, &format!(r#""headers":{{"A":"v"{many}}}"#)), "more than 100 headers"),
            (json(r#""headers":{}"#, r#""headers":[]"#), "wrong type"),
        ];
        for (link, why) in table {
            let refused = QuickLink::read(&link).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused:?} does not say {why:?}");
            assert!(!refused.contains("hush-hush") && !refused.chars().any(char::is_control), "{refused:?}");
        }
    }
}
