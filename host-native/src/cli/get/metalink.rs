//! Metalink 4 (RFC 5854): files with their sources, sizes and digests.
//!
//! Invariant: a document is read only as far as it is bounded, and it cannot name anything outside of it: a document type, which could
//! declare entities, is refused. It does not judge the names of files and the URLs: those are treated as in a list.

use crate::cli::text::plain;
use crate::control::parse_checksum;
use crate::text_file::bounded;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use regrip_core::{Algorithm, Checksum, SafeName};
use std::fs::File;

/// Longest document.
pub(super) const MAX_BYTES: u64 = 4 << 20;
/// Most files of a document.
const MAX_FILES: usize = 10_000;
/// Most sources of a file.
const MAX_URLS: usize = 100;
/// The priority of a URL without one: the lowest.
const LAST: u32 = 999_999;
/// The strongest first.
const STRENGTH: [Algorithm; 4] = [Algorithm::Sha512, Algorithm::Sha256, Algorithm::Sha1, Algorithm::Md5];

/// A file of a document.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct MetaFile {
    /// Its name or relative path, as written.
    pub(crate) name: String,
    /// Its size in bytes.
    pub(crate) size: Option<u64>,
    /// Its strongest digest.
    pub(super) checksum: Option<Checksum>,
    /// Its http and https sources, the preferred one first.
    pub(crate) urls: Vec<String>,
}

/// Returns `true` if an argument is the URL or path of a Metalink document.
pub(super) fn is_metalink(typed: &str) -> bool {
    let path = typed.split(['?', '#']).next().unwrap_or_default();
    let end = path.len().saturating_sub(".meta4".len());
    path.get(end..).is_some_and(|end| end.eq_ignore_ascii_case(".meta4"))
}

/// The text of a document on the disk.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn read(path: &str) -> Result<String, String> {
    File::open(path).and_then(|file| bounded(file, MAX_BYTES)).map_err(|error| error.to_string())
}

/// Reads a document: each file, or why it cannot be used.
///
/// # Errors
/// Why the document as a whole cannot be used.
pub(crate) fn parse(text: &str) -> Result<Vec<Result<MetaFile, String>>, String> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let (mut path, mut value, mut files) = (Vec::<String>::new(), String::new(), Vec::new());
    let mut file = Draft::default();
    loop {
        let wrong = |why: String| format!("not a Metalink document: {why}");
        let event = reader.read_event().map_err(|error| wrong(error.to_string()))?;
        match event {
            Event::Start(tag) => {
                let name = tag.local_name().as_ref().to_owned();
                if path.is_empty() && (name != "metalink" || attribute(&tag, "version").is_some()) {
                    return Err(wrong("its first element is not <metalink> of version 4".to_owned()));
                }
                value.clear();
                path.push(name);
                file.begin(&path, &tag);
            }
            Event::End(_) => {
                file.end(&path, value.trim());
                if path.len() == 2 && path.last().is_some_and(|name| name == "file") {
                    files.push(std::mem::take(&mut file).finished());
                }
                path.pop();
                value.clear();
            }
            Event::Text(text) if path.is_empty() && !text.trim().is_empty() => {
                return Err(wrong("it is not XML".to_owned()));
            }
            Event::Text(text) => value.push_str(&text.xml10_content()),
            Event::CData(text) => value.push_str(&text.xml10_content()),
            Event::GeneralRef(entity) => match entity.resolve_char_ref().map_err(|error| wrong(error.to_string()))? {
                Some(character) => value.push(character),
                None => {
                    let known = resolve_predefined_entity(&entity);
                    value.push_str(known.ok_or_else(|| wrong("it has an entity that XML does not define".to_owned()))?);
                }
            },
            Event::DocType(_) => return Err(wrong("it has a document type".to_owned())),
            Event::Eof if !path.is_empty() => return Err(wrong("it ends too early".to_owned())),
            Event::Eof => break,
            Event::Empty(_) | Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
        }
        if files.len() > MAX_FILES {
            return Err(format!("more than {MAX_FILES} files"));
        }
    }
    match files.is_empty() {
        true => Err("there is no <file> in it".to_owned()),
        false => Ok(files),
    }
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = tag.try_get_attribute(name).ok()??;
    Some(found.normalized_value(XmlVersion::Implicit1_0).ok()?.into_owned())
}

/// A file while its elements are read.
#[derive(Debug, Default)]
struct Draft {
    name: Option<String>,
    size: Option<String>,
    /// By the type of the current `<hash>`.
    algorithm: Option<String>,
    checksums: Vec<Checksum>,
    /// The priority of the current `<url>`.
    priority: u32,
    urls: Vec<(u32, String)>,
    /// What is wrong with it.
    wrong: Option<String>,
}

