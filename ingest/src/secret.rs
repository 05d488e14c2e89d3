//! Secrets from where keyway runs: environment variables and files.

use std::{env, fs::File, io::Read, path::Path};

use keyway_engine::project::{Reference, SecretSource};
use keyway_storage::limits::SECRET_BYTES_MAX;

/// Reads secrets from the environment of this process and from files.
pub struct EnvAndFiles;

impl SecretSource for EnvAndFiles {
    fn resolve(&self, reference: &Reference) -> Result<String, String> {
        match reference {
            Reference::Env(name) => env::var(name).map_err(|error| match error {
                env::VarError::NotPresent => "is not set".to_owned(),
                env::VarError::NotUnicode(_) => "is not UTF-8".to_owned(),
            }),
            Reference::File(path) => read(path),
        }
    }
}

/// The text of a file without the line end that editors put there.
fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    // One byte more than allowed tells a file that is too long from one that just fits.
    let read = file.take(SECRET_BYTES_MAX as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() > SECRET_BYTES_MAX {
        return Err(format!("has more than {SECRET_BYTES_MAX} bytes"));
    }
    let end = text.strip_suffix('\n').map_or(text.len(), |line| line.trim_end_matches('\r').len());
    text.truncate(end);
    Ok(text)
}
