//! The requests of a multipart upload: each is signed, sent by the transport, and repeated as the policy says.
//!
//! Signatures are in the URL, for one request each; the transport shows no queries. It does not decide what counts as
//! uploaded: that is the part's affair.

use super::uploads::UploadedPart;
use crate::store::version::FileStamp;
use crate::sync::lock;
use crate::transport::{Header, HttpTransport};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use regrip_core::classify::{class_of_status, is_transient};
use regrip_core::error::Timeout;
use regrip_core::hasher::Hasher;
use regrip_core::http::parse_retry_after;
use regrip_core::transport::{Body, Headers};
use regrip_core::{Algorithm, Class, Error, RetryPolicy};
use rusty_s3::actions::CompleteMultipartUpload;
use rusty_s3::{Bucket, Credentials, Method, S3Action, UrlStyle};
use smol::Timer;
use smol::future::FutureExt;
use std::fmt;
use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};
use url::Url;

/// The metadata by which an object is recognised as one of our uploads. The transport passes it on.
pub(super) const TAG: &str = "x-amz-meta-regrip-upload";
/// How long a signature is valid: longer than a request takes.
const SIGNED_FOR: Duration = Duration::from_secs(3600);
/// How long the rest of a response may take. Completing an upload of many parts takes minutes.
const BODY_WITHIN: Duration = Duration::from_secs(600);
/// The longest body that is read: a thousand parts, or an error.
const LARGEST_BODY: usize = 4 << 20;
/// The longest key, in bytes.
const LONGEST_KEY: usize = 1024;
/// How often an aborted upload is looked for: requests under way when it was aborted may still add parts.
const ABORTS: u32 = 8;

/// How the storage is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// The address of the service.
    endpoint: Url,
    /// Its region, for signatures.
    region: String,
    credentials: Credentials,
    /// The bucket is in the path, not in the host name.
    path_style: bool,
}

impl fmt::Debug for S3Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "S3Settings({})", self.endpoint.origin().ascii_serialization())
    }
}

impl S3Settings {
    /// Reads the variables that other programs read: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
    /// `AWS_REGION` or `AWS_DEFAULT_REGION`, `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`. Without an endpoint it is Amazon's.
    ///
    /// # Errors
    /// One line: which variable is missing or wrong.
    pub fn of_environment(environment: impl Fn(&str) -> Option<String>) -> Result<S3Settings, String> {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        let need = |name: &str| set(name).ok_or_else(|| format!("object storage needs {name} in the environment"));
        let (key, secret) = (need("AWS_ACCESS_KEY_ID")?, need("AWS_SECRET_ACCESS_KEY")?);
        let endpoint = set("AWS_ENDPOINT_URL_S3").or_else(|| set("AWS_ENDPOINT_URL"));
        let region = set("AWS_REGION").or_else(|| set("AWS_DEFAULT_REGION"));
        let keys = (key, secret, set("AWS_SESSION_TOKEN"));
        S3Settings::new(endpoint.as_deref(), region, keys, None).map_err(|(what, why)| {
            format!("{}: {why}", if what == "endpoint" { "AWS_ENDPOINT_URL" } else { "AWS_REGION" })
        })
    }

    /// Settings whose endpoint is Amazon's unless one is given. `keys` are access key, secret and, if they are temporary, session
    /// token. Other services than Amazon's get the bucket in the path by default.
    ///
    /// # Errors
    /// The setting that is wrong, and why.
    pub fn new(
        endpoint: Option<&str>,
        region: Option<String>,
        (key, secret, token): (String, String, Option<String>),
        path_style: Option<bool>,
    ) -> Result<S3Settings, (&'static str, String)> {
        let is_word =
            |region: &str| region.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let region = match region {
            Some(region) if !region.is_empty() && is_word(&region) => region,
            Some(_) => return Err(("region", "expected the name of a region, for example eu-west-1".to_owned())),
            None if endpoint.is_some() => "us-east-1".to_owned(),
            None => return Err(("region", "it is not set, and Amazon S3 needs it".to_owned())),
        };
        let amazon = format!("https://s3.{region}.amazonaws.com");
        let url = Url::parse(endpoint.unwrap_or(&amazon)).ok();
        let url =
            url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty());
        let endpoint = url.ok_or_else(|| {
            ("endpoint", "expected an http or https URL, for example https://s3.example.org".to_owned())
        })?;
        let credentials = match token {
            Some(token) => Credentials::new_with_token(key, secret, token),
            None => Credentials::new(key, secret),
        };
        let is_amazon = endpoint.host_str().is_some_and(|host| host.ends_with(".amazonaws.com"));
        Ok(S3Settings { endpoint, region, credentials, path_style: path_style.unwrap_or(!is_amazon) })
    }
}

