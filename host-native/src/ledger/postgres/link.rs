//! A connection that is opened again when it broke, and requests that are repeated over the next one.
//!
//! Requests of many tasks share it: each is one statement, which is a transaction of its own, so none waits for another one's
//! end. Invariant: a statement that is run here may run twice, if the connection broke before its answer came. Each is written so
//! that the second time changes nothing.

use super::address::{ConnectError, DatabaseAddress};
use super::ledger::Tokens;
use crate::ledger::cause;
use crate::sync::lock;
use crate::time::{DurationCounts, Histogram};
use futures::future::{Either, select};
use regrip_core::{DownloadId, Error};
use smol::channel::{Receiver, Sender, bounded};
use smol::future::FutureExt;
use smol::{Task, Timer};
use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

/// A parameter of a statement.
pub(super) type Param<'a> = &'a (dyn ToSql + Sync);

/// How long one answer may take before the connection counts as broken.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The longest wait before the next connection.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// After this long without an answer the database is shown as down.
const DOWN_AFTER: Duration = Duration::from_secs(2);

pub(super) struct Link {
    target: DatabaseAddress,
    /// How long a request is repeated.
    patience: Duration,
    current: async_lock::Mutex<Current>,
    /// Since when no request was answered, if the last one was not.
    failing: Mutex<Option<Instant>>,
    waiting: AtomicUsize,
    answered: Histogram,
    /// The rows of this process, whose changes are of interest; `None` if nobody waits for what is announced.
    claimed: Option<Tokens>,
    /// A row of this process was changed.
    changes: (Sender<()>, Receiver<()>),
    /// There may be something to claim.
    work: (Sender<()>, Receiver<()>),
}

#[derive(Default)]
struct Current {
    session: Option<Arc<OpenLink>>,
    /// Connections in a row that could not be opened.
    failures: u32,
}

/// An open connection and the statements that it knows.
struct OpenLink {
    client: Client,
    statements: Mutex<HashMap<&'static str, Statement>>,
    /// Moves its bytes.
    _driver: Task<()>,
}

/// The database does not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Gone {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the connection to {0} broke")]
    Broken(String, #[source] tokio_postgres::Error),
    #[error("{0} does not answer")]
    Late(String),
}

/// How a request ended.
enum Unanswered {
    /// It may be repeated.
    Gone(Gone),
    /// The database refused it.
    Refused(tokio_postgres::Error),
}

impl Link {
    pub(super) fn new(target: DatabaseAddress, patience: Duration, claimed: Option<Tokens>) -> Self {
        Link {
            target,
            patience,
            current: async_lock::Mutex::default(),
            failing: Mutex::default(),
            waiting: AtomicUsize::new(0),
            answered: Histogram::default(),
            claimed,
            changes: bounded(1),
            work: bounded(1),
        }
    }

    /// Opens the connection, once: for the start of a program.
    pub(super) async fn open(&self) -> Result<(), ConnectError> {
        let mut current = self.current.lock().await;
        current.session = Some(self.connect().await?);
        Ok(())
    }

    /// Waits until a row of this process may have been changed.
    pub(super) async fn changed(&self) {
        let _ = self.changes.1.recv().await;
    }

    /// Waits until there may be something to claim.
    pub(super) async fn announced(&self) {
        let _ = self.work.1.recv().await;
    }

    /// Returns `true` if the database has not answered for longer than a person would wait.
    pub(super) fn is_down(&self) -> bool {
        lock(&self.failing).is_some_and(|since| since.elapsed() > DOWN_AFTER)
    }

    /// Requests that wait for an answer.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How long answers took.
    pub(super) fn answered(&self) -> DurationCounts {
        self.answered.counts()
    }

    /// Runs a statement that may run twice.
    ///
    /// # Errors
    /// `Ledger`, `DiskFull`.
    ///
    /// # Cancel safety
    /// The statement may run or not.
    pub(super) async fn run(
        &self,
        what: &'static str,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, Error> {
        let until = Instant::now() + self.patience;
        let _waiting = PendingRequest::new(&self.waiting);
        loop {
            let asked = Instant::now();
            let fault = match self.once(sql, params).await {
                Ok(rows) => {
                    self.answered.count(asked.elapsed());
                    *lock(&self.failing) = None;
                    return Ok(rows);
                }
                Err(fault) => fault,
            };
            match fault {
                Unanswered::Refused(source) if source.code() == Some(&SqlState::DISK_FULL) => {
                    return Err(Error::DiskFull { path: self.target.to_string(), source: Some(source.into()) });
                }
                Unanswered::Refused(source) => return Err(Error::ledger(what, source)),
                Unanswered::Gone(gone) => {
                    lock(&self.failing).get_or_insert_with(Instant::now);
                    if Instant::now() >= until {
                        return Err(Error::ledger(what, gone));
                    }
                }
            }
        }
    }

