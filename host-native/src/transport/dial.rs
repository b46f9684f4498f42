//! From a route to a connected socket: name, addresses, policy, TCP, the proxy's tunnel, TLS; all within the connect timeout.
//!
//! Name lookup blocks, so it runs off the executor. Addresses that the [`Reach`] does not allow are left out before anything is
//! connected to. The others are tried in turn, those that failed lately last, each with a head start of 250 ms, the families
//! alternating (RFC 8305 §4, §5). The address of a proxy is the user's choice and is not judged.
//!
//! A tunnel is opened by `CONNECT` (RFC 9110 §9.3.6) or by SOCKS 5 (RFC 1928, RFC 1929), before TLS. A proxy that answers 5xx or
//! 429, or that cannot reach the origin, is a network error and worth another attempt; any other refusal is permanent. For
//! `socks5` the origin's name is resolved here, and its addresses are judged as those of a direct connection.

use super::address_policy::{Addresses, Reach, Trial};
use super::connection::{Meter, Socket, Stream, buffered};
use super::errors::{self, connecting, timed_out};
use super::head::{Trace, status_line};
use super::options::{Origin, Timeouts};
use super::proxy::{Proxy, ProxyKind, ProxyRoute};
use super::roots::Tls;
use crate::sync::Replaceable;
use async_io::{Async, Timer};
use futures::StreamExt;
use futures::future::{Either, select};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures::stream::FuturesUnordered;
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use regrip_core::Error;
use regrip_core::error::Timeout;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustls::pki_types::ServerName;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use url::Host;

/// How long an address is waited for before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);

/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;

/// A socket fresh from the dial.
pub(super) struct Dialed {
    pub(super) socket: Socket,
    pub(super) meter: Arc<Meter>,
    /// Who will answer, if that is known.
    pub(super) peer: Option<IpAddr>,
    /// How the address that was connected to does.
    pub(super) trial: Trial,
    /// Its rate is limited: nothing may read far ahead.
    pub(super) slow: bool,
}

/// How connections are made.
pub(super) struct Dialer {
    pub(super) timeouts: Replaceable<Timeouts>,
    pub(super) tls: Tls,
    /// Addresses given for a host (`*` for all others) and port, in place of those that the name has.
    pub(super) resolve: HashMap<(String, u16), Vec<IpAddr>>,
    /// Only IPv6 addresses (`true`) or only IPv4 addresses (`false`).
    pub(super) ipv6: Option<bool>,
    /// Is given a line for each connection, and the heads that go through it.
    pub(super) trace: Trace,
    /// Which addresses failed lately.
    pub(super) addresses: Addresses,
    /// The kernel's receive buffer, if it must be small.
    pub(super) receive_buffer_bytes: Option<usize>,
}

/// Connects by a route.
///
/// # Errors
/// `Network`, `Timeout`, `Certificate`, `Tls`, `AddressRefused`, `ProxyRefused`, `Protocol` (of a proxy), `TooManyFiles`.
///
/// # Cancel safety
/// Dropping the future closes what was open.
pub(super) async fn dial(dialer: &Dialer, route: &ProxyRoute, reach: Reach) -> Result<Dialed, Error> {
    let timeout = dialer.timeouts.get().connect;
    let too_late = async {
        Timer::after(timeout).await;
        Err(timed_out(Timeout::Connect, timeout))
    };
    smol::future::or(connect(dialer, route, reach), too_late).await
}

async fn connect(dialer: &Dialer, route: &ProxyRoute, reach: Reach) -> Result<Dialed, Error> {
    let origin = &route.origin;
    let (stream, trial, peer) = match &route.proxy {
        None => {
            let addresses = allowed(origin, reach, dialer.lookup(origin.host(), origin.port()).await?)?;
            let connected = first_to_connect(&dialer.addresses, alternating(addresses)).await?;
            dialer.trace_connected(&connected, origin.host());
            let (stream, trial) = dialer.tuned(connected);
            let peer = trial.address().ip();
            (Stream::Plain(stream), trial, Some(peer))
        }
        Some(proxy) => through_proxy(dialer, proxy, route, reach).await?,
    };
    let stream = match stream {
        Stream::Plain(stream) if origin.is_https() => {
            Stream::Tls(Box::new(secure(dialer, origin, buffered(stream)).await?))
        }
        Stream::Tls(stream) if origin.is_https() => Stream::Tunnel(Box::new(secure(dialer, origin, *stream).await?)),
        stream => stream,
    };
    let meter = Arc::<Meter>::default();
    Ok(Dialed {
        socket: Socket::new(stream, meter.clone(), dialer.trace.clone()),
        meter,
        peer,
        trial,
        slow: dialer.receive_buffer_bytes.is_some(),
    })
}