impl Draft {
    fn begin(&mut self, path: &[String], tag: &BytesStart<'_>) {
        match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [_, "file"] => self.name = attribute(tag, "name"),
            [_, "file", "hash"] => self.algorithm = attribute(tag, "type"),
            [_, "file", "url"] => {
                let given = attribute(tag, "priority").and_then(|priority| priority.parse().ok());
                self.priority = given.unwrap_or(LAST);
            }
            _ => {}
        }
    }

    fn end(&mut self, path: &[String], value: &str) {
        match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [_, "file", "size"] => self.size = Some(value.to_owned()),
            [_, "file", "hash"] => {
                // Others are digests that regrip does not compute.
                let algorithm = self.algorithm.take().unwrap_or_default().replacen('-', "", 1).to_ascii_lowercase();
                if STRENGTH.iter().any(|known| known.name() == algorithm) {
                    match parse_checksum(&format!("{algorithm}:{value}")) {
                        Ok(checksum) => self.checksums.push(checksum),
                        Err(error) => self.wrong = Some(format!("<hash>: {error}")),
                    }
                }
            }
            [_, "file", "url"] if value.starts_with("http://") || value.starts_with("https://") => {
                self.urls.push((self.priority, value.to_owned()));
            }
            _ => {}
        }
    }

    fn finished(mut self) -> Result<MetaFile, String> {
        let name = self.name.filter(|name| !name.is_empty()).ok_or("a <file> without a name")?;
        let about = |why: String| format!("<file name=\"{}\">: {why}", plain(&name));
        // As a list's `out=`, but also on systems on which a backslash separates nothing.
        if name.split(['/', '\\']).any(|part| SafeName::new(part).is_err()) {
            return Err(about("expected a name below the folder".to_owned()));
        }
        if let Some(wrong) = self.wrong {
            return Err(about(wrong));
        }
        let size = self.size.map(|size| size.parse().map_err(|_| about("<size> is not a number of bytes".to_owned())));
        if self.urls.is_empty() {
            return Err(about("no <url> of http or https".to_owned()));
        }
        if self.urls.len() > MAX_URLS {
            return Err(about(format!("more than {MAX_URLS} URLs")));
        }
        self.urls.sort_by_key(|(priority, _)| *priority);
        self.checksums.sort_by_key(|one| STRENGTH.iter().position(|known| *known == one.algorithm));
        let urls = self.urls.into_iter().map(|(_, url)| url).collect();
        Ok(MetaFile { size: size.transpose()?, checksum: self.checksums.into_iter().next(), urls, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(inside: &str) -> String {
        format!("<?xml version='1.0'?><metalink xmlns='urn:ietf:params:xml:ns:metalink'>{inside}</metalink>")
    }

    #[test]
    fn a_file_has_its_size_its_strongest_digest_and_its_urls_by_priority() {
        let (one, many) = ("1".repeat(64), "5".repeat(128));
        let text = document(&format!(
            "<file name='sub/a&amp;b'><size> 7 </size><hash type='sha-256'>{one}</hash><hash type='sha-512'>{many}</hash>
             <hash type='tiger'>x</hash><pieces length='1' type='sha-1'><hash>bad</hash></pieces><url>http://last/</url>
             <url priority='2'>ftp://no/</url><url priority='9'>https://b/?x=1&amp;y=&#50;</url><url priority='1'><![CDATA[http://a/]]></url>
             <metaurl mediatype='torrent'>http://t/</metaurl></file>"
        ));
        let file = parse(&text).unwrap().remove(0).unwrap();
        assert_eq!((&*file.name, file.size), ("sub/a&b", Some(7)));
        assert_eq!(file.checksum.unwrap().hex, many);
        assert_eq!(file.urls, ["http://a/", "https://b/?x=1&y=2", "http://last/"]);
    }

    #[test]
    fn a_document_that_is_none_is_refused_as_a_whole() {
        let bomb = "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>".to_owned() + &document("");
        let entity = document("<file name='a'><url>&b;</url></file>");
        let old = "<metalink version='3.0'><files/></metalink>".to_owned();
        for text in
            ["".to_owned(), "hello".into(), "<html/>".into(), "<metalink><file".into(), document(""), bomb, entity, old]
        {
            assert!(parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_and_the_others_stay() {
        let url = "<url>http://a/</url>";
        let table = [
            (format!("<file name='../x'>{url}</file>"), "../x\">: expected a name below the folder"),
            (format!("<file name='/x'>{url}</file>"), "/x\">: expected a name below"),
            (format!("<file name='a\\..\\x'>{url}</file>"), "expected a name below"),
            (format!("<file>{url}</file>"), "without a name"),
            ("<file name='x'/>".to_owned(), "no <url> of http or https"),
            ("<file name='x'><url>ftp://a/</url></file>".to_owned(), "no <url> of http or https"),
            (format!("<file name='x'><size>-1</size>{url}</file>"), "<size> is not"),
            (format!("<file name='x'><hash type='md5'>12</hash>{url}</file>"), "<hash>: "),
        ];
        for (file, why) in table {
            let files = parse(&document(&format!("{file}<file name='good'>{url}</file>"))).unwrap();
            assert!(matches!(&files[0], Err(error) if error.contains(why)), "{files:?}");
            assert!(files[1].is_ok());
        }
    }
}
