//! From a route to a connected socket: name, addresses, policy, TCP, the proxy's tunnel, TLS; all within the connect timeout.
//!
//! Name lookup blocks, so it runs off the executor. Addresses that the [`Reach`] does not allow are left out before anything is
//! connected to. The others are tried in turn, those that failed lately last, each with a head start of 250 ms, the families
//! alternating (RFC 8305 §4, §5). The address of a proxy is the user's choice and is not judged.
//!
//! A tunnel is opened by `CONNECT` (RFC 9110 §9.3.6), before TLS. A proxy that answers 5xx or 429 is a network error and worth
//! another attempt; any other refusal is permanent.

use super::address_policy::{Addresses, Reach, Trial};
use super::connection::{Meter, Socket, Stream, buffered};
use super::errors::{self, connecting, timed_out};
use super::head::status_line;
use super::options::{Origin, Timeouts};
use super::proxy::{Proxy, ProxyRoute};
use super::roots::Tls;
use crate::sync::Replaceable;
use async_io::{Async, Timer};
use futures::StreamExt;
use futures::future::{Either, select};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures::stream::FuturesUnordered;
use futures_rustls::TlsConnector;
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
    /// Addresses given for a host and port, in place of those that the name has.
    pub(super) resolve: HashMap<(String, u16), Vec<IpAddr>>,
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
    let ((mut stream, trial), peer) = match &route.proxy {
        None => {
            let connected = to_origin(dialer, origin, reach).await?;
            let peer = connected.1.address().ip();
            (connected, Some(peer))
        }
        Some(proxy) => (to_proxy(dialer, proxy).await?, route.literal()),
    };
    if let Some(bytes) = dialer.receive_buffer_bytes {
        // If it cannot be had, the limit is kept here and shows later at the sender.
        let _ = set_socket_recv_buffer_size(stream.get_ref(), bytes);
    }
    // A request is one small write; waiting for more to send with it would only delay it.
    let _ = stream.get_ref().set_nodelay(true);
    let stream = if origin.is_https() {
        if let Some(proxy) = &route.proxy {
            open_tunnel(&mut stream, proxy, origin).await?;
        }
        secure(origin, &dialer.tls, stream).await?
    } else {
        Stream::Plain(stream)
    };
    let meter = Arc::<Meter>::default();
    Ok(Dialed {
        socket: Socket::new(stream, meter.clone()),
        meter,
        peer,
        trial,
        slow: dialer.receive_buffer_bytes.is_some(),
    })
}

async fn to_origin(dialer: &Dialer, origin: &Origin, reach: Reach) -> Result<Connected, Error> {
    let found = match dialer.given(origin) {
        Some(given) => given,
        None => resolve(origin.host(), origin.port()).await?,
    };
    let allowed = allowed(origin, reach, found)?;
    first_to_connect(&dialer.addresses, alternating(allowed)).await
}

async fn to_proxy(dialer: &Dialer, proxy: &Proxy) -> Result<Connected, Error> {
    let connected = async {
        let found = resolve(proxy.host(), proxy.port()).await?;
        first_to_connect(&dialer.addresses, alternating(found)).await
    };
    connected.await.map_err(|error| match error {
        Error::Network { what, source } => {
            let what = format!("the proxy {proxy}: {what}");
            Error::Network { what, source }
        }
        other => other,
    })
}

impl Dialer {
    /// The addresses that were given for a name, in place of a lookup.
    fn given(&self, origin: &Origin) -> Option<Vec<SocketAddr>> {
        let Host::Domain(name) = origin.host() else {
            return None;
        };
        let given = self.resolve.get(&(name.clone(), origin.port()))?;
        let with_port = given.iter().map(|&address| SocketAddr::new(address, origin.port()));
        Some(with_port.collect())
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

async fn secure(origin: &Origin, tls: &Tls, stream: Async<TcpStream>) -> Result<Stream, Error> {
    let what = format!("the TLS handshake with {origin}");
    let name = server_name(origin.host()).map_err(|_| Error::Certificate(format!("{what}: invalid server name")))?;
    let connector = TlsConnector::from(tls.config().await?);
    let stream = connector.connect(name, buffered(stream)).await.map_err(|error| connecting(what, error))?;
    Ok(Stream::Tls(Box::new(stream)))
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
) -> Result<(), Error> {
    let about = |error| errors::connecting(format!("asking the proxy {proxy} for {origin}"), error);
    stream.write_all(&request(proxy, origin)).await.map_err(about)?;
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