/// Connects to a proxy and has it open a tunnel, unless it is one that forwards requests. Returns who will answer, too, if
/// that is known.
async fn through_proxy(
    dialer: &Dialer,
    proxy: &Proxy,
    route: &ProxyRoute,
    reach: Reach,
) -> Result<(Stream, Trial, Option<IpAddr>), Error> {
    let origin = &route.origin;
    let (mut stream, mut trial) = dialer.tuned(to_proxy(dialer, proxy).await?);
    if let Some(secured) = proxy.secured() {
        let mut stream = secure(dialer, &secured, buffered(stream)).await?;
        if origin.is_https() {
            open_tunnel(&mut stream, proxy, origin, &dialer.trace).await?;
        }
        return Ok((Stream::Tls(Box::new(stream)), trial, route.literal()));
    }
    match proxy.kind() {
        ProxyKind::Http | ProxyKind::Https if !origin.is_https() => {}
        ProxyKind::Http | ProxyKind::Https => open_tunnel(&mut stream, proxy, origin, &dialer.trace).await?,
        ProxyKind::Socks5h => open_socks(&mut stream, proxy, origin, origin.host()).await?,
        ProxyKind::Socks5 => {
            let found = allowed(origin, reach, dialer.lookup(origin.host(), origin.port()).await?)?;
            let has_others = found.len() > 1;
            let chosen = dialer.addresses.in_order(alternating(found)).into_iter().next();
            let chosen = chosen.ok_or_else(|| Error::Network { what: "no address".to_owned(), source: None })?;
            // From here on the address of the origin is tried, and the next attempt takes another one.
            trial.end_well();
            trial = dialer.addresses.try_out(chosen, has_others);
            let host = match chosen.ip() {
                IpAddr::V4(address) => Host::Ipv4(address),
                IpAddr::V6(address) => Host::Ipv6(address),
            };
            open_socks(&mut stream, proxy, origin, &host).await?;
            return Ok((Stream::Plain(stream), trial, Some(chosen.ip())));
        }
    }
    Ok((Stream::Plain(stream), trial, route.literal()))
}

async fn to_proxy(dialer: &Dialer, proxy: &Proxy) -> Result<Connected, Error> {
    let connected = async {
        let found = dialer.lookup(proxy.host(), proxy.port()).await?;
        first_to_connect(&dialer.addresses, alternating(found)).await
    };
    let connected = connected.await.map_err(|error| match error {
        Error::Network { what, source } => {
            let what = format!("the proxy {proxy}: {what}");
            Error::Network { what, source }
        }
        other => other,
    })?;
    dialer.trace_connected(&connected, format_args!("the proxy {proxy}"));
    Ok(connected)
}

impl Dialer {
    /// The addresses that were given for a host, else those that it has, of the family that was asked for.
    async fn lookup(&self, host: &Host<String>, port: u16) -> Result<Vec<SocketAddr>, Error> {
        let given = self.given(host, port);
        let is_looked_up = given.is_none() && matches!(host, Host::Domain(_));
        let mut found = match given {
            Some(given) => given,
            None => resolve(host, port).await?,
        };
        let Some(ipv6) = self.ipv6 else {
            return Ok(found);
        };
        found.retain(|address| address.is_ipv6() == ipv6);
        let family = if ipv6 { "IPv6" } else { "IPv4" };
        match found.is_empty() {
            false => Ok(found),
            // The lookup of the other family may have failed.
            true if is_looked_up => {
                Err(Error::Network { what: format!("looking up {host}: no {family} address"), source: None })
            }
            true => Err(Error::AddressRefused(format!("{host} has no {family} address"))),
        }
    }

    /// The addresses that were given for a name, in place of a lookup.
    fn given(&self, host: &Host<String>, port: u16) -> Option<Vec<SocketAddr>> {
        let Host::Domain(name) = host else {
            return None;
        };
        let mut names = [name.as_str(), "*"].into_iter();
        let given = names.find_map(|name| self.resolve.get(&(name.to_owned(), port)))?;
        let with_port = given.iter().map(|&address| SocketAddr::new(address, port));
        Some(with_port.collect())
    }