/// The name of an object, `s3://bucket/key`.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectName {
    text: String,
    bucket_bytes: usize,
}

const SCHEME: &str = "s3://";

impl ObjectName {
    /// Reads a name.
    ///
    /// # Errors
    /// What is wrong with it. A key with `.`, `..` or nothing between its slashes has no URL of its own.
    pub fn parse(text: &str) -> Result<ObjectName, &'static str> {
        let name = text.strip_prefix(SCHEME).ok_or("it does not begin with s3://")?;
        let (bucket, key) = name.split_once('/').unwrap_or((name, ""));
        let is_bucket = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(is_bucket) || bucket.starts_with('.') {
            return Err("its bucket has no valid name");
        }
        match key {
            "" => Err("it names a bucket, expected s3://bucket/key"),
            _ if key.len() > LONGEST_KEY => Err("its key is longer than 1024 bytes"),
            _ if key.chars().any(char::is_control) => Err("its key contains control characters"),
            _ if key.split('/').any(|part| matches!(part, "" | "." | "..")) => {
                Err("its key has an empty part, or . or .. as one")
            }
            _ => Ok(ObjectName { text: text.to_owned(), bucket_bytes: bucket.len() }),
        }
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn bucket(&self) -> &str {
        &self.text[SCHEME.len()..SCHEME.len() + self.bucket_bytes]
    }

    fn key(&self) -> &str {
        &self.text[SCHEME.len() + self.bucket_bytes + 1..]
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// An object as HEAD describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObjectHead {
    pub(super) size: u64,
    pub(super) modified: SystemTime,
    /// The tag of the upload that made it, if it is one of ours.
    pub(super) tag: Option<String>,
}

impl ObjectHead {
    /// By which the object is known to be unchanged later. The time is the storage's.
    pub(super) fn stamp(&self) -> FileStamp {
        let since_1970 = self.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        FileStamp { size: self.size, mtime_ns: i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX) }
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StorageFault {
    /// There was no usable answer.
    #[error(transparent)]
    Transport(#[from] Error),
    /// The storage refused.
    #[error("the storage answered {status} {code}{}", shown_message(.message))]
    Refused { status: u16, code: String, message: String, retry_after: Option<Duration> },
}

fn shown_message(message: &str) -> String {
    match message {
        "" => String::new(),
        message => format!(": {}", regrip_core::shown(message)),
    }
}

impl StorageFault {
    /// With the region of the bucket, if it is another one than the configured. An answer to HEAD, and that of some services, has
    /// no code.
    fn with_region(mut self, region: Option<&str>) -> StorageFault {
        if let StorageFault::Refused { status, code, message, .. } = &mut self {
            if *status == 301 && code.is_empty() {
                "PermanentRedirect".clone_into(code);
            }
            if let Some(region) = region {
                let there = format!("the bucket is in the region {region}");
                *message = if message.is_empty() { there } else { format!("{message} ({there})") };
            }
        }
        self
    }

    pub(super) fn is(&self, wanted: &str) -> bool {
        matches!(self, StorageFault::Refused { code, .. } if code == wanted)
    }

    fn has_status(&self, wanted: &[u16]) -> bool {
        matches!(self, StorageFault::Refused { status, .. } if wanted.contains(status))
    }

    /// Something is at the destination already (If-None-Match).
    pub(super) fn is_precondition(&self) -> bool {
        self.has_status(&[412])
    }

    /// Another attempt may succeed.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            StorageFault::Transport(error) => is_transient(error, &[]),
            StorageFault::Refused { status, code, .. } => {
                let codes =
                    ["RequestTimeout", "ConditionalRequestConflict", "OperationAborted", "InternalError", "SlowDown"];
                class_of_status(*status, &[408]) == Class::Transient || codes.contains(&code.as_str())
            }
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            StorageFault::Transport(error) => error.retry_after(),
            StorageFault::Refused { retry_after, .. } => *retry_after,
        }
    }