    /// Runs a script, which is one transaction, over the connection that [`open`](Self::open) opened.
    pub(super) async fn script(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        let session = self.current.lock().await.session.clone();
        match session {
            Some(session) => session.client.batch_execute(sql).await,
            None => Ok(()),
        }
    }

    async fn once(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, Unanswered> {
        // Each host has its own time; of many who ask, one connects.
        let late = async {
            Timer::after(ANSWER_WITHIN.max(self.target.connects_within())).await;
            Err(Gone::Late(self.target.to_string()))
        };
        let session = async { Ok(self.session().await?) };
        let session = session.or(late).await.map_err(Unanswered::Gone)?;
        let answer = pin!(session.ask(sql, params));
        match select(answer, Timer::after(ANSWER_WITHIN)).await {
            Either::Left((Ok(rows), _)) => Ok(rows),
            Either::Left((Err(error), _)) => {
                if is_conflict(&error) {
                    Timer::after(Duration::from_millis(50).mul_f64(fastrand::f64())).await;
                } else if is_broken(&error) {
                    self.forget(&session).await;
                } else {
                    return Err(Unanswered::Refused(error));
                }
                Err(Unanswered::Gone(Gone::Broken(self.target.to_string(), error)))
            }
            Either::Right(_) => {
                self.forget(&session).await;
                Err(Unanswered::Gone(Gone::Late(self.target.to_string())))
            }
        }
    }

    /// The open connection, or another one. Of many who ask, one connects.
    async fn session(&self) -> Result<Arc<OpenLink>, ConnectError> {
        let mut current = self.current.lock().await;
        if let Some(session) = current.session.as_ref().filter(|session| !session.client.is_closed()) {
            return Ok(Arc::clone(session));
        }
        current.session = None;
        let pause = Duration::from_millis(100).saturating_mul(1_u32.checked_shl(current.failures).unwrap_or(u32::MAX));
        if current.failures > 0 {
            Timer::after(pause.min(LONGEST_PAUSE).mul_f64(fastrand::f64())).await;
        }
        current.failures = current.failures.saturating_add(1);
        let session = self.connect().await?;
        current.failures = 0;
        current.session = Some(Arc::clone(&session));
        Ok(session)
    }

    async fn connect(&self) -> Result<Arc<OpenLink>, ConnectError> {
        let notified = self.claimed.clone().map(|claimed| {
            let (changes, work) = (self.changes.0.clone(), self.work.0.clone());
            // The payload is the id of a row that was changed. Without a number it is about work alone, and without a payload the
            // connection has changed, so that everything may have been missed.
            move |payload: Option<&str>| {
                let of_row = payload.map(|payload| payload.parse::<DownloadId>().ok());
                let is_own = of_row.is_none_or(|id| id.is_some_and(|id| lock(&claimed).contains_key(&id)));
                // One pending signal is enough.
                if is_own {
                    let _ = changes.try_send(());
                }
                let _ = work.try_send(());
            }
        });
        let (client, driver) = self.target.connect(notified.clone()).await?;
        if let Some(notified) = notified {
            notified(None);
        }
        Ok(Arc::new(OpenLink { client, statements: Mutex::default(), _driver: driver }))
    }

    async fn forget(&self, session: &Arc<OpenLink>) {
        let mut current = self.current.lock().await;
        if current.session.as_ref().is_some_and(|open| Arc::ptr_eq(open, session)) {
            current.session = None;
        }
    }
}

impl OpenLink {
    async fn ask(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, tokio_postgres::Error> {
        let known = lock(&self.statements).get(sql).cloned();
        let statement = match known {
            Some(statement) => statement,
            None => {
                let statement = self.client.prepare(sql).await?;
                lock(&self.statements).insert(sql, statement.clone());
                statement
            }
        };
        self.client.query(&statement, params).await
    }
}

/// Counts a request while it waits.
struct PendingRequest<'a>(&'a AtomicUsize);

impl<'a> PendingRequest<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        PendingRequest(count)
    }
}

impl Drop for PendingRequest<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Another transaction was in the way, or the database too busy.
fn is_conflict(error: &tokio_postgres::Error) -> bool {
    let codes = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
    ];
    error.code().is_some_and(|code| codes.contains(code))
}

/// The connection is of no use any more: it is closed, its server ends, became a standby or has another schema.
fn is_broken(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else {
        let source = std::error::Error::source(error);
        return error.is_closed() || source.is_some_and(|source| source.is::<io::Error>());
    };
    let codes = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::FEATURE_NOT_SUPPORTED,
    ];
    codes.contains(code) || code.code().starts_with("08")
}

/// Returns `true` if an error is that the database did not answer.
pub(crate) fn is_gone(error: &Error) -> bool {
    cause::<Gone>(error).is_some()
}