    fn tuned(&self, (stream, trial): Connected) -> Connected {
        if let Some(bytes) = self.receive_buffer_bytes {
            // If it cannot be had, the limit is kept here and shows later at the sender.
            let _ = set_socket_recv_buffer_size(stream.get_ref(), bytes);
        }
        // A request is one small write; waiting for more to send with it would only delay it.
        let _ = stream.get_ref().set_nodelay(true);
        (stream, trial)
    }

    fn trace_connected(&self, (_, trial): &Connected, to: impl std::fmt::Display) {
        let address = trial.address();
        self.trace.note(|| format!("connected to {} ({to}) port {}", address.ip(), address.port()));
    }
}

async fn resolve(host: &Host<String>, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let name = match host {
        Host::Ipv4(address) => return Ok(vec![SocketAddr::from((*address, port))]),
        Host::Ipv6(address) => return Ok(vec![SocketAddr::from((*address, port))]),
        Host::Domain(name) => name.clone(),
    };
    let what = format!("looking up {name}");
    let found = smol::unblock(move || (name.as_str(), port).to_socket_addrs().map(Vec::from_iter)).await;
    match found {
        Ok(addresses) if addresses.is_empty() => {
            Err(Error::Network { what: format!("{what}: no address"), source: None })
        }
        Ok(addresses) => Ok(addresses),
        Err(error) => Err(connecting(what, error)),
    }
}

fn allowed(origin: &Origin, reach: Reach, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Error> {
    let (allowed, refused): (Vec<_>, Vec<_>) = found.into_iter().partition(|address| reach.allows(address.ip()));
    match (allowed.is_empty(), refused.first()) {
        (true, Some(address)) => Err(reach.refusal(origin, address.ip())),
        _ => Ok(allowed),
    }
}

/// The system's order, but the families take turns.
fn alternating(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut order = Vec::new();
    while order.len() < MAX_ADDRESSES && !(first.is_empty() && second.is_empty()) {
        order.extend(first.pop_front());
        order.extend(second.pop_front());
    }
    order
}

/// A connection, and how its address does.
type Connected = (Async<TcpStream>, Trial);

async fn first_to_connect(known: &Addresses, addresses: Vec<SocketAddr>) -> Result<Connected, Error> {
    let has_others = addresses.len() > 1;
    let try_out = |address| connect_to(known.try_out(address, has_others));
    let mut waiting = known.in_order(addresses).into_iter();
    let mut racing = FuturesUnordered::new();
    let mut last = Error::Network { what: "no address to connect to".to_owned(), source: None };
    loop {
        racing.extend(waiting.next().map(try_out));
        let head_start = if waiting.len() == 0 { Timer::never() } else { Timer::after(HEAD_START) };
        match select(racing.next(), head_start).await {
            Either::Left((Some(Ok(connected)), _)) => return Ok(connected),
            Either::Left((Some(Err((address, error))), _)) => {
                last = connecting(format!("connecting to {address}"), error)
            }
            Either::Left((None, _)) => return Err(last),
            Either::Right(_) => {} // the next one's turn
        }
    }
}

async fn connect_to(trial: Trial) -> Result<Connected, (SocketAddr, io::Error)> {
    match Async::<TcpStream>::connect(trial.address()).await {
        Ok(stream) => Ok((stream, trial)),
        Err(error) => Err((trial.address(), error)),
    }
}

async fn secure<S>(dialer: &Dialer, origin: &Origin, stream: S) -> Result<TlsStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let what = format!("the TLS handshake with {origin}");
    let name = server_name(origin.host()).map_err(|_| Error::Certificate(format!("{what}: invalid server name")))?;
    let connector = TlsConnector::from(dialer.tls.config(origin).await?);
    let stream = connector.connect(name, stream).await.map_err(|error| connecting(what, error))?;
    let session = stream.get_ref().1;
    if let (Some(version), Some(suite)) = (session.protocol_version(), session.negotiated_cipher_suite()) {
        // rustls writes TLSv1_3.
        let version = format!("{version:?}").replace('_', ".");
        dialer.trace.note(|| format!("TLS connection using {version} / {:?}", suite.suite()));
    }
    Ok(stream)
}

