//! Where each log ended when the data dir was closed: what is missing at the next start was lost on the disk.
//!
//! Invariant: a log never ends before its noted tail, because the note is written after the log was synced and a log
//! only grows. A crash leaves the note of the last good end in place.

use std::{fs, io, path::Path};

use xxhash_rust::xxh3::xxh3_64;

use super::routing;
use crate::{error::OpenError, place::Offset};

const MAGIC: [u8; 4] = *b"KWT1";
const NAME: &str = "tails";

/// Reads the note; a data dir that was never closed has none.
pub fn read(data: &Path) -> Result<Vec<Offset>, OpenError> {
    let path = data.join(NAME);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(OpenError::Io { path, source }),
    };
    let damaged = || OpenError::Damaged {
        path: path.clone(),
        how: "it does not say where the logs ended; when `keyway verify` finds nothing else, delete it"
            .to_owned(),
    };
    let (rest, checksum) = bytes.split_last_chunk::<8>().ok_or_else(damaged)?;
    let tails = rest.strip_prefix(&MAGIC).ok_or_else(damaged)?;
    if xxh3_64(rest).to_le_bytes() != *checksum || tails.len() % 8 != 0 {
        return Err(damaged());
    }
    let tail = |bytes: &[u8]| Offset(u64::from_le_bytes(bytes.try_into().expect("eight bytes")));
    Ok(tails.chunks_exact(8).map(tail).collect())
}

/// Writes the note anew, whole or not at all.
pub fn write(data: &Path, tails: &[Offset]) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    tails.iter().for_each(|tail| bytes.extend_from_slice(&tail.0.to_le_bytes()));
    let checksum = xxh3_64(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    routing::replace(data, NAME, &bytes)
}
