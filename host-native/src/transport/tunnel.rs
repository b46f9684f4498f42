//! A line through a proxy: `CONNECT` (RFC 9110 §9.3.6), sent before TLS begins.
//!
//! A proxy that is short of something (5xx, 429) is a network trouble and worth another attempt; one that says no is not.

use super::errors;
use super::head::status_line;
use super::origin::Origin;
use super::proxy::Proxy;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use regrip_core::Error;

/// Longest answer to a CONNECT.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Asks the proxy for a line to the origin. On success the next byte on the stream is the origin's.
///
/// # Errors
/// `Network`, `ProxyRefused`, `Protocol`.
pub(super) async fn open_tunnel(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &Proxy,
    origin: &Origin,
) -> Result<(), Error> {
    let about = |error| errors::connecting(format!("asking the proxy {proxy} for {origin}"), error);
    stream
        .write_all(&request(proxy, origin))
        .await
        .map_err(about)?;
    let mut answer = Vec::new();
    let end = loop {
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece).await.map_err(about)?;
        if count == 0 {
            return Err(about(std::io::ErrorKind::UnexpectedEof.into()));
        }
        answer.extend_from_slice(&piece[..count]);
        if let Some(end) = end_of_head(&answer) {
            break end;
        }
        if answer.len() > MAX_ANSWER_BYTES {
            let text = format!("the answer of the proxy {proxy} is too long");
            return Err(Error::Protocol(text));
        }
    };
    judge(&answer, proxy, origin)?;
    if answer.len() > end {
        // In TLS it is the client that speaks first.
        let text = format!("the proxy {proxy} sent more than its answer");
        return Err(Error::Protocol(text));
    }
    Ok(())
}

fn request(proxy: &Proxy, origin: &Origin) -> Vec<u8> {
    let authority = format!("{}:{}", origin.host(), origin.port());
    let mut request = format!(
        "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {}\r\n",
        super::client::USER_AGENT
    )
    .into_bytes();
    if let Some(value) = proxy.authorization() {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// Where the head ends. An answer that opens a tunnel has no body, whatever its fields say.
fn end_of_head(answer: &[u8]) -> Option<usize> {
    let after = |end: &[u8]| {
        let at = answer.windows(end.len()).position(|there| there == end);
        at.map(|at| at + end.len())
    };
    [b"\n\r\n".as_slice(), b"\n\n"]
        .into_iter()
        .filter_map(after)
        .min()
}

fn judge(answer: &[u8], proxy: &Proxy, origin: &Origin) -> Result<(), Error> {
    let line = answer.split(|&byte| byte == b'\n').next();
    let status = line.and_then(status_line).map(|(_, status)| status);
    let status = status.ok_or_else(|| {
        Error::Protocol(format!("the answer of the proxy {proxy} cannot be read"))
    })?;
    let told = || format!("{proxy} answered {status} to CONNECT {origin}");
    match status {
        200..=299 => Ok(()),
        429 | 500..=599 => Err(Error::Network {
            what: format!("the proxy {}", told()),
            source: None,
        }),
        _ => Err(Error::ProxyRefused(told())),
    }
}