/// Without the dot of a fully qualified name: certificates and SNI never have it (RFC 6066 §3).
fn server_name(host: &Host<String>) -> Result<ServerName<'static>, rustls::pki_types::InvalidDnsNameError> {
    match host {
        Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned()),
        Host::Ipv4(address) => Ok(ServerName::from(std::net::IpAddr::from(*address))),
        Host::Ipv6(address) => Ok(ServerName::from(std::net::IpAddr::from(*address))),
    }
}

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
    trace: &Trace,
) -> Result<(), Error> {
    let about = |error| errors::connecting(format!("asking the proxy {proxy} for {origin}"), error);
    let request = request(proxy, origin);
    stream.write_all(&request).await.map_err(about)?;
    trace.head('>', &request);
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
    trace.head('<', &answer[..end]);
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
    let mut request =
        format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {}\r\n", super::client::USER_AGENT)
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
    [b"\n\r\n".as_slice(), b"\n\n"].into_iter().filter_map(after).min()
}

fn judge(answer: &[u8], proxy: &Proxy, origin: &Origin) -> Result<(), Error> {
    let line = answer.split(|&byte| byte == b'\n').next();
    let status = line.and_then(status_line).map(|(_, status)| status);
    let status = status.ok_or_else(|| Error::Protocol(format!("cannot parse the answer of the proxy {proxy}")))?;
    let answered = || format!("{proxy} answered {status} to CONNECT {origin}");
    match status {
        200..=299 => Ok(()),
        429 | 500..=599 => Err(Error::Network { what: format!("the proxy {}", answered()), source: None }),
        _ => Err(Error::ProxyRefused(answered())),
    }
}

/// Asks a SOCKS proxy for a line to a host at the origin's port. On success the next byte on the stream is the origin's.
///
/// # Errors
/// `Network`, `ProxyRefused`, `Protocol`.
async fn open_socks(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &Proxy,
    origin: &Origin,
    host: &Host<String>,
) -> Result<(), Error> {
    let about = |error| connecting(format!("asking the proxy {proxy} for {origin}"), error);
    let malformed = || Error::Protocol(format!("cannot parse the answer of the proxy {proxy}"));
    let hello: &[u8] = if proxy.login().is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] };
    stream.write_all(hello).await.map_err(about)?;
    let mut method = [0; 2];
    stream.read_exact(&mut method).await.map_err(about)?;
    match (method, proxy.login()) {
        ([5, 0], _) => {}
        ([5, 2], Some((user, password))) => {
            let mut request = vec![1];
            push_counted(&mut request, user)
                .and_then(|()| push_counted(&mut request, password))
                .ok_or_else(malformed)?;
            stream.write_all(&request).await.map_err(about)?;
            let mut status = [0; 2];
            stream.read_exact(&mut status).await.map_err(about)?;
            if status[1] != 0 {
                return Err(Error::ProxyRefused(format!("wrong user or password for {proxy}")));
            }
        }
        ([5, 255], None) => return Err(Error::ProxyRefused(format!("{proxy} wants a user and a password"))),
        ([5, 255], Some(_)) => return Err(Error::ProxyRefused(format!("{proxy} takes no user and password"))),
        _ => return Err(malformed()),
    }
    let mut request = vec![5, 1, 0];
    match host {
        Host::Ipv4(address) => request.extend([1].into_iter().chain(address.octets())),
        Host::Ipv6(address) => request.extend([4].into_iter().chain(address.octets())),
        Host::Domain(name) => {
            request.push(3);
            let refused = || Error::ProxyRefused("the host name is longer than 255 bytes".to_owned());
            push_counted(&mut request, name).ok_or_else(refused)?;
        }
    }
    request.extend(origin.port().to_be_bytes());
    stream.write_all(&request).await.map_err(about)?;
    let mut reply = [0; 5];
    stream.read_exact(&mut reply).await.map_err(about)?;
    let [5, code, _, kind, first] = reply else {
        return Err(malformed());
    };
    if code != 0 {
        return Err(socks_refusal(code, proxy, origin));
    }
    // The address that the proxy connects from, without its first byte, and the port.
    let rest = match kind {
        1 => 3 + 2,
        3 => usize::from(first) + 2,
        4 => 15 + 2,
        _ => return Err(malformed()),
    };
    let mut bound = [0; 255 + 2];
    stream.read_exact(&mut bound[..rest]).await.map_err(about)
}

