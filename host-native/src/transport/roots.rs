//! Which certificates are trusted, and the TLS settings made from that.
//!
//! The platform's own store is asked first (what the administrator trusts, regrip trusts), Mozilla's list
//! (`webpki-roots`) stands in where there is none, for example in a bare container. Reading the store takes tens of
//! milliseconds, so it is read once, off the executor, when https is first used.

use async_lock::OnceCell;
use regrip_core::Error;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use std::sync::Arc;

/// Which certificates are trusted.
#[derive(Clone, Debug)]
pub struct Roots {
    extra: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// Those of the platform, or Mozilla's where it has none.
    pub fn platform() -> Roots {
        Roots { extra: Vec::new() }
    }

    /// These as well, from the text of a PEM file.
    ///
    /// # Errors
    /// `Certificate` where it cannot be read or holds no certificate.
    pub fn and_pem(mut self, pem: &[u8]) -> Result<Roots, Error> {
        let before = self.extra.len();
        let mut trial = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| {
                Error::Certificate(format!("the PEM text cannot be read: {error}"))
            })?;
            trial.add(certificate.clone()).map_err(unusable)?;
            self.extra.push(certificate);
        }
        if self.extra.len() == before {
            return Err(Error::Certificate(
                "the PEM text holds no certificate".to_owned(),
            ));
        }
        Ok(self)
    }
}

/// The TLS settings, made when first asked for.
pub(super) struct Tls {
    roots: Roots,
    config: OnceCell<Arc<ClientConfig>>,
}

impl Tls {
    pub(super) fn new(roots: Roots) -> Tls {
        Tls {
            roots,
            config: OnceCell::new(),
        }
    }

    /// The settings.
    ///
    /// # Errors
    /// `Certificate` where no verifier can be made of the roots.
    ///
    /// # Cancel safety
    /// A dropped call leaves the next one to start again.
    pub(super) async fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        let make = || async {
            let roots = self.roots.clone();
            smol::unblock(move || client_config(roots)).await
        };
        self.config.get_or_try_init(make).await.cloned()
    }
}

fn client_config(roots: Roots) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(roots, &provider)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous() // rustls' word for a verifier of one's own; this one verifies
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn verifier(
    roots: Roots,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let platform = Verifier::new(provider.clone());
    if let Ok(platform) = platform {
        if roots.extra.is_empty() {
            return Ok(Arc::new(platform));
        }
        let both =
            Verifier::new_with_extra_roots(roots.extra, provider.clone()).map_err(unusable)?;
        return Ok(Arc::new(both));
    }
    let mut store = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for certificate in roots.extra {
        store.add(certificate).map_err(unusable)?;
    }
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone()).build();
    Ok(verifier.map_err(|error| Error::Certificate(error.to_string()))?)
}

fn unusable(error: rustls::Error) -> Error {
    Error::Certificate(format!("the trusted certificates cannot be used: {error}"))
}
