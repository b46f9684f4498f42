//! What a server says instead of doing it, and what a person can do about it.

use regrip_core::Error;

/// What a server said, or that it says nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServerSaid {
    /// There is no answer.
    #[error("the server at {url} cannot be asked")]
    Silent {
        url: String,
        #[source]
        source: Box<Error>,
    },
    /// It is another program, or another version.
    #[error("what answers at {url} is no regrip server: {what}")]
    Strange { url: String, what: String },
    /// It did not do it.
    #[error("{message}")]
    Refused {
        status: u16,
        code: String,
        message: String,
    },
}

impl ServerSaid {
    /// What a person can do about it.
    pub(super) fn advice(&self) -> Option<&'static str> {
        match self {
            ServerSaid::Silent { .. } => {
                Some("check the address, and whether `regrip serve` runs there")
            }
            ServerSaid::Strange { .. } => Some("check the address"),
            ServerSaid::Refused { code, .. } => match code.as_str() {
                "Unauthorized" => Some("put the server's key into REGRIP_API_KEY"),
                "NameRefused" => Some("name the file with --name"),
                "DestinationBusy" => {
                    Some("give it another name with --name, or remove that download first")
                }
                "CredentialsRefused" => {
                    Some("fetch it by `regrip get`, which is given them at every run")
                }
                _ => None,
            },
        }
    }
}
