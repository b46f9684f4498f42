//! Stable names of errors: `error_code` in the ledger, `code` in the API, in events and in JavaScript.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// One variant and one spelling for every code: first those whose spelling is the name of the variant.
macro_rules! error_codes {
    ($($same:ident),*; $($other:ident => $name:literal),*) => {
        error_codes! { @ $($same => stringify!($same),)* $($other => $name,)* }
    };
    (@ $($variant:ident => $name:expr,)*) => {
        /// Names a kind of [`Error`](crate::Error) for programs. A code that another version of regrip wrote is kept as
        /// [`Other`](ErrorCode::Other), so that reading a ledger and writing it back changes nothing.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(
                #[doc = concat!("`", $name, "`")]
                $variant,
            )*
            /// A code that this version does not know.
            Other(Cow<'static, str>),
        }

        impl ErrorCode {
            /// Every known code.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// The name in the ledger, the API, events and JavaScript.
            pub fn as_str(&self) -> &str {
                match self {
                    $(ErrorCode::$variant => $name,)*
                    ErrorCode::Other(name) => name,
                }
            }

            fn name(self) -> Cow<'static, str> {
                match self {
                    $(ErrorCode::$variant => Cow::Borrowed($name),)*
                    ErrorCode::Other(name) => name,
                }
            }
        }
    };
}

error_codes! {
    Network, ConnectTimeout, HeadersTimeout, IdleTimeout, LowSpeed, Incomplete, Status, Protocol, Certificate, Tls,
    RedirectRefused, AddressRefused, ProxyRefused, Coded, UnexpectedPage, Shrunk, NotResumable, UnknownSize,
    TooLarge, TooManyRestarts, DigestMismatch, DigestConflict, ForeignPart, PartLocked, DestinationExists,
    DestinationRefused, DestinationBusy, NameRefused, CredentialsMissing, DiskFull, Disk, TooManyFiles, Ledger,
    NoSuchDownload, WrongState, Lost;
    Superseded => "superseded", Cancelled => "cancelled", Paused => "paused", Interrupted => "interrupted"
}

impl FromStr for ErrorCode {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        let known = ErrorCode::ALL.iter().find(|code| code.as_str() == name);
        let other = || ErrorCode::Other(Cow::Owned(name.to_owned()));
        Ok(known.cloned().unwrap_or_else(other))
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl From<ErrorCode> for Cow<'static, str> {
    fn from(code: ErrorCode) -> Self {
        code.name()
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        let Ok(code) = name.parse();
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_read_back_from_its_own_name_and_an_unknown_one_is_kept() {
        let names: BTreeSet<&str> = ErrorCode::ALL.iter().map(ErrorCode::as_str).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(code.clone()));
        }
        let other: ErrorCode = "FromTheFuture".parse().unwrap_or(ErrorCode::Network);
        assert_eq!(other, ErrorCode::Other("FromTheFuture".into()));
        assert_eq!(other.as_str(), "FromTheFuture");
    }
}
