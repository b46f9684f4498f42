//! Which certificates are trusted, the certificate of our own, and the TLS settings made from that.
//!
//! Invariant: a certificate of our own is shown to the origins that it was given for, and to no other one.
//!
//! The platform's own store is asked first (what the administrator trusts, regrip trusts), Mozilla's list
//! (`webpki-roots`) stands in if there is none, for example in a bare container. Reading the store takes tens of
//! milliseconds, so it is read once, off the executor, when https is first used.

use super::options::Origin;
use async_lock::OnceCell;
use regrip_core::Error;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

/// Which certificates are trusted.
#[derive(Clone, Debug)]
pub struct Roots {
    base: Base,
    extra: Vec<CertificateDer<'static>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    Platform,
    Nothing,
    Everything,
}

impl Roots {
    /// Those of the platform, or Mozilla's if it has none.
    pub fn platform() -> Roots {
        Roots::on(Base::Platform)
    }

    /// None, until some are added.
    pub fn none() -> Roots {
        Roots::on(Base::Nothing)
    }

    /// No certificate is looked at: whoever answers is believed to be who was meant.
    pub fn unverified() -> Roots {
        Roots::on(Base::Everything)
    }

    fn on(base: Base) -> Roots {
        let extra = Vec::new();
        Roots { base, extra }
    }

    /// These as well, from the text of a PEM file.
    ///
    /// # Errors
    /// `Certificate` if it cannot be read or holds no certificate.
    pub fn and_pem(mut self, pem: &[u8]) -> Result<Roots, Error> {
        let mut trial = RootCertStore::empty();
        for certificate in certificates(pem)? {
            trial.add(certificate.clone()).map_err(unusable)?;
            self.extra.push(certificate);
        }
        Ok(self)
    }
}

/// The certificates in a PEM text, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
        Ok(none) if none.is_empty() => Err(Error::Certificate("the PEM text contains no certificate".to_owned())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(Error::Certificate(format!("cannot parse the PEM text: {error}"))),
    }
}

/// A client certificate with its private key, which `Debug` does not print.
#[derive(Clone, Debug)]
pub struct Identity(Arc<CertifiedKey>);

impl Identity {
    /// Reads the texts of two PEM files, or of one that has both: the certificate with those that it was signed by, and its
    /// key in PKCS #8, PKCS #1 or SEC 1.
    ///
    /// # Errors
    /// `Certificate` if they cannot be read, if the key is encrypted, and if it is the key of another certificate.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Identity, Error> {
        let refused = |why: &str| Error::Certificate(why.to_owned());
        let chain = certificates(chain)?;
        let has = |mark: &[u8]| key.windows(mark.len()).any(|text| text == mark);
        if has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
            return Err(refused("the private key is encrypted; decrypt it first: openssl pkey -in FILE"));
        }
        // Errors of the parser may quote the text.
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| refused("the PEM text contains no private key in PKCS #8, PKCS #1 or SEC 1"))?;
        let key = ring::default_provider().key_provider.load_private_key(key);
        let key = key.map_err(|error| refused(&format!("cannot use the private key: {error}")))?;
        // Unlike rustls, this reads certificates of version 1, too.
        let is_of = |public: &[u8]| chain[0].windows(public.len()).any(|part| part == public);
        if key.public_key().is_some_and(|public| !is_of(&public)) {
            return Err(refused("the private key belongs to another certificate"));
        }
        Ok(Identity(Arc::new(CertifiedKey::new(chain, key))))
    }
}

/// The TLS settings, made when first asked for.
pub(super) struct Tls {
    roots: Roots,
    identity: Option<(Identity, HashSet<Origin>)>,
    /// Without and with the certificate of our own.
    configs: OnceCell<[Arc<ClientConfig>; 2]>,
}

impl Tls {
    pub(super) fn new(roots: Roots, identity: Option<(Identity, HashSet<Origin>)>) -> Tls {
        Tls { roots, identity, configs: OnceCell::new() }
    }

    /// The settings for connections to an origin.
    ///
    /// # Errors
    /// `Certificate` if no verifier can be made of the roots.
    ///
    /// # Cancel safety
    /// A dropped call leaves the next one to start again.
    pub(super) async fn config(&self, origin: &Origin) -> Result<Arc<ClientConfig>, Error> {
        let make = || async {
            let roots = self.roots.clone();
            let without = smol::unblock(move || client_config(roots)).await?;
            let mut with = without.clone();
            if let Some((Identity(pair), _)) = &self.identity {
                with.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(Arc::clone(pair)));
                // What was negotiated with the certificate is not resumed without it, nor the other way round.
                with.resumption = Resumption::default();
            }
            Ok::<_, Error>([without, with].map(Arc::new))
        };
        let [without, with] = self.configs.get_or_try_init(make).await?;
        let is_shown = self.identity.as_ref().is_some_and(|(_, origins)| origins.contains(origin));
        Ok(Arc::clone(if is_shown { with } else { without }))
    }
}

pub(crate) fn client_config(roots: Roots) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let given = roots.extra.clone();
    let mut verifier = verifier(roots, &provider)?;
    if !given.is_empty() {
        verifier = Arc::new(OrGiven { verifier, given });
    }
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(WallClock))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous() // rustls' word for a verifier of one's own; this one verifies
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The wall clock. rustls' own panics before 1970; without a time it refuses certificates.
#[derive(Debug)]
struct WallClock;

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since_1970.ok().map(UnixTime::since_unix_epoch)
    }
}

fn verifier(roots: Roots, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let mut store = RootCertStore::empty();
    match roots.base {
        Base::Everything => return Ok(Arc::new(Unverified(provider.clone()))),
        Base::Nothing => {}
        Base::Platform => {
            if let Ok(platform) = Verifier::new(provider.clone()) {
                return with_extra(platform, roots.extra, provider);
            }
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
    }
    for certificate in roots.extra {
        store.add(certificate).map_err(unusable)?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone()).build();
    Ok(verifier.map_err(|error| Error::Certificate(error.to_string()))?)
}

fn with_extra(
    platform: Verifier,
    extra: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    if extra.is_empty() {
        return Ok(Arc::new(platform));
    }
    let both = Verifier::new_with_extra_roots(extra, provider.clone()).map_err(unusable)?;
    Ok(Arc::new(both))
}

/// Also trusts the server's own certificate if exactly that one was given. `openssl req -x509` marks what it signs
/// for itself as an authority, which webpki does not let a server be.
#[derive(Debug)]
struct OrGiven {
    verifier: Arc<dyn ServerCertVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for OrGiven {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // webpki says so only after it has looked at the dates.
            Err(error) if is_an_authority(&error) && self.given.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// rustls has no variant for it.
fn is_an_authority(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(why))
        if why.to_string() == "CaUsedAsEndEntity")
}

/// Believes everybody. What is exchanged is still encrypted, only nobody knows for whom.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    // A signature says something about a certificate that is believed, and no more than that.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let Unverified(provider) = self;
        provider.signature_verification_algorithms.supported_schemes()
    }
}

fn unusable(error: rustls::Error) -> Error {
    Error::Certificate(format!("cannot use the trusted certificates: {error}"))
}
