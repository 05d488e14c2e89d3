//! The certificate that the public listener shows, and the change to another one while it serves.
//!
//! Invariant: a pair of certificate and key is checked before it is shown; connections keep the pair they began with.

use std::sync::{Arc, Mutex};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{Error as PemError, PemObject},
    },
};

/// The protocols that are offered, the best one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why a pair is not shown.
#[derive(Debug)]
pub enum CertificateError {
    /// The certificate file is not PEM, or has no certificate: name the right file.
    Chain(String),
    /// The key file is not PEM, or has no private key: name the right file.
    Key(String),
    /// The two do not belong together, or are of a kind that TLS has no use for: get a new pair.
    Pair(String),
}

impl std::fmt::Display for CertificateError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Chain(reason) => write!(out, "no certificate can be read: {reason}"),
            Self::Key(reason) => write!(out, "no private key can be read: {reason}"),
            Self::Pair(reason) => write!(out, "certificate and key cannot be used together: {reason}"),
        }
    }
}

/// The certificate in use.
pub struct Certificate {
    // Taken once per connection.
    shown: Mutex<Arc<ServerConfig>>,
}

impl Certificate {
    /// Shows this certificate, a PEM chain with its leaf first, and proves it with this PEM key.
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        Ok(Self { shown: Mutex::new(configure(chain, key)?) })
    }

    /// Shows another one from the next connection on; after an error the old one stays.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), CertificateError> {
        let config = configure(chain, key)?;
        *self.shown.lock().expect("no holder panics") = config;
        Ok(())
    }

    /// What a new connection is served with.
    pub fn shown(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.shown.lock().expect("no holder panics"))
    }
}

fn configure(chain: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, CertificateError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.map_err(|error| CertificateError::Chain(said(&error)))?;
    if chain.is_empty() {
        return Err(CertificateError::Chain("the file has none".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| CertificateError::Key(said(&error)))?;
    let pair = |error: rustls::Error| CertificateError::Pair(error.to_string());
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(pair)?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(pair)?;
    config.alpn_protocols = PROTOCOLS.iter().map(|protocol| protocol.to_vec()).collect();
    // Senders come again and again: a ticket spares them and us most of the handshake.
    config.ticketer = ring::Ticketer::new().map_err(pair)?;
    Ok(Arc::new(config))
}

fn said(error: &PemError) -> String {
    match error {
        PemError::NoItemsFound => "the file has none".to_owned(),
        other => other.to_string(),
    }
}