    /// As an error of the store; `what` completes "cannot … s3://bucket/key".
    pub(super) fn of(self, what: &'static str, object: &ObjectName) -> Error {
        let path = object.as_str().to_owned();
        let is_full =
            self.has_status(&[507]) || ["QuotaExceeded", "XMinioStorageFull"].iter().any(|code| self.is(code));
        match is_full {
            true => Error::DiskFull { path, source: Some(self.into()) },
            false => Error::Disk { what, path, source: Some(self.into()) },
        }
    }
}

/// A response, read to its end.
struct Answer {
    headers: Headers,
    text: String,
}

/// Sends requests to the storage.
#[derive(Debug)]
pub(super) struct S3Client {
    settings: S3Settings,
    transport: HttpTransport,
    policy: RetryPolicy,
}

impl S3Client {
    pub(super) fn new(settings: S3Settings, transport: HttpTransport, policy: RetryPolicy) -> S3Client {
        S3Client { settings, transport, policy }
    }

    /// Asks for the parts of an upload that cannot exist.
    async fn ask_for_nothing(&self, object: &ObjectName) -> Result<Answer, StorageFault> {
        let (bucket, keys) = (self.bucket(object)?, &self.settings.credentials);
        self.ask(bucket.list_parts(Some(keys), object.key(), "regrip"), &[], Bytes::new()).await
    }

    /// Asks once whether the storage answers, whatever it says.
    pub(super) async fn probe(&self, object: &ObjectName) -> Result<(), StorageFault> {
        match self.ask_for_nothing(object).await {
            Err(fault) if fault.is_transient() => Err(fault),
            _ => Ok(()),
        }
    }

    /// Asks for the parts of an upload that cannot exist: whatever is wrong with the address, the bucket, the region or the
    /// key shows in the answer, and it needs no more rights than an upload. `within` bounds the time for all attempts together.
    pub(super) async fn check(&self, object: &ObjectName, within: Option<Duration>) -> Result<(), String> {
        let last = Mutex::new(None);
        let attempts = self.retry(async || {
            let answer = self.ask_for_nothing(object).await;
            *lock(&last) = answer.as_ref().err().map(ToString::to_string);
            answer
        });
        let late = async {
            let Some(within) = within else {
                return std::future::pending().await;
            };
            Timer::after(within).await;
            let after = lock(&last).take().map_or_else(String::new, |last| format!(" after this: {last}"));
            Err(unreadable(format!("it was not received within {} s{after}", within.as_secs())))
        };
        let answer = attempts.or(late);
        let (endpoint, bucket) = (self.settings.endpoint.origin().ascii_serialization(), object.bucket());
        let no_uploads = || format!("the storage at {endpoint} does not support multipart uploads to {bucket}");
        match answer.await {
            Err(fault) if fault.is("NoSuchUpload") => Ok(()),
            Ok(_) => Err(no_uploads()),
            Err(fault) if fault.has_status(&[405, 501]) => Err(no_uploads()),
            Err(fault) if fault.has_status(&[404]) && fault.is("") => {
                Err(format!("no S3 service answers at {endpoint}"))
            }
            Err(fault) => {
                let why = regrip_core::error::chain(&fault);
                Err(format!("cannot use the bucket {bucket} at {endpoint}, region {}: {why}", self.settings.region))
            }
        }
    }

    /// Begins an upload, and returns its id.
    pub(super) async fn create(&self, object: &ObjectName, tag: &str) -> Result<String, StorageFault> {
        let keys = &self.settings.credentials;
        self.retry(async || {
            let bucket = self.bucket(object)?;
            let create = bucket.create_multipart_upload(Some(keys), object.key());
            let answer = self.ask(create, &[(TAG, tag)], Bytes::new()).await?;
            let id = element(&answer.text, "UploadId").filter(|id| !id.is_empty());
            Ok(id.ok_or_else(|| unreadable("the upload has no id"))?.to_owned())
        })
        .await
    }

