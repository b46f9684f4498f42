//! Which database: its URL, and a connection to it over smol's sockets and our TLS.
//!
//! `sslmode` means what it means to libpq: `prefer` (the default) and `require` encrypt without looking at the certificate,
//! unless `sslrootcert` names a PEM file to look at it by; `verify-full`, and `verify-ca` like it, trust what the machine trusts, or
//! that file.

use crate::transport::{Roots, tls_config};
use futures::io::{AsyncRead, AsyncWrite};
use futures_rustls::TlsConnector;
use futures_rustls::rustls::pki_types::ServerName;
use smol::future::{FutureExt, poll_fn};
use smol::net::TcpStream;
use smol::net::unix::UnixStream;
use smol::{Task, Timer};
use std::fmt;
use std::future::{Future, ready};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{AsyncMessage, Client};
use url::form_urlencoded;

/// How long a server may take to accept a connection, if the URL has no `connect_timeout`.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Set up once for each connection. A server may be configured to answer before a commit is durable, or to never end a statement.
const SETTINGS: &str = "
    SELECT set_config('synchronous_commit', 'on', FALSE) WHERE current_setting('synchronous_commit') = 'off';
    SET statement_timeout = '9s';
    SET lock_timeout = '8s'";

/// The channel on which a connection is notified.
pub(super) const CHANNEL: &str = "regrip";

/// Where a database is. Prints without its password.
#[derive(Clone)]
pub(super) struct DatabaseAddress {
    config: tokio_postgres::Config,
    verifies: bool,
    root: Option<PathBuf>,
    /// `HOST:PORT/DATABASE`, to show.
    name: String,
    /// The host to begin with: the one that took writes last, or the next one after one that did not answer. Clones share it.
    first: Arc<AtomicUsize>,
}

/// A URL that names no database. Says no part of the URL, which may have a password in it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadDatabaseUrl(String);

/// A connection that failed, or was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The server cannot be reached.
    #[error("cannot reach {at}")]
    Unreachable { at: String, source: io::Error },
    /// It says no.
    #[error("{at} refused the connection")]
    Refused { at: String, source: tokio_postgres::Error },
    /// It takes no writes.
    #[error("{0} is a read-only standby")]
    ReadOnly(String),
    /// The certificates to trust cannot be read.
    #[error("cannot use sslrootcert")]
    Root(#[source] regrip_core::Error),
}

impl ConnectError {
    /// Returns `true` if the settings are wrong: the same URL never works until somebody changes something.
    pub(super) fn is_of_settings(&self) -> bool {
        match self {
            ConnectError::Unreachable { .. } | ConnectError::ReadOnly(_) => false,
            ConnectError::Root(_) => true,
            ConnectError::Refused { source, .. } => source.code().is_some_and(|code| {
                [
                    SqlState::INVALID_PASSWORD,
                    SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                    SqlState::INVALID_CATALOG_NAME,
                ]
                .contains(code)
            }),
        }
    }
}

