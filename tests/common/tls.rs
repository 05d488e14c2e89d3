//! TLS as a client speaks it, and the two certificates of tests.
//!
//! Invariant: a client trusts one certificate and no other, so that a handshake says which one was shown.

use std::{
    io::{ErrorKind, Read},
    net::TcpStream,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::keyway::Keyway;

/// A certificate and its key, both PEM.
#[derive(Clone, Copy)]
pub struct Pair {
    pub chain: &'static str,
    pub key: &'static str,
}

/// Good for `localhost` and 127.0.0.1, for a hundred years.
pub const FIRST: Pair =
    Pair { chain: include_str!("certificates/first.pem"), key: include_str!("certificates/first.key") };
/// The same with another key.
pub const SECOND: Pair =
    Pair { chain: include_str!("certificates/second.pem"), key: include_str!("certificates/second.key") };

/// Puts a pair where `flags` names it.
pub fn write(home: &Path, pair: Pair) {
    std::fs::write(home.join("server.pem"), pair.chain).unwrap();
    std::fs::write(home.join("server.key"), pair.key).unwrap();
}

/// The flags of `serve` for the pair in a home folder.
pub fn flags(home: &Path) -> Vec<String> {
    let file = |name: &str| home.join(name).to_str().unwrap().to_owned();
    vec!["--tls-cert".to_owned(), file("server.pem"), "--tls-key".to_owned(), file("server.key")]
}

/// A client that trusts this pair and offers these protocols.
pub fn client(pair: Pair, protocols: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pair.chain.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// The name that the certificates are for.
pub fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// A connection with its handshake done, or why there is none.
pub fn connect(
    server: &Keyway,
    config: Arc<ClientConfig>,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let connection = ClientConnection::new(config, name()).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Reads until the server has closed; gives what came before.
pub fn rest(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            panic!("the server neither answers nor closes")
        }
        // A server that closes in the middle of what it was sent resets the connection: that is an end too.
        Ok(_) | Err(_) => bytes,
    }
}
