//! Certificates made on the spot: good ones and expired ones. No client trusts them by default.

use std::io;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A certificate for `localhost`, `127.0.0.1` and `::1`, and its key.
#[derive(Clone, Debug)]
pub struct TlsIdentity {
    certificate_pem: String,
    certificate_der: CertificateDer<'static>,
    key_der: Key,
}

/// A private key that does not print itself.
#[derive(Clone)]
struct Key(Vec<u8>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl TlsIdentity {
    /// Signed by itself, valid for decades.
    ///
    /// # Errors
    /// The key cannot be made, for want of randomness.
    pub fn self_signed() -> io::Result<Self> {
        Self::valid_in(2000..2099)
    }

    /// Signed by itself, expired in 2001.
    ///
    /// # Errors
    /// As [`TlsIdentity::self_signed`].
    pub fn expired() -> io::Result<Self> {
        Self::valid_in(2000..2001)
    }

    /// The certificate, for a client's list of trusted roots.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The certificate in DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate_der
    }

    /// Valid from the first of January of one year to that of another.
    fn valid_in(years: std::ops::Range<i32>) -> io::Result<Self> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
        params.not_before = date_time_ymd(years.start, 1, 1);
        params.not_after = date_time_ymd(years.end, 1, 1);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            certificate_der: certificate.der().clone(),
            key_der: Key(key.serialize_der()),
        })
    }

    /// What rustls needs to serve with it.
    pub(crate) fn server_config(&self) -> io::Result<Arc<ServerConfig>> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key_der.0.clone()));
        // The provider is named: with two of them in one process rustls would not know which to take.
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate_der.clone()], key)
            .map_err(io::Error::other)?;
        Ok(Arc::new(config))
    }
}
