//! The certificate's files: read at the start, and again on SIGHUP.

use std::{fs::File, io::Read, path::Path, sync::Arc};

use keyway_ingest::certificate::Certificate;
use keyway_storage::limits::CERTIFICATE_BYTES_MAX;

use crate::{args::serve::Serve, failure::Failure};

/// The certificate that the flags name, if they name one.
pub fn open(flags: &Serve) -> Result<Option<Arc<Certificate>>, Failure> {
    let (Some(chain), Some(key)) = (&flags.tls_cert, &flags.tls_key) else { return Ok(None) };
    let (chain, key) = read_pair(chain, key).map_err(Failure::Failed)?;
    let certificate = Certificate::new(&chain, &key);
    certificate
        .map(|certificate| Some(Arc::new(certificate)))
        .map_err(|error| Failure::Failed(about(flags, &error)))
}

/// Reads the files again; a pair that cannot be used changes nothing.
pub fn reload(flags: &Serve, certificate: &Certificate) {
    let (Some(chain), Some(key)) = (&flags.tls_cert, &flags.tls_key) else { return };
    let read = read_pair(chain, key);
    let replaced =
        read.and_then(|(chain, key)| certificate.replace(&chain, &key).map_err(|error| about(flags, &error)));
    match replaced {
        Ok(()) => {
            tracing::info!(file = %chain.display(), "SIGHUP: new connections are shown the certificate in the file")
        }
        Err(error) => tracing::error!(%error, "SIGHUP: the certificate was refused; the old one stays"),
    }
}

fn read_pair(chain: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>), String> {
    Ok((read(chain)?, read(key)?))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| format!("{}: cannot be opened: {error}", path.display()))?;
    // One byte more than allowed tells a file that is too long from one that just fits.
    let read = file.take(CERTIFICATE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
    if bytes.len() as u64 > CERTIFICATE_BYTES_MAX {
        return Err(format!("{}: has more than {CERTIFICATE_BYTES_MAX} bytes", path.display()));
    }
    Ok(bytes)
}

fn about(flags: &Serve, error: &dyn std::fmt::Display) -> String {
    let name = |file: &Option<std::path::PathBuf>| {
        file.as_ref().map(|file| file.display().to_string()).unwrap_or_default()
    };
    format!("{} with {}: {error}", name(&flags.tls_cert), name(&flags.tls_key))
}
