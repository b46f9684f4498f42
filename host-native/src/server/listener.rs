//! Accepts connections, no more at once than the limit, until it has to stop. [`Places`] decides which one makes room.

use super::connection;
use super::limits::Limits;
use super::network::Network;
use super::places::Places;
use super::router::Answer;
use async_io::{Async, Timer};
use smol::Executor;
use smol::channel::{self, Receiver};
use smol::future::FutureExt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// How long to wait for file descriptors or memory where there are none left.
const BEFORE_NEXT_ACCEPT: Duration = Duration::from_millis(100);

/// A listening socket.
#[derive(Debug)]
pub struct Server {
    listener: Async<TcpListener>,
    address: SocketAddr,
    limits: Limits,
}

impl Server {
    /// Listens at an address; port 0 is any free one.
    ///
    /// # Errors
    /// What the system said: the address is taken, or not this machine's.
    pub fn bind(address: SocketAddr, limits: Limits) -> io::Result<Server> {
        let listener = Async::<TcpListener>::bind(address)?;
        let address = listener.get_ref().local_addr()?;
        Ok(Server {
            listener,
            address,
            limits: limits.within_open_files(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` ends; then takes no more connections, closes the idle ones, lets replies go on for
    /// `stop_within` and cuts what is left.
    pub async fn run(
        self,
        executor: &Executor<'static>,
        answer: Answer,
        stop: impl Future<Output = ()>,
    ) {
        let places = Places::new(self.limits.connections);
        let (stopped, stopping) = channel::bounded::<()>(1);
        let accept = self.accept(executor, answer, &places, stopping);
        stop.or(accept).await;
        // The listener is closed; a closed channel is what every connection waits for.
        drop(stopped);
        places.all_closed().await;
    }

    async fn accept(
        self,
        executor: &Executor<'static>,
        answer: Answer,
        places: &Places,
        stopping: Receiver<()>,
    ) {
        loop {
            let (stream, from) = self.next(places).await;
            let place = places.admit(Network::of(from.ip())).await;
            let served = connection::serve(
                stream,
                from,
                Arc::clone(&answer),
                self.limits,
                place,
                stopping.clone(),
            );
            executor.spawn(served).detach();
        }
    }

    async fn next(&self, places: &Places) -> (Async<TcpStream>, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => {
                    places.make_room();
                    Timer::after(BEFORE_NEXT_ACCEPT).await;
                }
            }
        }
    }
}

/// The client went away before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