    /// Sends a part, and returns its ETag.
    pub(super) async fn put_part(
        &self,
        object: &ObjectName,
        id: &str,
        number: u16,
        bytes: Bytes,
    ) -> Result<String, StorageFault> {
        let keys = &self.settings.credentials;
        let hashed = bytes.clone();
        let md5 = smol::unblock(move || {
            let hex = Hasher::of(Algorithm::Md5, &hashed).hex;
            let byte = |at| u8::from_str_radix(hex.get(at..at + 2).unwrap_or_default(), 16).unwrap_or_default();
            BASE64_STANDARD.encode((0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>())
        });
        let md5 = md5.await;
        self.retry(async || {
            let bucket = self.bucket(object)?;
            let put = bucket.upload_part(Some(keys), object.key(), number, id);
            let answer = self.ask(put, &[("content-md5", &md5)], bytes.clone()).await?;
            let etag = answer.headers.only("etag").filter(|etag| !etag.is_empty());
            Ok(etag.ok_or_else(|| unreadable("the part has no ETag"))?.to_owned())
        })
        .await
    }

    /// The parts of an upload with number, size and ETag, by number; `None` if there is no such upload.
    pub(super) async fn list_parts(
        &self,
        object: &ObjectName,
        id: &str,
    ) -> Result<Option<Vec<(u16, u64, String)>>, StorageFault> {
        let keys = &self.settings.credentials;
        let mut parts = Vec::new();
        let mut after = None;
        loop {
            let listed = self.retry(async || {
                let bucket = self.bucket(object)?;
                let mut list = bucket.list_parts(Some(keys), object.key(), id);
                if let Some(after) = after {
                    list.set_part_number_marker(after);
                }
                Ok(self.ask(list, &[], Bytes::new()).await?.text)
            });
            let text = match listed.await {
                Err(fault) if fault.is("NoSuchUpload") => return Ok(None),
                listed => listed?,
            };
            parts.extend(text.split("<Part>").skip(1).filter_map(|part| {
                let number = element(part, "PartNumber")?.parse().ok()?;
                Some((number, element(part, "Size")?.parse().ok()?, element(part, "ETag")?.to_owned()))
            }));
            let next = element(&text, "NextPartNumberMarker").and_then(|next| next.parse().ok());
            match next.filter(|next| element(&text, "IsTruncated") == Some("true") && Some(*next) > after) {
                Some(next) => after = Some(next),
                None => return Ok(Some(parts)),
            }
        }
    }

    /// Completes an upload from these parts and no others. A failed answer says nothing: the object's tag tells if it was made.
    ///
    /// # Errors
    /// As the storage says; [`is_precondition`](StorageFault::is_precondition) if `if_new` and something else is there.
    pub(super) async fn complete(
        &self,
        object: &ObjectName,
        (id, tag): (&str, &str),
        parts: &[UploadedPart],
        if_new: bool,
    ) -> Result<(), StorageFault> {
        let keys = &self.settings.credentials;
        let headers: &[(&str, &str)] = if if_new { &[("if-none-match", "*")] } else { &[] };
        self.retry(async || {
            let bucket = self.bucket(object)?;
            let etags = || parts.iter().map(|part| part.etag.as_str());
            let complete = bucket.complete_multipart_upload(Some(keys), object.key(), id, etags());
            let body = CompleteMultipartUpload::new(&bucket, Some(keys), object.key(), id, etags()).body();
            let fault = match self.ask(complete, headers, body.into()).await {
                // The connection is kept alive by a 200 while the parts are put together; the error may follow.
                Ok(answer) if element(&answer.text, "ETag").is_some() => return Ok(()),
                Ok(answer) => refused(500, &answer.text, None),
                Err(fault) => fault,
            };
            let head = self.head(object).await?;

            match head {
                Some(head) if head.tag.as_deref() == Some(tag) => Ok(()),
                _ => Err(fault),
            }
        })
        .await
    }

    /// Aborts an upload, until the storage no longer knows it.
    pub(super) async fn abort(&self, object: &ObjectName, id: &str) -> Result<(), StorageFault> {
        let keys = &self.settings.credentials;
        let mut tries = 0;
        loop {
            let aborted = self.retry(async || {
                let bucket = self.bucket(object)?;
                self.ask(bucket.abort_multipart_upload(Some(keys), object.key(), id), &[], Bytes::new()).await
            });
            match aborted.await {
                Err(fault) if !fault.is("NoSuchUpload") => return Err(fault),
                _ => {}
            }
            tries += 1;
            match self.list_parts(object, id).await? {
                None => return Ok(()),
                Some(parts) if tries == ABORTS => {
                    let message = format!("{} parts of an aborted upload are still there", parts.len());
                    return Err(StorageFault::Refused { status: 409, code: String::new(), message, retry_after: None });
                }
                Some(_) => {
                    Timer::after(self.policy.base_delay).await;
                }
            }
        }
    }

    /// Deletes an object. One that does not exist is deleted.
    pub(super) async fn delete(&self, object: &ObjectName) -> Result<(), StorageFault> {
        let keys = &self.settings.credentials;
        let answer = self.retry(async || {
            let bucket = self.bucket(object)?;
            self.ask(bucket.delete_object(Some(keys), object.key()), &[], Bytes::new()).await
        });
        match answer.await {
            Err(fault) if !fault.has_status(&[404]) => Err(fault),
            _ => Ok(()),
        }
    }

    /// The object of that name; `None` if there is none, or none that may be looked at.
    pub(super) async fn head(&self, object: &ObjectName) -> Result<Option<ObjectHead>, StorageFault> {
        let keys = &self.settings.credentials;
        let answer = self.retry(async || {
            let bucket = self.bucket(object)?;
            self.ask(bucket.head_object(Some(keys), object.key()), &[], Bytes::new()).await
        });
        let headers = match answer.await {
            // Without the right to list the bucket, Amazon answers 403 for an object that does not exist.
            Err(fault) if fault.has_status(&[403, 404]) => return Ok(None),
            answer => answer?.headers,
        };
        let size = headers.only("content-length").and_then(|size| size.parse().ok());
        let modified = headers.only("last-modified").and_then(|date| httpdate::parse_http_date(date).ok());
        Ok(Some(ObjectHead {
            size: size.ok_or_else(|| unreadable("the object has no Content-Length"))?,
            modified: modified.unwrap_or(SystemTime::UNIX_EPOCH),
            tag: headers.only(TAG).map(str::to_owned),
        }))
    }

    fn bucket(&self, object: &ObjectName) -> Result<Bucket, StorageFault> {
        let S3Settings { endpoint, region, path_style, .. } = &self.settings;
        let style = if *path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        Bucket::new(endpoint.clone(), style, object.bucket().to_owned(), region.clone()).map_err(unreadable)
    }

    async fn retry<T, A: Future<Output = Result<T, StorageFault>>>(
        &self,
        operation: impl FnMut() -> A,
    ) -> Result<T, StorageFault> {
        let mut operation = operation;
        let sleep = |delay| async move {
            Timer::after(delay).await;
        };
        self.policy
            .retry(sleep, fastrand::Rng::new(), |_| operation())
            .when(StorageFault::is_transient)
            .retry_after(StorageFault::retry_after)
            .await
    }

    /// Sends one request, and reads its answer.
    async fn ask<'a, A: S3Action<'a>>(
        &self,
        mut action: A,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, StorageFault> {
        let mut sent = Vec::new();
        for (name, value) in headers {
            action.headers_mut().insert((*name).to_owned(), (*value).to_owned());
            sent.push(Header::new(name, value).map_err(unreadable)?);
        }
        let url = action.sign(SIGNED_FOR);
        let method = match A::METHOD {
            Method::Head => surf::http::Method::Head,
            Method::Get => surf::http::Method::Get,
            Method::Post => surf::http::Method::Post,
            Method::Put => surf::http::Method::Put,
            Method::Delete => surf::http::Method::Delete,
        };
        let response = self.transport.send_here(method, url.as_str(), &sent, body).await?;
        let (status, headers) = (response.status, response.headers);
        let read = async {
            let (mut body, mut bytes) = (response.body, Vec::new());
            while let Some(chunk) = body.chunk().await? {
                bytes.extend_from_slice(chunk);
                if bytes.len() > LARGEST_BODY {
                    return Err(Error::Protocol("the answer of the storage is too long".to_owned()));
                }
            }
            Ok(bytes)
        };
        let late = async {
            Timer::after(BODY_WITHIN).await;
            Err(Error::Timeout { timeout: Timeout::Idle, after: BODY_WITHIN })
        };
        let text = String::from_utf8_lossy(&read.or(late).await?).into_owned();
        match status {
            200..=299 => Ok(Answer { headers, text }),
            _ => {
                let retry_after = headers.only("retry-after");
                let retry_after = retry_after.and_then(|value| parse_retry_after(value, SystemTime::now()));
                let region = headers.only("x-amz-bucket-region").filter(|region| *region != self.settings.region);
                Err(refused(status, &text, retry_after).with_region(region))
            }
        }
    }
}

/// The text of the first element of that name, entities as they are. Services differ in what is around it.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

/// The fault in an error document.
fn refused(status: u16, text: &str, retry_after: Option<Duration>) -> StorageFault {
    let of = |name| element(text, name).unwrap_or_default().to_owned();
    let (code, message) = (of("Code"), of("Message"));
    StorageFault::Refused { status, code, message, retry_after }
}

fn unreadable(why: impl fmt::Display) -> StorageFault {
    StorageFault::Transport(Error::Protocol(format!("the storage's answer cannot be used: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_bucket_and_a_key_that_is_its_own_url() {
        let name = ObjectName::parse("s3://films/a/b c.mkv").unwrap();
        assert_eq!((name.bucket(), name.key(), name.as_str()), ("films", "a/b c.mkv", "s3://films/a/b c.mkv"));
        let long = format!("s3://films/{}", "k".repeat(1025));
        let refused = [
            "films/a",
            "s3://",
            "s3://fi/a",
            "s3://films",
            "s3://films/",
            "s3://films//a",
            "s3://films/a/",
            "s3://films/../x",
            "s3://films/a/./b",
            "s3://fil ms/a",
            "s3://films/a\nb",
            "s3://u:p@host/a",
            &long,
        ];
        for text in refused {
            assert!(ObjectName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_environment_is_read_as_other_programs_do() {
        let read = |variables: &[(&str, &str)]| {
            let find =
                |name: &str| variables.iter().find(|(have, _)| *have == name).map(|(_, value)| (*value).to_owned());
            let settings = S3Settings::of_environment(find);
            settings.map(|settings| (settings.endpoint.to_string(), settings.region, settings.path_style))
        };
        let keys = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
        let with = |more: &[(&'static str, &'static str)]| read(&[&keys[..], more].concat());
        let amazon = ("https://s3.eu-west-1.amazonaws.com/".to_owned(), "eu-west-1".to_owned(), false);
        assert_eq!(with(&[("AWS_REGION", "eu-west-1")]), Ok(amazon.clone()));
        assert_eq!(with(&[("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "eu-west-1")]), Ok(amazon));
        let own = ("http://127.0.0.1:9000/".to_owned(), "us-east-1".to_owned(), true);
        assert_eq!(with(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")]), Ok(own));
        for (variables, named) in [
            (read(&[]), "AWS_ACCESS_KEY_ID"),
            (read(&keys[..1]), "AWS_SECRET_ACCESS_KEY"),
            (with(&[]), "AWS_REGION"),
            (with(&[("AWS_REGION", "eu west")]), "AWS_REGION"),
            (with(&[("AWS_ENDPOINT_URL", "ftp://x")]), "AWS_ENDPOINT_URL"),
        ] {
            let error = variables.unwrap_err();
            assert!(error.contains(named) && !error.contains("hunter2"), "{error}");
        }
    }
}
