//! Contract tests: what the core relies on, checked against any transport, store or ledger.
//!
//! Each promise is one function, named after what holds. An implementation makes a *subject* (a server, a folder, a
//! database) and runs all promises of its module:
//!
//! ```
//! use regrip_core::testing::contract::ledger::{LedgerUnderTest, check_all};
//! use regrip_core::testing::{MemoryLedger, VirtualClock};
//! use regrip_core::time::Clock;
//! use std::time::{Duration, SystemTime};
//!
//! struct Mine(MemoryLedger, VirtualClock);
//!
//! impl LedgerUnderTest for Mine {
//!     type Ledger = MemoryLedger;
//!     fn open(&self) -> MemoryLedger {
//!         self.0.clone()
//!     }
//!     fn now(&self) -> SystemTime {
//!         self.1.wall()
//!     }
//!     async fn pass(&self, time: Duration) {
//!         self.1.sleep(time).await;
//!     }
//! }
//!
//! let clock = VirtualClock::default();
//! let subject = Mine(MemoryLedger::default(), clock.clone());
//! clock.run(check_all(&subject, &[])).expect("something still moves")?;
//! # Ok::<(), regrip_core::testing::contract::Broken>(())
//! ```
//!
//! A promise that does not hold is returned, not panicked: on wasm32 a panic has no text.

mod draw;
pub mod ledger;
pub mod store;
pub mod transport;

use std::fmt;

/// A promise that does not hold.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken {
    /// The name of its function; empty inside of it.
    promise: &'static str,
    why: String,
}

impl Broken {
    fn because(why: String) -> Self {
        let promise = "";
        Broken { promise, why }
    }

    fn of(self, promise: &'static str) -> Self {
        Broken { promise, ..self }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Broken { promise, why } = self;
        write!(formatter, "{promise}: {why}")
    }
}

impl std::error::Error for Broken {}

/// A call that must not fail did.
impl From<crate::Error> for Broken {
    fn from(error: crate::Error) -> Self {
        Broken::because(format!("failed with {}", crate::error::chain(&error)))
    }
}

/// Returns [`Broken`] with this text, unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err($crate::testing::contract::Broken::because(format!($($why)+)));
        }
    };
}

/// The same if an answer is not the expected error.
macro_rules! ensure_fails {
    ($answer:expr, $error:pat, $($what:tt)+) => {
        match $answer {
            Err($error) => {}
            Err(other) => ensure!(false, "{}: failed with {}", format_args!($($what)+), other.code()),
            Ok(_) => ensure!(false, "{}: did not fail", format_args!($($what)+)),
        }
    };
}

/// Lists the promises of a module, and runs them by name.
macro_rules! promises {
    ($subject:ident: $($promise:ident),+ $(,)?) => {
        /// The names of all promises.
        pub const PROMISES: &[&str] = &[$(stringify!($promise)),+];

        /// Checks one promise.
        ///
        /// # Errors
        /// What does not hold, or that there is no such promise.
        pub async fn check<S: $subject>(promise: &str, subject: &S) -> Result<(), Broken> {
            match promise {
                $(stringify!($promise) => Box::pin($promise(subject)).await.map_err(|broken| broken.of(stringify!($promise))),)+
                other => Err(Broken::because(format!("there is no promise {other}"))),
            }
        }

        /// Checks all promises but those that the subject is known not to keep.
        ///
        /// # Errors
        /// The first one that does not hold, or an exception that names no promise.
        pub async fn check_all<S: $subject>(subject: &S, except: &[&str]) -> Result<(), Broken> {
            if let Some(unknown) = except.iter().find(|name| !PROMISES.contains(name)) {
                return Err(Broken::because(format!("there is no promise {unknown}")));
            }
            for promise in PROMISES.iter().filter(|promise| !except.contains(promise)) {
                check(promise, subject).await?;
            }
            Ok(())
        }
    };
}

use {ensure, ensure_fails, promises};
