//! The exit codes, and which of several counts.

use regrip_core::Error;

/// How a command ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exit {
    /// All done.
    #[default]
    Done,
    /// Some downloads failed.
    Failed,
    /// The arguments or the configuration were wrong; nothing was written.
    Usage,
    /// The disk or the database cannot be used.
    Unusable,
    /// Interrupted by a signal.
    Interrupted,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Unusable => 3,
            Exit::Interrupted => 130,
        }
    }

    /// Of several, interrupted counts first, then unusable, then usage, then failed.
    pub fn and(self, other: Exit) -> Exit {
        let rank = |exit: Exit| match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Unusable => 3,
            Exit::Interrupted => 4,
        };
        if rank(other) > rank(self) {
            other
        } else {
            self
        }
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Exit {
        match error {
            Error::Interrupted => Exit::Interrupted,
            Error::DiskFull { .. }
            | Error::Disk { .. }
            | Error::Ledger { .. }
            | Error::TooManyFiles { .. } => Exit::Unusable,
            Error::DestinationBusy { .. } | Error::NameRefused { .. } => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}