/// Adds a text behind its length; `None` if that is more than 255 bytes.
fn push_counted(request: &mut Vec<u8>, text: &str) -> Option<()> {
    request.push(u8::try_from(text.len()).ok()?);
    request.extend(text.bytes());
    Some(())
}

/// The meaning of a reply (RFC 1928 §6). What the network caused is worth another attempt.
fn socks_refusal(code: u8, proxy: &Proxy, origin: &Origin) -> Error {
    let (why, by_network) = match code {
        1 => ("general failure", true),
        2 => ("not allowed by its rules", false),
        3 => ("network unreachable", true),
        4 => ("host unreachable", true),
        5 => ("connection refused", true),
        6 => ("time to live expired", true),
        7 => ("command not supported", false),
        8 => ("address type not supported", false),
        _ => ("unknown reason", false),
    };
    let why = format!("{why} ({proxy} connecting to {origin})");
    match by_network {
        true => Error::Network { what: format!("the proxy refused: {why}"), source: None },
        false => Error::ProxyRefused(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_families_take_turns_in_the_order_of_the_system() {
        let table: [(&[&str], &[&str]); 4] = [
            (&[], &[]),
            (&["10.0.0.1:1", "10.0.0.2:1"], &["10.0.0.1:1", "10.0.0.2:1"]),
            (&["[::1]:1", "[::2]:1", "10.0.0.1:1"], &["[::1]:1", "10.0.0.1:1", "[::2]:1"]),
            (&["10.0.0.1:1", "10.0.0.2:1", "[::1]:1"], &["10.0.0.1:1", "[::1]:1", "10.0.0.2:1"]),
        ];
        for (found, order) in table {
            assert_eq!(alternating(addresses(found)), addresses(order));
        }
    }

    // X07
    #[test]
    fn only_allowed_addresses_of_a_name_are_connected_to() {
        let origin: Origin = "http://a.test/".parse().unwrap();
        let mixed = ["127.0.0.1:80", "10.0.0.1:80", "[fe80::1]:80", "1.1.1.1:80"];
        let kept = allowed(&origin, Reach::Private, addresses(&mixed)).unwrap();
        assert_eq!(kept, addresses(&["10.0.0.1:80", "1.1.1.1:80"]));
        let kept = allowed(&origin, Reach::Public, addresses(&mixed)).unwrap();
        assert_eq!(kept, addresses(&["1.1.1.1:80"]));
        let error = allowed(&origin, Reach::Private, addresses(&["[::1]:80"])).unwrap_err();
        assert!(matches!(error, Error::AddressRefused(_)), "{error}");
    }

    #[test]
    fn a_refused_address_gives_way_to_the_next_one() {
        let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let known = Addresses::default();
        let connected = smol::block_on(first_to_connect(&known, vec![refusing, good]));
        let (_stream, trial) = connected.unwrap();
        assert_eq!(trial.address(), good);
        assert_eq!(known.in_order(vec![refusing, good]), [good, refusing]);
    }

    /// A listener whose queue is full: Linux drops what else knocks.
    #[cfg(target_os = "linux")]
    fn black_hole() -> (Vec<rustix::fd::OwnedFd>, SocketAddr) {
        use rustix::net::*;
        let tcp = || socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
        let listener = tcp();
        bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&listener, 0).unwrap();
        let address = SocketAddr::try_from(getsockname(&listener).unwrap()).unwrap();
        let mut sockets = vec![listener];
        for _ in 0..3 {
            let caller = tcp();
            let _ = connect(&caller, &address);
            sockets.push(caller);
        }
        (sockets, address)
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_address_that_leads_nowhere_costs_a_moment_only() {
        let (_sockets, nowhere) = black_hole();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let known = Addresses::default();
        let dialled = async {
            let connected = first_to_connect(&known, vec![nowhere, good]).await;
            connected.ok().map(|(_, mut trial)| {
                trial.end_well();
                trial.address()
            })
        };
        let too_late = async {
            Timer::after(Duration::from_secs(20)).await;
            None
        };
        assert_eq!(smol::block_on(smol::future::or(dialled, too_late)), Some(good));
        // The next attempt begins with the other one.
        assert_eq!(known.in_order(vec![nowhere, good]), [good, nowhere]);
    }
}