impl DatabaseAddress {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTIONS`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(url: &str) -> Result<DatabaseAddress, BadDatabaseUrl> {
        let refused = |why: String| BadDatabaseUrl(why);
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(refused("expected postgres://USER@HOST/DATABASE".to_owned()));
        }
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut verifies, mut root) = (false, None);
        let mut others = form_urlencoded::Serializer::new(String::new());
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match (&*key, &*value) {
                ("sslrootcert", file) => root = Some(PathBuf::from(file)),
                ("sslmode", "verify-ca" | "verify-full") => {
                    verifies = true;
                    others.append_pair("sslmode", "require");
                }
                _ => {
                    others.append_pair(&key, &value);
                }
            }
        }
        // The client reads `+` as itself.
        let url = format!("{place}?{}", others.finish().replace('+', "%20"));
        let mut config = tokio_postgres::Config::from_str(&url)
            .map_err(|error| refused(std::error::Error::source(&error).map_or(String::new(), ToString::to_string)))?;
        if config.get_hosts().is_empty() {
            return Err(refused("it names no host".to_owned()));
        }
        if config.get_application_name().is_none() {
            config.application_name("regrip");
        }
        let ports = config.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let hosts = config.get_hosts().iter().enumerate().map(|(index, host)| match host {
            Host::Tcp(host) => format!("{host}:{}", port(index)),
            Host::Unix(folder) => socket_in(folder, port(index)).display().to_string(),
        });
        let name = format!("{}/{}", hosts.collect::<Vec<_>>().join(","), config.get_dbname().unwrap_or_default());
        verifies |= root.is_some();
        Ok(DatabaseAddress { config, verifies, root, name, first: Arc::default() })
    }

    /// How long [`connect`](Self::connect) takes at most.
    pub(super) fn connects_within(&self) -> Duration {
        let hosts = u32::try_from(self.config.get_hosts().len()).unwrap_or(u32::MAX);
        self.host_answers_within().saturating_mul(hosts)
    }

    fn host_answers_within(&self) -> Duration {
        self.config.get_connect_timeout().copied().unwrap_or(CONNECT_WITHIN)
    }

    /// Connects to the first of the hosts that takes writes. Notifications go to `notified` with their payload, and without one it is
    /// called at the end of the connection.
    ///
    /// # Errors
    /// The error of the last host.
    ///
    /// # Cancel safety
    /// The next call begins with the host after the one that did not answer.
    pub(super) async fn connect(
        &self,
        notified: Option<impl Fn(Option<&str>) + Send + Sync + Clone + 'static>,
    ) -> Result<(Client, Task<()>), ConnectError> {
        let mut last = None;
        let (hosts, first) = (self.config.get_hosts(), self.first.load(Ordering::Relaxed));
        for index in (0..hosts.len()).map(|turn| (first + turn) % hosts.len()) {
            self.first.store((index + 1) % hosts.len(), Ordering::Relaxed);
            let ports = self.config.get_ports();
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            let late = async {
                Timer::after(self.host_answers_within()).await;
                Err(self.unreachable(io::ErrorKind::TimedOut.into()))
            };
            match self.connect_to(&hosts[index], port, notified.clone()).or(late).await {
                Ok(connected) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(connected);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| self.unreachable(io::ErrorKind::NotFound.into())))
    }

    async fn connect_to(
        &self,
        host: &Host,
        port: u16,
        notified: Option<impl Fn(Option<&str>) + Send + Sync + Clone + 'static>,
    ) -> Result<(Client, Task<()>), ConnectError> {
        let socket = match host {
            Host::Tcp(host) => {
                let stream =
                    TcpStream::connect((host.as_str(), port)).await.map_err(|error| self.unreachable(error))?;
                let _ = stream.set_nodelay(true); // without it requests are slower, and nothing else
                DatabaseSocket(Box::new(stream))
            }
            Host::Unix(folder) => {
                let stream = UnixStream::connect(socket_in(folder, port)).await;
                DatabaseSocket(Box::new(stream.map_err(|error| self.unreachable(error))?))
            }
        };
        let mut config = self.config.clone();
        let mut tls = None;
        match host {
            Host::Tcp(name) if config.get_ssl_mode() != SslMode::Disable => tls = Some(self.tls(name).await?),
            _ => {
                config.ssl_mode(SslMode::Disable);
            }
        }
        let refused = |source| ConnectError::Refused { at: self.name.clone(), source };
        let (client, mut connection) = config.connect_raw(socket, Secure(tls)).await.map_err(refused)?;
        let listens = notified.is_some();
        let driver = smol::spawn(async move {
            // An end by an error and one without are the same to who waits for an answer.
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let (AsyncMessage::Notification(news), Some(notified)) = (message, &notified) {
                    notified(Some(news.payload()));
                }
            }
            drop(connection);
            if let Some(notified) = notified {
                notified(None);
            }
        });
        client.batch_execute(SETTINGS).await.map_err(refused)?;
        let standby = client.query_one("SELECT current_setting('transaction_read_only') = 'on'", &[]).await;
        if standby.map_err(refused)?.get(0) {
            return Err(ConnectError::ReadOnly(self.name.clone()));
        }
        if listens {
            // Compatible databases may not have it; then changes are looked for.
            let _ = client.batch_execute(&format!("LISTEN {CHANNEL}")).await;
        }
        Ok((client, driver))
    }

    async fn tls(&self, host: &str) -> Result<(TlsConnector, ServerName<'static>), ConnectError> {
        let mut roots = match self.verifies {
            true => Roots::platform(),
            false => Roots::unverified(),
        };
        if let Some(file) = &self.root {
            let file = file.clone();
            let pem = smol::unblock(move || std::fs::read(file)).await;
            let pem = pem.map_err(|error| ConnectError::Root(regrip_core::Error::Certificate(error.to_string())))?;
            roots = Roots::none().and_pem(&pem).map_err(ConnectError::Root)?;
        }
        let mut config = smol::unblock(move || tls_config(roots)).await.map_err(ConnectError::Root)?;
        config.alpn_protocols.clear();
        let name = ServerName::try_from(host.trim_end_matches('.').to_owned());
        let name = name.map_err(|error| self.unreachable(io::Error::other(error)))?;
        Ok((TlsConnector::from(Arc::new(config)), name))
    }

    fn unreachable(&self, source: io::Error) -> ConnectError {
        ConnectError::Unreachable { at: self.name.clone(), source }
    }
}

fn socket_in(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!(".s.PGSQL.{port}"))
}

impl fmt::Display for DatabaseAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

/// A socket of smol, with or without TLS, as tokio-postgres takes it.
struct DatabaseSocket(Box<dyn ReadWrite>);

trait ReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ReadWrite for T {}

impl tokio::io::AsyncRead for DatabaseSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut *self.0).poll_read(context, buffer.initialize_unfilled());
        read.map_ok(|count| buffer.advance(count))
    }
}

impl tokio::io::AsyncWrite for DatabaseSocket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, data)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_close(context)
    }
}

impl TlsStream for DatabaseSocket {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

/// Begins TLS, if there is to be any.
struct Secure(Option<(TlsConnector, ServerName<'static>)>);

impl TlsConnect<DatabaseSocket> for Secure {
    type Stream = DatabaseSocket;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<DatabaseSocket>> + Send>>;

    fn connect(self, socket: DatabaseSocket) -> Self::Future {
        match self.0 {
            Some((connector, name)) => {
                Box::pin(async move { Ok(DatabaseSocket(Box::new(connector.connect(name, socket.0).await?))) })
            }
            None => Box::pin(ready(Err(io::ErrorKind::Unsupported.into()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_user_and_password() {
        for (url, shown) in [
            ("postgres://me:secret@db.test/fleet", "db.test:5432/fleet"),
            ("postgresql://me:secret@db.test:6432/fleet?sslmode=verify-full&sslrootcert=/ca.pem", "db.test:6432/fleet"),
            ("postgres://me:secret@one.test,two.test:7/fleet?sslmode=disable", "one.test:5432,two.test:7/fleet"),
            ("postgres:///fleet?host=/run/postgresql&user=me", "/run/postgresql/.s.PGSQL.5432/fleet"),
        ] {
            assert_eq!(DatabaseAddress::parse(url).unwrap_or_else(|error| panic!("{url}: {error}")).to_string(), shown);
        }
    }

    #[test]
    fn what_is_refused_is_not_quoted() {
        for url in [
            "mysql://me:secret@db.test/fleet",
            "postgres://me:secret@",
            "postgres://me:secret@db.test:secret/fleet",
            "postgres://me:secret@db.test/fleet?sslmode=secret",
            "host=db.test password=secret",
            "postgres://",
        ] {
            let refused = DatabaseAddress::parse(url).err().unwrap_or_else(|| panic!("{url} is taken")).to_string();
            assert!(!refused.is_empty() && !refused.contains("sec"), "{url}: {refused}");
        }
    }
}
